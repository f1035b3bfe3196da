"""Sensors that cannot write are told of when it begins and when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.datadir.roster import Member
from fleet.monitoring.health_events import MAX_SENSORS_PER_LOOK, UnreadyEvents
from worker.scoreboard import STATE_INDEX, Scoreboard
from worker.spec import Identity


@pytest.mark.claim("002.error-handling.6")
def test_each_trouble_is_told_once_and_its_end(tmp_path: Path) -> None:
    """Not so a sensor that failed meanwhile, or left: others tell of that. Of a whole fleet only the first few."""
    scoreboard, told = Scoreboard.create(tmp_path / "board", 8), []
    members = [
        Member(row, f"S{row}", 1.0, tmp_path / "db", tmp_path / "log", (), Identity(f"S{row}")) for row in range(8)
    ]
    scoreboard.rows["state"] = STATE_INDEX["healthy"]
    look = UnreadyEvents(scoreboard, lambda: members, lambda *words: told.append(words))

    scoreboard.rows["state"][1:4] = STATE_INDEX["unready"]
    scoreboard.rows["reason"][1:4] = b"disk full"
    look()
    look()
    assert [(f"S{number}", "unready: disk full") for number in (1, 2, 3)] == told
    told.clear()

    scoreboard.rows["state"][1:3] = STATE_INDEX["healthy"], STATE_INDEX["failed"]
    del members[3]
    look()
    look()
    assert [("S1", "no longer unready")] == told
    told.clear()

    scoreboard.rows["state"] = STATE_INDEX["unready"]
    look()
    assert (MAX_SENSORS_PER_LOOK + 1, ("fleet", "and 2 sensors more")) == (len(told), told[-1])

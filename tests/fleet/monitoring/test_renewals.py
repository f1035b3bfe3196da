"""Databases that were begun anew are told of, once each."""

from __future__ import annotations

from pathlib import Path

from fleet.datadir.roster import Member
from fleet.monitoring.renewals import DatabaseReplacedEvents
from worker.scoreboard import Scoreboard
from worker.spec import Identity


def test_each_renewal_is_told_once(tmp_path: Path) -> None:
    """A database that many sensors share is named once."""
    scoreboard, told = Scoreboard.create(tmp_path / "board", 4), []
    homes = {"A": "a.db", "B": "pack.db", "C": "pack.db"}
    members = [
        Member(row, sensor, 1.0, tmp_path / home, tmp_path / "log", (), Identity(sensor))
        for row, (sensor, home) in enumerate(homes.items())
    ]
    look = DatabaseReplacedEvents(scoreboard, lambda: members, lambda *words: told.append(words))
    look()
    assert [] == told

    scoreboard.rows["renewals"][1:3] += 1
    look()
    look()
    assert [("B (and 1 more)", "pack.db was damaged, deleted or replaced: it is begun anew")] == told

    scoreboard.rows["renewals"][0] += 1
    look()
    assert ("A", "a.db was damaged, deleted or replaced: it is begun anew") == told[1]

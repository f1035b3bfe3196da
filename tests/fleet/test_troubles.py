"""Sensors that cannot write are told of when it begins and when it ends."""

from __future__ import annotations

from pathlib import Path

from fleet.running.troubles import MOST, Troubles
from fleet.storage.roster import Member
from worker.board import STATE, Board
from worker.spec import Identity


def test_each_trouble_is_told_once_and_its_end(tmp_path: Path) -> None:
    """Not so a sensor that failed meanwhile, or left: others tell of that. Of a whole fleet only the first few."""
    board, told = Board.create(tmp_path / "board", 8), []
    members = [
        Member(row, f"S{row}", 1.0, tmp_path / "db", tmp_path / "log", (), Identity(f"S{row}")) for row in range(8)
    ]
    board.rows["state"] = STATE["healthy"]
    look = Troubles(board, lambda: members, lambda *words: told.append(words))

    board.rows["state"][1:4] = STATE["unready"]
    board.rows["reason"][1:4] = b"disk full"
    look()
    look()
    assert [(f"S{number}", "unready: disk full") for number in (1, 2, 3)] == told
    told.clear()

    board.rows["state"][1:3] = STATE["healthy"], STATE["failed"]
    del members[3]
    look()
    look()
    assert [("S1", "no longer unready")] == told
    told.clear()

    board.rows["state"] = STATE["unready"]
    look()
    assert (MOST + 1, ("fleet", "and 2 sensors more")) == (len(told), told[-1])

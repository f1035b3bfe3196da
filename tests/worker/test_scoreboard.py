"""The scoreboard: rows that one process writes and any other reads, never torn."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from worker.scoreboard import MAX_CHANNELS, ROW_DTYPE, STATE_INDEX, STATES, Scoreboard

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {"reason"}


@pytest.fixture
def scoreboard(tmp_path: Path) -> Scoreboard:
    return Scoreboard.create(tmp_path / "board", 10)


def test_fields_are_aligned_words() -> None:
    """Every field except the text is 8-byte words at multiples of 8, little-endian, also across rows."""
    assert ROW_DTYPE.fields is not None
    for name, (kind, offset, *_) in ROW_DTYPE.fields.items():
        assert 0 == offset % 8, name
        assert name in TEXTS or kind.base.str in {"<i8", "<f8"}, name
    assert 0 == ROW_DTYPE.itemsize % 8


def test_states_keep_their_numbers() -> None:
    """A reader of another version takes a number for the same state."""
    assert list(range(len(STATES))) == [STATE_INDEX[name] for name in STATES]
    assert 0 == STATE_INDEX["absent"]


def test_a_new_scoreboard_has_its_full_size_on_disk(tmp_path: Path, scoreboard: Scoreboard) -> None:
    """A hole in the file would be a SIGBUS when the disk is full."""
    status = (tmp_path / "board").stat()

    assert 10 * ROW_DTYPE.itemsize == status.st_size
    assert status.st_blocks * 512 >= status.st_size
    assert [tmp_path / "board"] == list(tmp_path.iterdir())
    assert not scoreboard.snapshot()["state"].any()


def test_a_new_scoreboard_replaces_an_old_one_for_new_readers_only(tmp_path: Path, scoreboard: Scoreboard) -> None:
    """A process that has mapped the old one continues to read it."""
    scoreboard.rows["readings"] = 5
    fresh = Scoreboard.create(tmp_path / "board", 20)

    assert (20, 0) == (fresh.capacity, fresh.rows["readings"].sum())
    assert (10, 50) == (scoreboard.capacity, scoreboard.rows["readings"].sum())


def test_another_mapping_sees_what_is_written(tmp_path: Path, scoreboard: Scoreboard) -> None:
    """A read-only mapping cannot write."""
    reader = Scoreboard(tmp_path / "board", writable=False)
    with scoreboard.row(3) as row:
        row["readings"] += 7
        row["values"][:2] = (1.5, -2.5)
    scoreboard.row(3).reason("the disk is full")
    seen = reader.snapshot()

    assert [0, 0, 0, 7, 0, 0, 0, 0, 0, 0] == seen["readings"].tolist()
    assert [1.5, -2.5] == seen["values"][3][:2].tolist()
    assert b"the disk is full" == seen["reason"][3]
    with pytest.raises(ValueError, match="read-only"):
        reader.rows["readings"] = 1


@pytest.mark.parametrize("reason", ["", "é" * 200, "x" * 191 + "€"])
def test_a_reason_is_cut_to_its_field(scoreboard: Scoreboard, reason: str) -> None:
    """It never reaches into another field or row; a reader drops a character that was cut in two."""
    writer = scoreboard.row(0)
    writer.reason(reason)

    assert reason.startswith(scoreboard.rows[0]["reason"].decode(errors="ignore"))
    assert 0 == scoreboard.rows[1]["version"] == scoreboard.rows[0]["renewals"]


def test_a_writer_killed_halfway_does_not_lock_the_row(scoreboard: Scoreboard) -> None:
    """Its version stays odd; the next writer leaves it even, and readers continue."""
    scoreboard.rows["version"][2] = 7
    with scoreboard.row(2) as row:
        row["readings"] = 1

    assert (8, 1) == (scoreboard.snapshot()["version"][2], scoreboard.snapshot()["readings"][2])


HAMMER = """
import itertools, sys
from pathlib import Path
from worker.scoreboard import Scoreboard
scoreboard = Scoreboard(Path(sys.argv[1]), writable=True)
writers = [scoreboard.row(index) for index in (0, 5, 9)]
for number in itertools.count(1):
    for writer in writers:
        with writer as row:
            row["readings"] = number
            row["anomalies"] = number
            row["values"] = number
            row["renewals"] = number
    if number == 1:
        print("begun", flush=True)
    for _ in range(500):  # a row that is always being written could never be read
        pass
"""


@pytest.mark.process
def test_a_snapshot_never_shows_a_torn_row(tmp_path: Path, scoreboard: Scoreboard) -> None:
    """Another process writes rows thousands of times per second; all fields of a row that is read belong together."""
    command = [sys.executable, "-c", HAMMER, str(tmp_path / "board")]
    seen = set()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                for row in scoreboard.snapshot()[[0, 5, 9]]:
                    numbers = {int(row["readings"]), int(row["renewals"]), *row["anomalies"].tolist()}
                    numbers |= set(row["values"].astype(np.int64).tolist())
                    if row["version"] & 1 == 0:  # else its writer has waited for a processor all the time
                        assert 1 == len(numbers), numbers
                        seen |= numbers
        finally:
            process.kill()

    assert len(seen) > 100
    assert MAX_CHANNELS == len(scoreboard.rows["values"][0])

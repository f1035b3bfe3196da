"""Databases that go wrong in the middle of a sweep: the others go on, and the stats says which and why."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fleet.delivery.batch import Batch
from fleet.delivery.target import Receipt, TargetUnavailable
from tests.fleet.delivery.recording_target import RecordingTarget
from tests.fleet.delivery.swept import sweep_into, sweep_once
from tests.fleet.verify.damage import make_identities, select, write_database

GOOD, BAD = ("S_000000.db", "S_000002.db"), "S_000001.db"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for identity in make_identities(3):
        write_database(folder / f"{identity.sensor_id}.db", 99, sensors=[identity])
    return folder


def troubles(target: RecordingTarget, data: Path, batch_size: int = 1000) -> dict[str, str]:
    """What stood in the way of each database; in all others everything was delivered and marked."""
    stats = sweep_once(target, data, batch_size=batch_size, busy_timeout_ms=50)
    errors = {database.name: str(database.error) for database in stats.failing()}
    for name in GOOD:
        assert [(0,)] == select(data / name, "SELECT count(*) FROM sensor_readings WHERE synced = 0")
    assert not errors.keys() & set(GOOD)
    return errors


def meanwhile(what: Callable[[], object]) -> RecordingTarget:
    """A target that does something while it takes the first batch of the bad one."""

    def answer(batch: Batch) -> Receipt:
        if batch.source.name == BAD:
            what()
        return Receipt(frozenset(batch.ids))

    return RecordingTarget(answer)


def test_one_that_is_garbage(data: Path) -> None:
    (data / BAD).write_bytes(b"no database at all" * 100)

    assert {BAD: "NotADBError: file is not a database"} == troubles(RecordingTarget(), data)


def test_one_that_is_damaged_inside(data: Path) -> None:
    """What lies before the damage arrives and is marked."""
    leaves = select(data / BAD, "SELECT pageno FROM dbstat WHERE name = 'sensor_readings' AND pagetype = 'leaf'")
    with (data / BAD).open("r+b") as file:
        file.seek((leaves[len(leaves) * 2 // 3][0] - 1) * 4096)
        file.write(b"\0" * 4096)

    target = RecordingTarget()

    found = troubles(target, data, batch_size=10)

    assert [10, 10, 10] == [len(batch.ids) for batch in target.batches if batch.source.name == BAD][:3]
    assert [BAD] == list(found)
    assert "CorruptError" in found[BAD]


def test_one_that_vanishes(data: Path) -> None:
    """Whatever of it was read is delivered; the next sweep says that it is gone."""
    target = meanwhile((data / BAD).unlink)

    assert {} == troubles(target, data)
    assert {GOOD[0], BAD, GOOD[1]} == {batch.source.name for batch in target.batches}
    assert {} == troubles(target, data)


def test_one_that_somebody_has_locked(data: Path) -> None:
    """It is delivered and cannot be marked; the next sweep delivers it again, and marks it."""
    with closing(apsw.Connection(str(data / BAD))) as other:
        other.execute("BEGIN IMMEDIATE")
        assert {BAD: "BusyError: database is locked"} == troubles(RecordingTarget(), data)
    again = RecordingTarget()

    assert {} == troubles(again, data)
    assert {BAD} == {batch.source.name for batch in again.batches}


def test_one_whose_rows_somebody_deletes(data: Path) -> None:
    def answer(batch: Batch) -> Receipt:
        if batch.source.name == BAD:
            with closing(apsw.Connection(str(data / BAD))) as other:
                other.execute("DELETE FROM sensor_readings WHERE id < 10")
            list(batch.rows)
        return Receipt(frozenset(batch.ids))

    assert "were deleted before they were collected" in troubles(RecordingTarget(answer), data)[BAD]


def test_one_that_may_not_be_written(data: Path, read_only: Callable[[Path], None]) -> None:
    """Nothing of it is delivered, for nothing could be marked; with a cursor it is."""
    read_only(data / BAD)
    target = RecordingTarget()

    errors = troubles(target, data)

    assert {BAD: "it is read-only, and nothing can be marked: collect it with --cursor and --state"} == errors
    assert set(GOOD) == {batch.source.name for batch in target.batches}
    with_cursor = RecordingTarget()
    assert 3 == len(sweep_into(with_cursor, data, marking=False).databases)
    assert BAD in {batch.source.name for batch in with_cursor.batches}


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes a file that root may not write either."""
    made: list[Path] = []

    def protect(path: Path) -> None:
        path.chmod(0o444)
        done = subprocess.run(["chattr", "+i", path], check=False, capture_output=True)
        made.append(path)
        if done.returncode and not path.stat().st_uid:
            pytest.skip("this file system has no immutable files")

    yield protect
    for path in made:
        subprocess.run(["chattr", "-i", path], check=False, capture_output=True)


def test_a_target_that_fails_ends_the_sweep(data: Path) -> None:
    """The retries for a dead target are not repeated for each of a thousand databases."""
    asked = []

    def answer(batch: Batch) -> Receipt:
        asked.append(batch.source.name)
        raise TargetUnavailable("listening: connection refused")

    stats = sweep_once(RecordingTarget(answer), data)

    assert 1 == len(asked)
    assert 3 == len(stats.failing())
    assert {"listening: connection refused"} == {database.error for database in stats.failing()}
    ((rows,),) = select(data / asked[0], "SELECT count(*) FROM sensor_readings")
    assert (rows, 0) == (stats.totals().found, stats.totals().delivered)

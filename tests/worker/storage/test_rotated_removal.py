"""Rotated databases that are old are recorded in the live one, then deleted: nothing else goes, and verification knows."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.verify.verification import verify
from tests.worker.samples import ANOMALIES, SECOND_US, run, settings, with_catch_up
from tests.worker.stores import SensorWriter, select
from worker.storage import rotated_removal
from worker.storage.retention import Delivered, write_delivered

SETTINGS = settings(*ANOMALIES)
LIMIT = 60_000
KEEP = 800
TARGETS = "a digest"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit looks for old files."""
    monkeypatch.setattr(rotated_removal, "MAX_LOOK_INTERVAL_SECONDS", 0.0)


def rotating(path: Path, number: int = 1, **store: Any) -> SensorWriter:
    given = {"max_bytes": LIMIT, "keep_us": KEEP * SECOND_US, **store}
    return SensorWriter(path, SETTINGS, with_catch_up(run(number)), number, **given)


def write(path: Path, begin: int, end: int, number: int = 1, **store: Any) -> None:
    writer = rotating(path, number, **store)
    for second in range(begin, end, 50):
        writer.deliver(second)
    writer.sink.close()


def rotated(path: Path) -> list[str]:
    return sorted(other.name.removeprefix(f"{path.stem}.rotated-") for other in path.parent.glob("*.rotated-*.db"))


def recorded(path: Path) -> list[tuple[Any, ...]]:
    return select(path, "SELECT first_seq, last_seq, readings, file FROM removals ORDER BY first_seq")


def verified(path: Path) -> tuple[str, ...]:
    verdict = verify(path.parent)
    assert () == verdict.findings
    return verdict.skipped


def test_old_files_go_oldest_first_on_record(path: Path) -> None:
    """What is left joins up, and no name is used again: it would be that of a file on record."""
    write(path, 0, 4_000)

    left, gone = rotated(path), recorded(path)
    assert left
    assert len(gone) > 4
    assert [f"{number:04d}.db" for number in range(len(gone) + 1, len(gone) + len(left) + 1)] == left
    assert [first for first, *_ in gone] == [0, *(last + 1 for _, last, *_ in gone)][:-1]
    assert gone[-1][1] < 3_950 - KEEP
    count = sum(readings for _, _, readings, _ in gone)
    assert (
        f"{count:,} readings were removed on record (keep: 13m20s); the epochs that are kept determine them",
    ) == verified(path)


def test_a_file_is_kept_until_all_targets_have_it(path: Path) -> None:
    """However old it is; nor is one deleted of which a target has refused a reading."""
    write(path, 0, 3_000, targets=TARGETS)
    files = rotated(path)
    assert len(files) > 4
    for name, noted in (
        (files[0], Delivered(10_000, 0)),
        (files[1], Delivered(10_000, 1)),
        (files[2], Delivered(10_000, 0)),
    ):
        with closing(apsw.Connection(str(path.with_name(f"{path.stem}.rotated-{name}")))) as connection, connection:
            write_delivered(connection, TARGETS, noted)
    write(path, 3_000, 3_101, 2, targets=TARGETS)
    assert files[1:] == rotated(path)[: len(files) - 1]
    verified(path)


def test_a_worker_that_dies_before_it_deletes_is_followed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is first: with the file still there verification is content, and the next worker deletes it."""

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(rotated_removal.RotatedRemoval, "_delete", die)
        with pytest.raises(Died):
            write(path, 0, 4_000)
    assert "0001.db" in rotated(path)
    assert 1 == len(recorded(path))
    assert () == verified(path)

    write(path, 2_000, 2_051, 2)
    assert "0001.db" not in rotated(path)
    assert len(verified(path)) == 1


def test_another_file_of_that_name_is_not_deleted(path: Path) -> None:
    """A record is about a generation: one that was put back under the name of a removed one stays."""
    write(path, 0, 2_000)
    assert rotated(path)[0] != "0001.db"
    write(path.with_name("other.db"), 0, 500)
    stranger = path.with_name(f"{path.stem}.rotated-0001.db")
    path.with_name("other.rotated-0001.db").rename(stranger)
    write(path, 2_000, 3_000, 2)
    assert stranger.exists()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM removals WHERE first_seq = 0", "UPDATE removals SET readings = readings + 1"]
)
def test_a_file_that_is_gone_without_a_right_record_is_noticed(statement: str, path: Path) -> None:
    write(path, 0, 2_000)
    for file in path.parent.glob("*.db"):  # later databases have the records of earlier ones
        with closing(apsw.Connection(str(file))) as connection, suppress(apsw.SQLError):
            connection.execute(statement)
    assert not verify(path.parent).ok


def test_a_file_that_is_deleted_by_hand_is_missing(path: Path) -> None:
    write(path, 0, 3_000)
    path.with_name(f"{path.stem}.rotated-{rotated(path)[0]}").unlink()
    assert {"hole"} == {finding.kind for finding in verify(path.parent).findings}

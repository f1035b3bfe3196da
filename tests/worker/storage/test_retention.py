"""Old readings are removed on record, in ordinary commits: what is not delivered stays, and verification knows the rest."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.verify.verification import verify
from tests.worker.samples import ANOMALIES, IDENTITY, SECOND_US, run, settings, with_catch_up
from tests.worker.stores import SensorWriter, expected_seqs, select, stored_seqs
from worker.spec import AnomalySpec
from worker.storage import retention
from worker.storage.retention import Delivered, write_delivered
from worker.storage.sinks import Unavailable

SETTINGS = settings(*ANOMALIES, AnomalySpec("trend", 0.2, 150, "readings"))
KEEP = 300
TARGETS = "a digest"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not delivered is looked at again in the next commit."""
    monkeypatch.setattr(retention, "RESCAN_SECONDS", 0.0)
    monkeypatch.setattr(retention, "FRUITLESS_SECONDS", 0.0)


def keeping(path: Path, number: int = 1, keep: float | None = KEEP, **store: Any) -> SensorWriter:
    keep_us = None if keep is None else round(keep * SECOND_US)
    return SensorWriter(path, SETTINGS, with_catch_up(run(number)), number, keep_us=keep_us, **store)


def change(path: Path, *statements: str) -> None:
    """As a collector does, in a connection of its own."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.set_busy_timeout(5_000)
        connection.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            connection.execute(statement)


def mark(path: Path, condition: str = "TRUE") -> None:
    change(path, f"UPDATE sensor_readings SET synced = 1 WHERE {condition}")


def delivered(path: Path, last_id: int, targets: str = TARGETS, refused: int = 0) -> None:
    with closing(apsw.Connection(str(path))) as connection, connection:
        write_delivered(connection, targets, Delivered(last_id, refused))


def removals(path: Path) -> list[tuple[Any, ...]]:
    return select(path, "SELECT first_seq, last_seq, readings, removed_at, keep_seconds, file FROM removals")


def verified(path: Path) -> tuple[str, ...]:
    """Verify the folder, and return its notes."""
    verdict = verify(path.parent)
    assert () == verdict.findings
    assert verdict.ok
    return verdict.skipped


def test_old_delivered_readings_are_removed_on_record(path: Path) -> None:
    """By their due times, exactly those that are older than the last one by `keep`; the record has their number and when."""
    writer = keeping(path)
    for second in range(0, 1_001, 50):
        writer.deliver(second)
        mark(path)
    writer.deliver(1_001)
    writer.sink.close()

    gone, left = expected_seqs(SETTINGS, 702), [seq for seq in expected_seqs(SETTINGS, 1_002) if seq >= 702]
    assert left == stored_seqs(path)
    assert [(gone[0], gone[-1], len(gone), "2026-01-01T00:16:41.000000+00:00", 300.0, None)] == removals(path)
    assert (
        f"{len(gone)} readings were removed on record (keep: 5m); the epochs that are kept determine them",
    ) == verified(path)


def test_what_is_not_delivered_stays_however_old(path: Path) -> None:
    """Also in the middle: the record has a range on either side, which join once it is delivered."""
    writer = keeping(path)
    writer.deliver(400)
    mark(path, "seq NOT BETWEEN 20 AND 29")
    writer.deliver(600)

    stuck = [seq for seq in expected_seqs(SETTINGS, 30) if seq >= 20]
    assert stuck == stored_seqs(path)[: len(stuck)]
    assert stored_seqs(path)[len(stuck)] > 300
    assert 2 == len(removals(path))
    verified(path)

    mark(path)
    writer.sink.close()
    writer = keeping(path, 2)  # another worker looks from the beginning
    writer.deliver(601)
    writer.sink.close()
    assert stored_seqs(path)[0] > 300
    assert sum(row[2] for row in removals(path)) == len(expected_seqs(SETTINGS, 602)) - len(stored_seqs(path))
    verified(path)


def test_kept_readings_are_looked_at_again(path: Path) -> None:
    writer = keeping(path)
    writer.deliver(400)
    writer.deliver(401)
    assert 0 == stored_seqs(path)[0]
    mark(path)
    writer.deliver(402)
    writer.deliver(403)
    writer.sink.close()
    assert stored_seqs(path)[0] > 100
    verified(path)


@pytest.mark.parametrize(
    ("noted", "expected"),
    [(None, 0), (("another digest", 10_000), 0), ((TARGETS, 50), 50), ((TARGETS, 10_000), 101)],
)
def test_targets_of_the_fleet_have_to_be_past_it(noted: tuple[str, int] | None, expected: int, path: Path) -> None:
    """Marks of an earlier collector do not count: a target that was added later has none of these readings."""
    writer = keeping(path, targets=TARGETS)
    writer.deliver(400)
    mark(path)
    if noted:
        delivered(path, noted[1], noted[0])
    ids = dict(select(path, "SELECT seq, id FROM sensor_readings"))
    writer.deliver(401)
    writer.sink.close()
    gone = [seq for seq in ids if seq <= 101 and (expected == 101 or ids[seq] <= expected)] if expected else []
    assert len(gone) == len(ids) - len([seq for seq in stored_seqs(path) if seq <= 400])
    verified(path)


def test_a_wrong_clock_removes_nothing_early(path: Path) -> None:
    """Age is by the schedule: what `timestamp` says does not matter."""
    writer = keeping(path)
    writer.deliver(290)
    change(path, "UPDATE sensor_readings SET synced = 1, timestamp = '1990-01-01T00:00:00.000000+00:00'")
    writer.deliver(295)
    writer.sink.close()
    assert 0 == stored_seqs(path)[0]
    assert not select(path, "SELECT 1 FROM sqlite_schema WHERE name = 'removals'")


def test_a_backlog_goes_in_small_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit removes what it adds and a bounded number more."""
    monkeypatch.setattr(retention, "SURPLUS_READINGS_PER_COMMIT", 40)
    writer = keeping(path, keep=None)
    writer.deliver(2_000)
    mark(path)
    writer.sink.close()
    writer = keeping(path, 2)
    before = len(stored_seqs(path))
    for second in range(2_010, 2_100, 10):
        writer.deliver(second)
        after = len(stored_seqs(path))
        assert 20 <= before - after <= 50
        before = after
    writer.sink.close()
    verified(path)


def test_a_failed_commit_removes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings, record and removal come in one transaction, and what was rolled back is removed by the next."""
    writer = keeping(path)
    writer.deliver(400)
    mark(path)
    before = stored_seqs(path)
    with monkeypatch.context() as patched:
        patched.setattr(retention, "INSERT_REMOVAL", "SELECT no_such_column")
        with pytest.raises(Unavailable, match="no_such_column"):
            writer.deliver(401)
    assert before == stored_seqs(path)
    writer.claim_again()
    writer.deliver(401)
    writer.sink.close()
    assert stored_seqs(path)[0] > 100
    verified(path)


def test_a_removal_that_fails_holds_up_no_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed commit the next ones only add."""
    monkeypatch.setattr(retention, "FRUITLESS_SECONDS", 60.0)
    writer = keeping(path)
    writer.deliver(290)
    mark(path)
    change(path, "CREATE TABLE removals (of_another_program)")
    with pytest.raises(Unavailable):
        writer.deliver(400)
    writer.claim_again()
    writer.deliver(400)
    writer.sink.close()
    assert expected_seqs(SETTINGS, 401) == stored_seqs(path)


@pytest.mark.parametrize("final", [False, True])
def test_epochs_and_restarts(final: bool, path: Path) -> None:
    """A removed range reaches over epochs; later workers go on with it."""
    for number in range(1, 8):
        during = run(number, run().start_us + number * 200 * SECOND_US)
        writer = SensorWriter(path, SETTINGS, during, number, keep_us=KEEP * SECOND_US)
        writer.deliver(150)
        mark(path)
        writer.deliver(199, final=final)
        writer.sink.close()
        verified(path)
    assert len(select(path, "SELECT 1 FROM epochs")) == 7
    assert len(removals(path)) == 1
    assert stored_seqs(path)[0] > 700


def test_a_damaged_checkpoint_does_not_bring_removed_readings_back(path: Path) -> None:
    """Even if all rows are gone: the sensor goes on behind them."""
    writer = keeping(path)
    writer.deliver(400)
    mark(path)
    writer.deliver(401)
    writer.sink.close()
    change(path, "DELETE FROM checkpoints", "DELETE FROM sensor_readings")
    last = removals(path)[0][1]
    writer = keeping(path, 2)
    writer.deliver(402)
    writer.sink.close()
    assert last < stored_seqs(path)[0]


def test_the_file_stops_growing(path: Path) -> None:
    """At a steady rate free pages are used again."""
    healthy = settings()
    writer = SensorWriter(path, healthy, with_catch_up(run()), keep_us=KEEP * SECOND_US)
    sizes = []
    for second in range(0, 6_000, 100):
        writer.deliver(second)
        mark(path, "synced = 0")
        sizes.append(select(path, "SELECT page_count FROM pragma_page_count")[0][0])
    writer.sink.close()
    assert max(sizes[20:]) == sizes[20] < 60
    assert len(stored_seqs(path)) < 500


def test_a_database_of_an_older_version_keeps_all(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without an index of readings each commit would search the whole table; the log says so once."""
    writer = keeping(path, keep=None)
    writer.deliver(400)
    writer.sink.close()
    change(path, "DROP INDEX sensor_readings_key")
    mark(path)
    writer = keeping(path, 2)
    writer.deliver(401)
    writer.deliver(402)
    writer.sink.close()
    assert 0 == stored_seqs(path)[0]
    assert 1 == caplog.text.count("nothing is removed from it")


# What verification notices


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM removals", "readings"),
        ("DELETE FROM sensor_readings WHERE seq = 350", ""),
        ("UPDATE removals SET last_seq = last_seq + 20", "is on record as removed"),
        ("DELETE FROM sensor_readings WHERE seq < 200; UPDATE removals SET last_seq = 199", "and there were"),
        (
            "DELETE FROM sensor_readings WHERE seq <= 300; UPDATE removals SET last_seq = 300, readings = readings + 199",
            "reading 300 was not 300 s old",
        ),
        ("UPDATE removals SET keep_seconds = 0.5", "no config keeps readings for 0.5 s"),
        ("UPDATE removals SET removed_at = '2027-01-01T00:00:00+00:00'", "made after the last reading"),
        ("UPDATE removals SET removed_at = 'yesterday'", "removals: the record of reading 0"),
        ("UPDATE removals SET generation = 'other'", "record of another database"),
        ("UPDATE removals SET last_seq = -1", "is no range"),
        ("UPDATE removals SET last_seq = 100000", "removals: the database has 0 to 401"),
        ("UPDATE removals SET sensor_id = 'X'", "it has no checkpoint"),
    ],
)
def test_falsified_records_are_noticed(statement: str, words: str, path: Path) -> None:
    writer = keeping(path)
    writer.deliver(400)
    mark(path)
    writer.deliver(401)
    writer.sink.close()
    verified(path)

    change(path, *statement.split("; "))

    verdict = verify(path.parent)
    assert not verdict.ok
    assert words in " ".join(finding.detail for finding in verdict.findings)
    assert {IDENTITY.sensor_id, "X"} >= {finding.sensor_id for finding in verdict.findings}

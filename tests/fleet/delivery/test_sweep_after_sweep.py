"""Consecutive sweeps of one collector: readings left by a failed sweep are delivered by the next one."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fleet.delivery.batch import Batch
from fleet.delivery.state import DEAD_LETTER_FILE, STATE_FILE, STATE_FOLDER
from fleet.delivery.target import BatchRejected, Receipt, TargetUnavailable
from tests.fleet.delivery.recording_target import RecordingTarget, rejecting
from tests.fleet.delivery.swept import open_collector, sweep, sweep_once
from tests.fleet.verify.damage import damage, make_identities, select, write_database

NAME = "S_000000.db"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_database(folder / NAME, 99, sensors=make_identities(1))
    return folder


def unmarked(data: Path) -> list[tuple[object, ...]]:
    return select(data / NAME, "SELECT id FROM sensor_readings WHERE synced = 0")


def test_a_letter_that_stays_unanswered_holds_nothing_back(data: Path) -> None:
    """It is delivered again with the other readings that are left."""
    sweep_once(RecordingTarget(rejecting(20)), data)
    damage(data / NAME, "UPDATE sensor_readings SET synced = 0 WHERE id IN (3, 4)")

    def leaves_it_out(batch: Batch) -> Receipt:
        return Receipt(frozenset(batch.ids) - {20} if deaf else frozenset(batch.ids))

    deaf = True
    target = RecordingTarget(leaves_it_out)
    with open_collector(target, data, retry_dead=True) as (collector, context):
        collector.sweep()
        assert context.stats.failing()
        deaf = False
        collector.sweep()
        collector.sweep()

    assert not context.stats.failing()
    assert [] == unmarked(data)


def test_letters_are_tried_again_until_somebody_was_there(data: Path) -> None:
    sweep_once(RecordingTarget(rejecting(20)), data)

    def answer(batch: Batch) -> Receipt:
        if down:
            raise TargetUnavailable("listening: connection refused")
        return Receipt(frozenset(batch.ids))

    down = True
    with open_collector(RecordingTarget(answer), data, retry_dead=True) as (collector, _):
        collector.sweep()
        down = False
        collector.sweep()

    assert [] == unmarked(data)


def test_letters_that_are_refused_again_hold_nothing_back(data: Path) -> None:
    """They are tried once and do not count against the target; the other readings arrive."""
    sweep_once(RecordingTarget(rejecting(20)), data)
    damage(data / NAME, "UPDATE sensor_readings SET synced = 0 WHERE id IN (3, 4)")
    target = RecordingTarget(rejecting(20))
    with open_collector(target, data, retry_dead=True) as (collector, context):
        collector.sweep()
        collector.sweep()

    assert not context.stats.failing()
    assert [3, 4] == target.ids
    assert [(20,)] == unmarked(data)


def test_history_that_nobody_has_taken_is_not_given_up(data: Path) -> None:
    """Two rejected rows do not prove that a server accepts only readings."""
    damage(data / NAME, "DELETE FROM anomaly_episodes WHERE first_seq > (SELECT min(first_seq) FROM anomaly_episodes)")

    def answer(batch: Batch) -> Receipt:
        if bad and (batch.episodes.rows or batch.epochs.rows):
            raise BatchRejected("422: extra inputs are not permitted")
        return Receipt(frozenset(batch.ids))

    bad, target = True, RecordingTarget(answer)
    for _ in range(2):
        with open_collector(target, data) as (collector, _round):
            collector.sweep()
        bad = False

    assert 1 == sum(len(batch.episodes.rows) for batch in target.batches)
    assert 1 == sum(len(batch.epochs.rows) for batch in target.batches)


def test_history_is_left_out_by_the_row(data: Path) -> None:
    """One rejected episode does not stop the others, nor those of other databases."""
    write_database(data / "S_000001.db", 99, sensors=make_identities(2)[1:])
    damage(
        data / NAME,
        "UPDATE anomaly_episodes SET parameters = 'poison' WHERE first_seq = (SELECT min(first_seq) FROM anomaly_episodes)",
    )

    def picky(batch: Batch) -> Receipt:
        if any("poison" in row for row in batch.episodes.rows):
            raise BatchRejected("422: episodes: poison")
        return Receipt(frozenset(batch.ids))

    target = RecordingTarget(picky)
    with open_collector(target, data) as (collector, context):
        collector.sweep()

    episodes = sum(len(select(path, "SELECT 1 FROM anomaly_episodes")) for path in data.glob("*.db"))
    assert episodes - 1 == sum(len(batch.episodes.rows) for batch in target.batches)
    assert 2 == sum(len(batch.epochs.rows) for batch in target.batches)
    assert {"422: episodes: poison"} == set(context.delivery.rejected_history.values())
    assert context.delivery.history_supported
    assert [] == unmarked(data)


def test_history_that_is_refused_is_not_counted(data: Path) -> None:
    def only_readings(batch: Batch) -> Receipt:
        if batch.episodes.rows or batch.epochs.rows:
            raise BatchRejected("422: episodes: extra inputs are not permitted")
        return Receipt(frozenset(batch.ids))

    with open_collector(RecordingTarget(only_readings), data, batch_size=10) as (collector, context):
        collector.sweep()
        collector.sweep()

    assert not context.delivery.history_supported
    assert 0 == context.stats.totals().episodes


def test_records_that_somebody_has_locked_are_told_as_such(data: Path) -> None:
    """It is not an error of the database, and readings delivered before it are counted."""
    target = RecordingTarget()
    with (
        open_collector(target, data, busy_timeout_ms=20) as (collector, context),
        closing(apsw.Connection(str(data / STATE_FOLDER / STATE_FILE))) as other,
    ):
        context.state._connection.set_busy_timeout(20)
        other.execute("BEGIN EXCLUSIVE")
        collector.sweep()
        (database,) = context.stats.failing()
        other.execute("ROLLBACK")
        collector.sweep()

    assert database.error == f"--state: {data / STATE_FOLDER / STATE_FILE}: database is locked"
    assert ("target", len(target.ids)) == (database.blame, database.delivered)
    assert not context.stats.failing()


def test_dead_letters_are_json(data: Path) -> None:
    damage(data / NAME, "UPDATE sensor_readings SET temperature = 9e999, model = x'00ff' WHERE id = 20")
    sweep_once(RecordingTarget(rejecting(20)), data)

    (line,) = (data / STATE_FOLDER / DEAD_LETTER_FILE).read_text().splitlines()
    reading = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))["reading"]
    assert ("inf", "00ff") == (reading["temperature"], reading["model"])


def test_rows_of_any_number(data: Path, tmp_path: Path) -> None:
    """Ids need not begin at 1."""
    damage(data / NAME, "UPDATE sensor_readings SET id = id - 50 WHERE id <= 30")
    for marking in (False, True):
        central = tmp_path / f"{marking}.db"
        for _ in range(2):
            sweep(data, central, batch_size=20, marking=marking)

        assert select(data / NAME, "SELECT id, seq FROM sensor_readings") == select(
            central, "SELECT source_id, seq FROM sensor_readings ORDER BY source_id"
        )
    assert [] == unmarked(data)

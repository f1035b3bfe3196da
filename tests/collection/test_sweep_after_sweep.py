"""Sweeps of one collector, one after the other, some of which go wrong: what was left is there the next time."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fleet.collection.batch import Batch
from fleet.collection.state import DEAD, FILE, FOLDER
from fleet.collection.target import Indigestible, Receipt, Unavailable
from tests.collection.swept import collecting, sweep, swept
from tests.collection.targets import Listening, poisoned
from tests.fleet.damage import ask, crew, damage, write

NAME = "S_000000.db"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / NAME, 99, sensors=crew(1))
    return folder


def unmarked(data: Path) -> list[tuple[object, ...]]:
    return ask(data / NAME, "SELECT id FROM sensor_readings WHERE synced = 0")


def test_a_letter_that_stays_unanswered_holds_nothing_back(data: Path) -> None:
    """It is tried again with what else is left, although it lies behind that."""
    swept(Listening(poisoned(20)), data)
    damage(data / NAME, "UPDATE sensor_readings SET synced = 0 WHERE id IN (3, 4)")

    def leaves_it_out(batch: Batch) -> Receipt:
        return Receipt(frozenset(batch.ids) - {20} if deaf else frozenset(batch.ids))

    deaf = True
    target = Listening(leaves_it_out)
    with collecting(target, data, retry_dead=True) as (collector, round_):
        collector.sweep()
        assert round_.tally.failing()
        deaf = False
        collector.sweep()
        collector.sweep()

    assert not round_.tally.failing()
    assert [] == unmarked(data)


def test_letters_are_tried_again_until_somebody_was_there(data: Path) -> None:
    swept(Listening(poisoned(20)), data)

    def answer(batch: Batch) -> Receipt:
        if down:
            raise Unavailable("listening: connection refused")
        return Receipt(frozenset(batch.ids))

    down = True
    with collecting(Listening(answer), data, retry_dead=True) as (collector, _):
        collector.sweep()
        down = False
        collector.sweep()

    assert [] == unmarked(data)


def test_letters_that_are_refused_again_hold_nothing_back(data: Path) -> None:
    """They say nothing of the target, and are tried once; what else there is arrives."""
    swept(Listening(poisoned(20)), data)
    damage(data / NAME, "UPDATE sensor_readings SET synced = 0 WHERE id IN (3, 4)")
    target = Listening(poisoned(20))
    with collecting(target, data, retry_dead=True) as (collector, round_):
        collector.sweep()
        collector.sweep()

    assert not round_.tally.failing()
    assert [3, 4] == target.ids
    assert [(20,)] == unmarked(data)


def test_history_that_nobody_has_taken_is_not_given_up(data: Path) -> None:
    """Two rows are too few to tell a server that knows only readings from one that has a bad day."""
    damage(data / NAME, "DELETE FROM anomaly_episodes WHERE first_seq > (SELECT min(first_seq) FROM anomaly_episodes)")

    def answer(batch: Batch) -> Receipt:
        if bad and (batch.episodes.rows or batch.epochs.rows):
            raise Indigestible("422: extra inputs are not permitted")
        return Receipt(frozenset(batch.ids))

    bad, target = True, Listening(answer)
    for _ in range(2):
        with collecting(target, data) as (collector, _round):
            collector.sweep()
        bad = False

    assert 1 == sum(len(batch.episodes.rows) for batch in target.batches)
    assert 1 == sum(len(batch.epochs.rows) for batch in target.batches)


def test_history_is_left_out_by_the_row(data: Path) -> None:
    """One episode that the target does not take keeps none of the others from it, nor those of other databases."""
    write(data / "S_000001.db", 99, sensors=crew(2)[1:])
    damage(
        data / NAME,
        "UPDATE anomaly_episodes SET parameters = 'poison' WHERE first_seq = (SELECT min(first_seq) FROM anomaly_episodes)",
    )

    def picky(batch: Batch) -> Receipt:
        if any("poison" in row for row in batch.episodes.rows):
            raise Indigestible("422: episodes: poison")
        return Receipt(frozenset(batch.ids))

    target = Listening(picky)
    with collecting(target, data) as (collector, round_):
        collector.sweep()

    episodes = sum(len(ask(path, "SELECT 1 FROM anomaly_episodes")) for path in data.glob("*.db"))
    assert episodes - 1 == sum(len(batch.episodes.rows) for batch in target.batches)
    assert 2 == sum(len(batch.epochs.rows) for batch in target.batches)
    assert {"422: episodes: poison"} == set(round_.handover.left_out.values())
    assert round_.handover.takes_history
    assert [] == unmarked(data)


def test_history_that_is_refused_is_not_counted(data: Path) -> None:
    def only_readings(batch: Batch) -> Receipt:
        if batch.episodes.rows or batch.epochs.rows:
            raise Indigestible("422: episodes: extra inputs are not permitted")
        return Receipt(frozenset(batch.ids))

    with collecting(Listening(only_readings), data, batch_size=10) as (collector, round_):
        collector.sweep()
        collector.sweep()

    assert not round_.handover.takes_history
    assert 0 == round_.tally.totals().episodes


def test_records_that_somebody_has_locked_are_told_as_such(data: Path) -> None:
    """It is no trouble of the database, and what was delivered until then is counted."""
    target = Listening()
    with (
        collecting(target, data, patience_ms=20) as (collector, round_),
        closing(apsw.Connection(str(data / FOLDER / FILE))) as other,
    ):
        round_.state._connection.set_busy_timeout(20)
        other.execute("BEGIN EXCLUSIVE")
        collector.sweep()
        (account,) = round_.tally.failing()
        other.execute("ROLLBACK")
        collector.sweep()

    assert account.error == f"--state: {data / FOLDER / FILE}: database is locked"
    assert ("target", len(target.ids)) == (account.blame, account.delivered)
    assert not round_.tally.failing()


def test_dead_letters_are_json(data: Path) -> None:
    damage(data / NAME, "UPDATE sensor_readings SET temperature = 9e999, model = x'00ff' WHERE id = 20")
    swept(Listening(poisoned(20)), data)

    (line,) = (data / FOLDER / DEAD).read_text().splitlines()
    reading = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))["reading"]
    assert ("inf", "00ff") == (reading["temperature"], reading["model"])


def test_rows_of_any_number(data: Path, tmp_path: Path) -> None:
    """Nobody says that ids begin at 1."""
    damage(data / NAME, "UPDATE sensor_readings SET id = id - 50 WHERE id <= 30")
    for marking in (False, True):
        central = tmp_path / f"{marking}.db"
        for _ in range(2):
            sweep(data, central, batch_size=20, marking=marking)

        assert ask(data / NAME, "SELECT id, seq FROM sensor_readings") == ask(
            central, "SELECT source_id, seq FROM sensor_readings ORDER BY source_id"
        )
    assert [] == unmarked(data)

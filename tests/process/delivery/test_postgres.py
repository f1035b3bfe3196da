"""A real PostgreSQL server as a target: every reading once, whatever comes again."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fleet.delivery.batch import Batch
from fleet.delivery.target import BatchRejected
from fleet.delivery.targets.postgres.target import PostgresTarget
from tests.fleet.delivery.samples import batch, episodes, epochs, foreign_batch, reading, source, with_values
from tests.servers.postgres import MakeTarget, rows, seqs

READINGS = "SELECT s.generation, r.sensor_id, r.seq, r.source_id FROM sensor_readings r JOIN sources s USING (source)"


@pytest.fixture
def target(postgres_target: MakeTarget, postgres_url: str) -> PostgresTarget:
    return postgres_target(postgres_url)


@pytest.mark.claim("001.introduction.1")
def test_readings_arrive_as_they_are(target: PostgresTarget, postgres_url: str) -> None:
    """Each value under its name, with the source, its row id there, and when it came."""
    receipt = target.deliver(batch(1, 4))

    assert (frozenset({1, 2, 3}), 0, {}) == (receipt.accepted, receipt.duplicates, receipt.rejected)
    columns = "source_id, timestamp, sensor_id, temperature, humidity, status_code, anomaly_flag, anomaly_type, synced"
    expected = [reading(number) for number in (1, 2, 3)]
    found = rows(postgres_url, f"SELECT {columns}, location, latitude, seq FROM sensor_readings ORDER BY id")
    assert expected == found
    arrival = "SELECT s.generation, s.name, s.cursor, b.received_at, b.readings, r.extra"
    joined = "FROM sensor_readings r JOIN batches b USING (batch) JOIN sources s ON s.source = r.source"
    message = ("generation-1", "generation-1.db", 3, "2026-02-03T04:05:06.000000+00:00", 3, None)
    assert [message] * 3 == rows(postgres_url, f"{arrival} {joined}")


def test_a_batch_may_come_again(target: PostgresTarget, postgres_target: MakeTarget, postgres_url: str) -> None:
    """A collector died between commit and mark: the next one delivers the same readings, also with other boundaries."""
    target.deliver(batch(1, 11))
    again = postgres_target(postgres_url).deliver(batch(1, 11))
    across = target.deliver(batch(6, 16))
    between = target.deliver(batch(3, 5))

    assert (frozenset(range(1, 11)), 10, {}) == (again.accepted, again.duplicates, again.rejected)
    assert (frozenset(range(6, 16)), 5, {}) == (across.accepted, across.duplicates, across.rejected)
    assert (frozenset({3, 4}), 2, {}) == (between.accepted, between.duplicates, between.rejected)
    assert list(range(15)) == seqs(postgres_url)


def test_the_cursor_never_goes_back(target: PostgresTarget) -> None:
    """0 for an unknown source, else the last id that arrived."""
    assert 0 == target.cursor("generation-1")
    target.deliver(batch(1, 11))
    target.deliver(batch(3, 5))

    assert 10 == target.cursor("generation-1")
    assert 0 == target.cursor("generation-2")


def test_a_gap_below_the_cursor_is_filled(target: PostgresTarget, postgres_url: str) -> None:
    target.deliver(batch(5, 8))
    receipt = target.deliver(batch(1, 6))

    assert (frozenset(range(1, 6)), 1) == (receipt.accepted, receipt.duplicates)
    assert list(range(7)) == seqs(postgres_url)


def test_other_content_is_an_alarm(target: PostgresTarget, postgres_url: str) -> None:
    """What was there first stays; what came is on record once, however often it comes."""
    target.deliver(batch(1, 4))
    wrong = with_values(batch(1, 6), 2, temperature=99.0, location=None)
    receipt = target.deliver(wrong)
    target.deliver(wrong)

    assert {2: "it is here already with another temperature, location"} == receipt.rejected
    assert (frozenset({1, 3, 4, 5}), 2) == (receipt.accepted, receipt.duplicates)
    kept = rows(postgres_url, "SELECT temperature, location FROM sensor_readings WHERE seq = 1")
    assert [(reading(2)[3], "Kinshasa, 🌍")] == kept
    ((sensor, seq, columns, document),) = rows(postgres_url, "SELECT sensor_id, seq, columns, reading FROM conflicts")
    assert ("KIN_1", 1, "temperature,location") == (sensor, seq, columns)
    assert (99.0, None) == (json.loads(document)["temperature"], json.loads(document)["location"])


def test_a_conflict_may_be_long(target: PostgresTarget, postgres_url: str) -> None:
    """Longer than what an index takes."""
    long = "".join(chr(33 + number * 7919 % 15_000) for number in range(20_000))
    target.deliver(batch(1, 2))
    receipt = target.deliver(with_values(batch(1, 2), 1, location=long))

    assert {1} == set(receipt.rejected)
    assert [(1,)] == rows(postgres_url, "SELECT count(*) FROM conflicts")


def test_a_key_twice_in_a_batch(target: PostgresTarget, postgres_url: str) -> None:
    """The same reading in two rows of the source is one here; two that differ are an alarm."""
    message = with_values(
        with_values(batch(1, 5), 2, seq=0, timestamp=reading(1)[1], temperature=reading(1)[3]), 4, seq=2
    )
    receipt = target.deliver(message)

    assert (frozenset({1, 2, 3}), 1) == (receipt.accepted, receipt.duplicates)
    assert {4: "it is here already with another timestamp, temperature"} == receipt.rejected
    assert [0, 2] == seqs(postgres_url)


def test_a_foreign_source_keeps_what_we_have_no_column_for(target: PostgresTarget, postgres_url: str) -> None:
    """Its row id stands for seq, also if it has a column of that name; the rest is JSON."""
    target.deliver(foreign_batch(1, 4))
    receipt = target.deliver(foreign_batch(2, 5))
    named = Batch(source("foreign-2", ("id", "timestamp", "sensor_id", "seq")), ((7, "2026", "A", "x"),))
    target.deliver(named)

    assert (3, 2) == (len(receipt.accepted), receipt.duplicates)
    expected = [(number, json.dumps({"battery": number / 10})) for number in range(1, 5)]
    assert [*expected, (7, '{"seq": "x"}')] == rows(postgres_url, "SELECT seq, extra FROM sensor_readings ORDER BY seq")


def test_sources_do_not_mix(target: PostgresTarget, postgres_url: str) -> None:
    """The same sensor and seq in another generation is another reading."""
    target.deliver(batch(1, 3))
    receipt = target.deliver(batch(1, 3, source("generation-2")))

    assert 0 == receipt.duplicates
    expected = {(key, "KIN_1", seq, seq + 1) for key in ("generation-1", "generation-2") for seq in (0, 1)}
    assert expected == set(rows(postgres_url, READINGS))


def test_episodes_and_epochs_come_along_and_are_replaced(target: PostgresTarget, postgres_url: str) -> None:
    """The later one under the same first_seq counts, also in a delivery without readings."""
    target.deliver(batch(1, 3, episodes=episodes((0, 9), (20, 29)), epochs=epochs(0)))
    receipt = target.deliver(Batch(source(), (), episodes((0, 4)), epochs(0, 5, reason="reload")))

    assert frozenset() == receipt.accepted
    assert [(0, 4), (20, 29)] == rows(postgres_url, "SELECT first_seq, last_seq FROM anomaly_episodes ORDER BY 1")
    assert [(0, "reload"), (5, "reload")] == rows(postgres_url, "SELECT first_seq, reason FROM epochs ORDER BY 1")
    assert 2 == target.cursor("generation-1")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"location": "a\0b"}, r"location: 'a\x00b' has the character NUL in it"),
        ({"location": b"abc"}, "location: b'abc' is no text"),
        ({"temperature": "hot"}, "temperature: 'hot' is no real number"),
        ({"status_code": 1.5}, "status_code: 1.5 is no whole number"),
        ({"sensor_id": None}, "sensor_id: is missing"),
    ],
)
def test_a_value_without_a_place_is_rejected_by_itself(
    target: PostgresTarget, postgres_url: str, values: dict[str, Any], reason: str
) -> None:
    receipt = target.deliver(with_values(batch(1, 4), 2, **values))

    assert ({2: reason}, frozenset({1, 3})) == (receipt.rejected, receipt.accepted)
    assert [0, 2] == seqs(postgres_url)


def test_whole_numbers_are_taken_for_real_ones(target: PostgresTarget, postgres_url: str) -> None:
    target.deliver(with_values(batch(1, 2), 1, temperature=21, status_code=3.0))

    assert [(21.0, 3)] == rows(postgres_url, "SELECT temperature, status_code FROM sensor_readings")


def test_a_batch_that_the_server_refuses_is_rejected(target: PostgresTarget) -> None:
    """Such as a key that is too long for its index."""
    long = "".join(chr(33 + number * 7919 % 15_000) for number in range(20_000))

    with pytest.raises(BatchRejected, match="index row"):
        target.deliver(with_values(batch(1, 3), 2, sensor_id=long))


def test_many_threads_at_once(target: PostgresTarget, postgres_target: MakeTarget, postgres_url: str) -> None:
    """Into a new database, through two targets, four of them with the same source."""
    keys = [f"generation-{max(number, 3)}" for number in range(10)]
    targets = [target, postgres_target(postgres_url)]

    def deliver(number: int) -> int:
        return sum(
            len(targets[number % 2].deliver(batch(first, first + 20, source(keys[number]))).accepted)
            for first in range(1, 101, 10)
        )

    with ThreadPoolExecutor(10) as pool:
        assert [200] * 10 == list(pool.map(deliver, range(10)))

    expected = {(key, "KIN_1", seq, seq + 1) for key in keys for seq in range(110)}
    found = rows(postgres_url, READINGS)
    assert (len(expected), expected) == (len(found), set(found))

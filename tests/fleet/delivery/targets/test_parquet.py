"""A directory of Parquet files as a target: every reading is in one file, however often it is delivered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyarrow import parquet

from fleet.delivery.batch import Batch
from fleet.delivery.columns import parse_timestamp
from fleet.delivery.target import BatchRejected, TargetUnavailable
from fleet.delivery.targets.parquet.files import hour_of, partition_path, source_lock
from fleet.delivery.targets.retry import RetryPolicy
from tests.fleet.delivery.parquet_folder import HOUR_9, HOUR_10, ids, names, rows, target
from tests.fleet.delivery.samples import batch, episodes, epochs, foreign_batch, reading, source, with_values

pytestmark = pytest.mark.claim("001.contributing-license.5")


def test_readings_arrive_as_they_are(tmp_path: Path) -> None:
    """In files of their hour, with the time also as a time, and with where they came from."""
    receipt = target(tmp_path).deliver(batch(9, 13))

    assert (frozenset(range(9, 13)), 0, {}) == (receipt.accepted, receipt.duplicates, receipt.rejected)
    first, second = "generation-1.000000000009-000000000010.parquet", "generation-1.000000000011-000000000012.parquet"
    assert [f"{HOUR_9}/{first}", f"{HOUR_10}/{second}"] == names(tmp_path)
    row = rows(tmp_path)[0]
    expected = dict(zip(batch(9, 10).source.columns, reading(9), strict=True)) | {"source_id": 9}
    assert {**row, **{name: value for name, value in expected.items() if name not in {"id", "synced"}}} == row
    assert (datetime(2026, 1, 1, 9, 59, 58, tzinfo=UTC), None) == (row["time"], row["pressure"])
    assert ("generation-1", "2026-02-03T04:05:06.000000+00:00") == (row["generation"], row["received_at"])


def test_the_schema_does_not_depend_on_the_values(tmp_path: Path) -> None:
    """A column that is NULL all over has its type all the same."""
    target(tmp_path).deliver(foreign_batch(1, 2))
    (name,) = names(tmp_path)
    schema = parquet.read_schema(tmp_path / name)

    kinds = {
        name: str(schema.field(name).type) for name in ("timestamp", "time", "voltage", "status_code", "model", "seq")
    }
    expected = {"timestamp": "string", "time": "timestamp[us, tz=UTC]", "voltage": "double"}
    assert {**expected, "status_code": "int64", "model": "string", "seq": "int64"} == kinds


def test_a_batch_may_come_again(tmp_path: Path) -> None:
    """A collector died between delivery and mark: the next one delivers the same readings, also with other boundaries."""
    first = target(tmp_path)
    first.deliver(batch(5, 15))
    again = target(tmp_path).deliver(batch(5, 15))
    across = first.deliver(batch(1, 21))
    between = first.deliver(batch(9, 12))

    assert (frozenset(range(5, 15)), 10, {}) == (again.accepted, again.duplicates, again.rejected)
    assert (frozenset(range(1, 21)), 10, {}) == (across.accepted, across.duplicates, across.rejected)
    assert (3, 3) == (len(between.accepted), between.duplicates)
    assert list(range(1, 21)) == ids(tmp_path)


def test_each_of_two_collectors_sees_what_the_other_brought(tmp_path: Path) -> None:
    """The known files of a target are valid only until another collector writes."""
    one, other = target(tmp_path), target(tmp_path)
    delivered = [
        one.deliver(batch(1, 4)),
        other.deliver(batch(4, 8)),
        one.deliver(batch(4, 9)),
        other.deliver(batch(7, 11)),
    ]

    assert [0, 0, 4, 2] == [receipt.duplicates for receipt in delivered]
    assert list(range(1, 11)) == ids(tmp_path)


def test_other_content_is_an_alarm(tmp_path: Path) -> None:
    """The first reading stays; the later one is recorded once, however often it is delivered."""
    one = target(tmp_path)
    one.deliver(batch(1, 4))
    wrong = with_values(batch(1, 6), 2, temperature=99.0, location=None)
    receipt = one.deliver(wrong)
    one.deliver(wrong)

    assert {2: "it is here already with another temperature, location"} == receipt.rejected
    assert (frozenset({1, 3, 4, 5}), 2) == (receipt.accepted, receipt.duplicates)
    assert [reading(number)[3] for number in range(1, 6)] == [row["temperature"] for row in rows(tmp_path)]
    (noted,) = (tmp_path / "_conflicts").iterdir()
    note = json.loads(noted.read_text())
    assert (2, ["temperature", "location"], 99.0) == (
        note["source_id"],
        note["columns"],
        note["reading"]["temperature"],
    )


def test_a_foreign_source_keeps_what_we_have_no_column_for(tmp_path: Path) -> None:
    one = target(tmp_path)
    one.deliver(foreign_batch(1, 4))
    receipt = one.deliver(foreign_batch(2, 5))

    assert (3, 2) == (len(receipt.accepted), receipt.duplicates)
    expected = [(number, json.dumps({"battery": number / 10})) for number in range(1, 5)]
    assert expected == [(row["seq"], row["extra"]) for row in rows(tmp_path)]


def test_sources_do_not_mix(tmp_path: Path) -> None:
    """Not even if the key of one is the beginning of another's, or has a slash in it."""
    one, keys = target(tmp_path), ["a", "a.b", "a/b", "generation-1"]
    receipts = [one.deliver(batch(1, 3, source(key))) for key in keys + keys]

    assert [0] * 4 + [2] * 4 == [receipt.duplicates for receipt in receipts]
    assert [(key, own) for key in keys for own in (1, 2)] == [
        (row["generation"], row["source_id"]) for row in rows(tmp_path)
    ]


def test_episodes_and_epochs_come_along_and_are_replaced(tmp_path: Path) -> None:
    """A file per source has the newest state of each, also after a delivery without readings."""
    one = target(tmp_path)
    one.deliver(batch(1, 3, episodes=episodes((0, 9), (20, 29)), epochs=epochs(0)))
    one.deliver(Batch(source(), (), episodes((0, 4)), epochs(0, 5, reason="reload")))
    kept = tmp_path / "_epochs" / "generation-1.parquet"
    before = kept.stat().st_ino
    receipt = one.deliver(Batch(source(), (), episodes((0, 4)), epochs(5, reason="reload")))

    assert frozenset() == receipt.accepted
    message = parquet.read_table(tmp_path / "_episodes" / "generation-1.parquet").to_pylist()
    assert [(0, 4), (20, 29)] == sorted((row["first_seq"], row["last_seq"]) for row in message)
    message = parquet.read_table(kept).to_pylist()
    assert [(0, "reload"), (5, "reload")] == sorted((row["first_seq"], row["reason"]) for row in message)
    assert str(2**63) == message[0]["seed"]
    assert before == kept.stat().st_ino
    assert [1, 2] == ids(tmp_path)


def test_an_invalid_episode_is_rejected(tmp_path: Path) -> None:
    wrong = (*episodes((0, 9)).rows[0][:3], "zero", *episodes((0, 9)).rows[0][4:])

    with pytest.raises(BatchRejected, match="zero"):
        target(tmp_path).deliver(batch(1, 3, episodes=type(episodes())(episodes().columns, (wrong,))))


def test_a_value_without_a_place_is_rejected_by_itself(tmp_path: Path) -> None:
    """A NUL has one here."""
    message = with_values(with_values(batch(1, 4), 2, temperature="hot"), 3, location="a\0b")
    receipt = target(tmp_path).deliver(message)

    assert ({2: "temperature: 'hot' is no real number"}, frozenset({1, 3})) == (receipt.rejected, receipt.accepted)
    assert ["Kinshasa, 🌍", "a\0b"] == [row["location"] for row in rows(tmp_path)]


@pytest.mark.parametrize(
    ("timestamp", "folder"),
    [
        ("2026-01-01T09:59:59.999999+00:00", HOUR_9),
        ("2026-01-01T12:00:00+02:00", HOUR_10),
        ("2026-01-01 10:00:00", HOUR_10),
        ("2026-01-01T10:00:00Z", HOUR_10),
        ("0001-01-01T00:00:00+23:00", "date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__"),
        ("yesterday", "date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__"),
    ],
)
def test_the_hour_is_that_of_utc(timestamp: str, folder: str) -> None:
    assert folder == partition_path(hour_of(parse_timestamp(timestamp)))


def test_a_timestamp_that_is_none_is_kept_as_it_is(tmp_path: Path) -> None:
    receipt = target(tmp_path).deliver(with_values(batch(1, 3), 1, timestamp="yesterday"))

    assert frozenset({1, 2}) == receipt.accepted
    row = rows(tmp_path)[0]
    assert ("yesterday", None, None) == (row["timestamp"], row["time"], row["date"])


def test_many_threads_at_once(tmp_path: Path) -> None:
    """Through two targets, four of them with the same source."""
    targets = [target(tmp_path), target(tmp_path)]
    keys = [f"generation-{max(number, 3)}" for number in range(10)]

    def deliver(number: int) -> int:
        batches = [batch(first, first + 10, source(keys[number])) for first in range(1, 21, 5)]
        return sum(len(targets[number % 2].deliver(one).accepted) for one in batches)

    with ThreadPoolExecutor(10) as pool:
        assert [40] * 10 == list(pool.map(deliver, range(10)))

    found = [(row["generation"], row["source_id"]) for row in rows(tmp_path)]
    assert [(key, own) for key in sorted(set(keys)) for own in range(1, 26)] == found


def test_a_source_that_another_delivers_is_waited_for(tmp_path: Path) -> None:
    """Other sources go on meanwhile."""
    one = target(tmp_path, RetryPolicy(0.2))
    with source_lock(tmp_path, source(), "somebody else"):
        with pytest.raises(TargetUnavailable, match="another collector is delivering this source"):
            one.deliver(batch(1, 3))
        one.deliver(batch(1, 3, source("generation-2")))

    assert 2 == len(one.deliver(batch(1, 3)).accepted)

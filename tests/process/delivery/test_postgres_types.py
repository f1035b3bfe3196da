"""A PostgreSQL database whose columns have other types than those that a collector makes, or that an earlier version made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fleet.delivery.target import TargetMisconfigured
from tests.fleet.delivery.samples import FIRST_TIME, batch, with_values
from tests.servers.postgres import MakeTarget, rows, seqs


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def url(postgres_target: MakeTarget, postgres_url: str) -> str:
    """A schema with empty tables."""
    postgres_target(postgres_url).cursor("none")
    return postgres_url


@pytest.mark.parametrize(
    ("column", "kind", "shown"),
    [
        ("temperature", "bigint", "bigint"),
        ("seq", "double precision", "double precision"),
        ("seq", "timestamptz", "timestamp with time zone"),
        ("latitude", "money", "money"),
        ("temperature", "text", "text"),
        ("status_code", "integer", "integer"),
        ("timestamp", "timestamptz", "timestamp with time zone"),
        ("extra", "jsonb", "jsonb"),
    ],
)
def test_a_column_of_another_type_is_refused_before_the_first_row(
    postgres_target: MakeTarget, url: str, column: str, kind: str, shown: str
) -> None:
    """A binary COPY would store the bits of the value as one of the other type."""
    execute(
        url,
        f"ALTER TABLE sensor_readings DROP COLUMN {column} CASCADE",
        f"ALTER TABLE sensor_readings ADD COLUMN {column} {kind}",
    )

    with pytest.raises(TargetMisconfigured, match=rf"sensor_readings\.{column} has the type {shown}: wanted is "):
        postgres_target(url).deliver(batch(1, 4))

    assert [(0,)] == rows(url, "SELECT count(*) FROM sensor_readings")


def test_a_missing_column_is_named(postgres_target: MakeTarget, url: str) -> None:
    execute(url, "ALTER TABLE sensor_readings DROP COLUMN humidity")

    with pytest.raises(TargetMisconfigured, match=r"sensor_readings\.humidity is missing"):
        postgres_target(url).deliver(batch(1, 4))


def test_varchar_is_as_good_as_text(postgres_target: MakeTarget, url: str) -> None:
    execute(url, "ALTER TABLE sensor_readings ALTER COLUMN location TYPE varchar(40)")

    assert 3 == len(postgres_target(url).deliver(batch(1, 4)).accepted)
    assert {("Kinshasa, 🌍",)} == set(rows(url, "SELECT location FROM sensor_readings"))


def test_the_time_is_a_point_in_time_too(postgres_target: MakeTarget, url: str) -> None:
    """With an index by sensor and time; NULL if the text is no time. The same for readings below the cursor."""
    target = postgres_target(url)
    target.deliver(with_values(batch(5, 8), 6, timestamp="yesterday"))
    target.deliver(batch(1, 3))

    times = dict(rows(url, "SELECT source_id, time FROM sensor_readings"))
    expected = {number: FIRST_TIME + timedelta(seconds=number - 1) for number in (1, 2, 5, 7)} | {6: None}
    assert expected == times
    (plan,) = zip(*rows(url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'reading_time'"), strict=True)
    assert plan[0].endswith('(sensor_id, "time")')
    assert datetime(2026, 1, 1, 9, 59, 50, tzinfo=UTC) == times[1]


def test_a_table_of_an_earlier_version_goes_on(postgres_target: MakeTarget, url: str) -> None:
    """It has no column `time`. Once one is added, it is filled from then on."""
    execute(url, "ALTER TABLE sensor_readings DROP COLUMN time")
    postgres_target(url).deliver(batch(1, 4))
    postgres_target(url).deliver(batch(2, 6))
    execute(url, "ALTER TABLE sensor_readings ADD COLUMN time timestamptz")
    postgres_target(url).deliver(batch(6, 8))

    assert list(range(7)) == seqs(url)
    assert [False] * 5 + [True] * 2 == [
        known for (known,) in rows(url, "SELECT time IS NOT NULL FROM sensor_readings ORDER BY seq")
    ]

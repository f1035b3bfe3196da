"""Channels and attributes beyond the original columns have columns of their own, behind `seq`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.worker.further import (
    AIR,
    AIR_COLUMNS,
    AIR_IDENTITY,
    CO2,
    PLAIN_IDENTITY,
    STATUS,
    TURBINE,
    TURBINE_COLUMNS,
    TURBINE_IDENTITY,
    Writer,
    attributes,
)
from tests.worker.samples import ANOMALIES, NEW_YEAR, settings
from tests.worker.stores import select
from worker.readings.generator import MISSING_DATA_INDEX, SignalGenerator
from worker.spec import Identity, Settings
from worker.storage.insertion import ROWS_PER_STATEMENT, Insertion, ReadingsTable
from worker.storage.schema import SCHEMA
from worker.storage.sinks import Unavailable

__all__ = ["attributes"]
pytestmark = pytest.mark.usefixtures("attributes")

FIXED = 28
"""The columns of the original data set, and seq."""

PLAIN = settings(*ANOMALIES)


def columns(path: Path) -> list[tuple[str, str]]:
    """The columns behind seq, with their types."""
    rows = select(path, "SELECT name, type FROM pragma_table_info('sensor_readings') ORDER BY cid")
    assert ("seq", "INTEGER") == rows[FIXED - 1]
    return [(str(name), str(declared)) for name, declared in rows[FIXED:]]


def values(path: Path, names: Sequence[str], sensor_id: str) -> list[tuple[Any, ...]]:
    quoted = ", ".join(f'r."{name}"' for name in names)
    return select(path, f"SELECT seq, {quoted} FROM sensor_readings r WHERE sensor_id = ? ORDER BY seq", sensor_id)


def air_values(end: int, begin: int = 0) -> list[tuple[Any, ...]]:
    """What the columns AIR_COLUMNS must hold."""
    block = SignalGenerator(42, AIR_IDENTITY, AIR, 0, NEW_YEAR).block(begin, end - begin)
    rows = zip(range(begin, end), block.values[1].tolist(), block.values[2].tolist(), *block.attributes, strict=True)
    return [
        (*row, "4.12", 4, 61.5)
        for row, kind in zip(rows, block.kinds.tolist(), strict=True)
        if kind != MISSING_DATA_INDEX
    ]


def test_every_channel_and_attribute_has_a_column(path: Path) -> None:
    """In any number of readings at once; an attribute without a value needs none."""
    writer = Writer(path, (AIR_IDENTITY, AIR))
    for seconds in (0, 1, 70, 1_000):
        writer.deliver(seconds)

    assert list(AIR_COLUMNS) == [name for name, _ in columns(path)]
    types = ["REAL", "REAL", "TEXT", "REAL", "INTEGER", "TEXT", "INTEGER", "REAL"]
    assert types == [declared for _, declared in columns(path)]
    assert air_values(1_001) == values(path, AIR_COLUMNS, AIR_IDENTITY.sensor_id)


def test_a_fixed_kind_has_no_further_column(path: Path) -> None:
    Writer(path, (PLAIN_IDENTITY, PLAIN)).deliver(100)

    assert [] == columns(path)


def test_kinds_in_one_database_have_the_columns_of_all(path: Path) -> None:
    """NULL in those of the others; a column that two of them have is there once."""
    writer = Writer(path, (PLAIN_IDENTITY, PLAIN), (AIR_IDENTITY, AIR), (TURBINE_IDENTITY, TURBINE))
    writer.deliver(200)

    names = [name for name, _ in columns(path)]
    assert [*AIR_COLUMNS, "power", "park"] == names
    assert air_values(201) == values(path, AIR_COLUMNS, AIR_IDENTITY.sensor_id)
    alien = [name for name in names if name not in TURBINE_COLUMNS]
    assert {(None,) * len(alien)} == {row[1:] for row in values(path, alien, TURBINE_IDENTITY.sensor_id)}
    assert {(None,) * len(names)} == {row[1:] for row in values(path, names, PLAIN_IDENTITY.sensor_id)}


def test_workers_of_several_kinds_add_their_columns_to_a_shared_database(path: Path) -> None:
    first = Writer(path, (AIR_IDENTITY, AIR), shared=True)
    second = Writer(path, (TURBINE_IDENTITY, TURBINE), shared=True)
    for seconds in (10, 20, 30):
        second.deliver(seconds)
        first.deliver(seconds)

    assert {*AIR_COLUMNS, *TURBINE_COLUMNS} == {name for name, _ in columns(path)}
    assert air_values(31) == values(path, AIR_COLUMNS, AIR_IDENTITY.sensor_id)


def test_another_kind_from_a_reload_adds_its_columns(path: Path) -> None:
    """The rows before have NULL there, and those after NULL in the columns of the kind before."""
    writer = Writer(path, (AIR_IDENTITY, AIR))
    writer.deliver(50)
    changed = replace(writer.specs[0], settings=TURBINE)
    writer.sensors[0].change(changed)
    writer.deliver(100)

    assert [*AIR_COLUMNS, "power"] == [name for name, _ in columns(path)]
    rows = values(path, ("co2", "power", "status"), AIR_IDENTITY.sensor_id)
    assert {(False, True)} == {(row[1] is None, row[2] is None) for row in rows if row[0] <= 50}
    assert {(True, False)} == {(row[1] is None, row[2] is None) for row in rows if row[0] > 50}


def test_a_column_of_a_transaction_that_failed_is_added_again(path: Path) -> None:
    """The rollback has taken it away."""
    writer = Writer(path, (AIR_IDENTITY, AIR))
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TRIGGER refuse BEFORE INSERT ON sensor_readings BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(Unavailable, match="no"):
            writer.deliver(10)
        assert [] == columns(path)
        other.execute("DROP TRIGGER refuse")
    writer = Writer(path, (AIR_IDENTITY, AIR))
    writer.deliver(10)

    assert air_values(11) == values(path, AIR_COLUMNS, AIR_IDENTITY.sensor_id)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("co2 TEXT", "its column co2 has the type TEXT, not REAL"),
        ("co2", "its column co2 has no type, not REAL"),
        ("CO2 REAL", "beside its column CO2 there can be no co2"),
        ("co2 REAL AS (temperature)", "its column co2 has generated values"),
    ],
)
def test_a_column_of_somebody_else_that_cannot_take_the_values(path: Path, declared: str, message: str) -> None:
    """One line says so; nothing is written or lost until it is renamed."""
    writer = Writer(path, (AIR_IDENTITY, AIR))
    with closing(apsw.Connection(str(path))) as other:
        other.execute(f"ALTER TABLE sensor_readings ADD COLUMN {declared}")
        with pytest.raises(Unavailable, match=message) as raised:
            writer.deliver(10)
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(path.name)
        assert not raised.value.outcome_unknown
        assert [(0,)] == select(path, "SELECT count(*) FROM sensor_readings")
        other.execute("ALTER TABLE sensor_readings RENAME COLUMN co2 TO theirs")
    writer.deliver(10)

    assert air_values(11) == values(path, AIR_COLUMNS, AIR_IDENTITY.sensor_id)


def test_a_column_of_somebody_else_of_the_same_type_is_used(path: Path) -> None:
    writer = Writer(path, (AIR_IDENTITY, AIR))
    with closing(apsw.Connection(str(path))) as other:
        other.execute("ALTER TABLE sensor_readings ADD COLUMN floor REAL")
        other.execute("ALTER TABLE sensor_readings ADD COLUMN processed INTEGER")
    writer.deliver(10)

    assert air_values(11) == values(path, AIR_COLUMNS, AIR_IDENTITY.sensor_id)


def test_a_rotation_keeps_the_columns(path: Path) -> None:
    """Also those of a kind that its sensors no longer are."""
    writer = Writer(path, (AIR_IDENTITY, AIR), max_bytes=100_000)
    for seconds in range(0, 3_000, 100):
        writer.deliver(seconds)
    writer.sink.close()
    files = [*sorted(path.parent.glob("*.rotated-*.db")), path]

    assert len(files) > 2
    assert [list(AIR_COLUMNS)] * len(files) == [[name for name, _ in columns(file)] for file in files]
    rows = [row for file in files for row in values(file, AIR_COLUMNS, AIR_IDENTITY.sensor_id)]
    assert air_values(2_901) == rows


def test_a_new_database_after_a_damaged_one_has_the_columns(path: Path) -> None:
    writer = Writer(path, (AIR_IDENTITY, AIR))
    writer.deliver(10)
    writer.sink.close()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable) as raised:
        Writer(path, (AIR_IDENTITY, AIR), incarnation=2)
    assert raised.value.recreated
    Writer(path, (AIR_IDENTITY, AIR), incarnation=2).deliver(10)

    assert air_values(11) == values(path, AIR_COLUMNS, AIR_IDENTITY.sensor_id)


def test_the_widest_kind_fits_the_statement_cache() -> None:
    """apsw prepares a statement of more than 16 kB each time."""
    wide = replace(AIR, channels=tuple(replace(CO2, name=f"channel_with_a_long_name_{n:02d}") for n in range(32)))
    insertion = in_memory(AIR_IDENTITY, replace(wide, attributes=(STATUS,)))

    assert len(insertion.insert_rows) < 16_384
    assert ROWS_PER_STATEMENT == in_memory(AIR_IDENTITY, AIR).rows


def in_memory(identity: Identity, sensor_settings: Settings) -> Insertion:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(SCHEMA)
        return ReadingsTable(connection).insertion(identity, sensor_settings)

"""Reading readings by column: the same values as by row, and by row where the identity differs."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from fleet.delivery.batch import Batch, SourceDatabase
from fleet.delivery.columns import typed_readings
from fleet.delivery.source_database import stored_columns, stored_rows
from tests.fleet.delivery.samples import batch, source

COLUMNS = batch(1, 2).source.columns


@pytest.fixture
def connection() -> apsw.Connection:
    """Ten readings of one sensor."""
    opened = apsw.Connection(":memory:")
    opened.execute(f"CREATE TABLE sensor_readings (id INTEGER PRIMARY KEY, {', '.join(COLUMNS[1:])})")
    assert COLUMNS[0] == "id"
    opened.executemany(
        f"INSERT INTO sensor_readings VALUES ({', '.join('?' * len(COLUMNS))})",
        [tuple(row) for row in batch(1, 11).rows],
    )
    return opened


def readings(connection: apsw.Connection, ids: tuple[int, ...], *, by_row: bool = False) -> dict[str, list[object]]:
    origin = SourceDatabase(Path("x.db"), "x.db", source().key, COLUMNS)
    rows = stored_rows(connection, origin, ids)
    found = typed_readings(Batch(origin, tuple(rows) if by_row else rows), nul=False)
    return {name: list(values) for name, values in found.columns.items()}


def by_column(connection: apsw.Connection, ids: tuple[int, ...]) -> bool:
    return stored_columns(connection, SourceDatabase(Path("x.db"), "x.db", "g", COLUMNS), ids) is not None


def test_the_values_are_those_of_the_rows(connection: apsw.Connection) -> None:
    ids = tuple(range(2, 9))

    assert by_column(connection, ids)
    assert readings(connection, ids, by_row=True) == readings(connection, ids)


@pytest.mark.parametrize(
    "value", ["'Elsewhere'", "NULL", "'kinshasa, 🌍'", "CAST(location AS BLOB)", "CAST(x'ff' AS TEXT)"]
)
@pytest.mark.parametrize("number", [1, 5, 10])
def test_one_reading_with_another_identity(connection: apsw.Connection, number: int, value: str) -> None:
    """It keeps its own."""
    connection.execute(f"UPDATE sensor_readings SET location = {value} WHERE id = {number}")
    ids = tuple(range(1, 11))

    assert not by_column(connection, ids)
    assert readings(connection, ids, by_row=True) == readings(connection, ids)


def test_readings_that_lie_between_are_not_taken(connection: apsw.Connection) -> None:
    """Another collector has them."""
    ids = (1, 2, 5)

    assert [1, 2, 5] == readings(connection, ids)["source_id"]

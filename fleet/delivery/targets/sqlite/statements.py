"""The SQL with which a central database takes readings, episodes and epochs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from fleet.delivery.batch import NAME_KEY_PREFIX
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from worker.storage.schema import quote_identifier

ROWS_PER_STATEMENT = 50


def column_list(names: Iterable[str]) -> str:
    return ",".join(map(quote_identifier, names))


# From `path-` up to the next text of that length.
SELECT_NAMED_SOURCES = f"""
SELECT source, name FROM sources WHERE generation >= '{NAME_KEY_PREFIX}' AND generation < '{NAME_KEY_PREFIX[:-1]}.'
"""
SELECT_TIMESTAMP = "SELECT timestamp FROM sensor_readings WHERE source = ? AND sensor_id = ? AND seq = ?"


@lru_cache(maxsize=64)
def select_existing_sql(names: tuple[str, ...]) -> str:
    """A SELECT of the batch and the named columns of a reading."""
    return f"SELECT batch, {column_list(names)} FROM sensor_readings WHERE source = ? AND sensor_id = ? AND seq = ?"


@lru_cache(maxsize=64)
def copy_readings_sql(names: tuple[str, ...]) -> str:
    """An INSERT of the named columns of the readings between two ids in the attached database."""
    return (
        f"INSERT INTO sensor_readings (source, batch, source_id, {column_list(names)}) "
        f"SELECT ?, ?, id, {column_list(names)} FROM source.sensor_readings WHERE id BETWEEN ? AND ? ORDER BY id "
        "ON CONFLICT DO NOTHING"
    )


@lru_cache(maxsize=64)
def insert_statement(names: tuple[str | None, ...], rows: int) -> str:
    """An INSERT of a number of rows; ?1 is the source and ?2 the batch.

    `names` has the column for each value of a row, None for a value to omit.
    """
    columns = [name for name in names if name is not None]
    first = 3
    values = []
    for row in range(rows):
        parameters = (f"?{first + row * len(names) + index}" for index, name in enumerate(names) if name is not None)
        values.append(f"(?1,?2,{','.join(parameters)})")
    return f"INSERT INTO sensor_readings (source,batch,{column_list(columns)}) VALUES {','.join(values)} ON CONFLICT DO NOTHING"


def upsert_statement(table: str, columns: tuple[str, ...]) -> str:
    names = ("source", *columns)
    return f"INSERT OR REPLACE INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"


UPSERT_EPISODE = upsert_statement("anomaly_episodes", EPISODE_COLUMNS)
UPSERT_EPOCH = upsert_statement("epochs", EPOCH_COLUMNS)

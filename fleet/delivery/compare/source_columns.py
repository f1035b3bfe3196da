"""What a database that is swept has of the columns that readings are compared by."""

from __future__ import annotations

import apsw

from fleet.delivery.batch import SourceDatabase
from fleet.delivery.columns import DELIVERED_COLUMNS
from fleet.delivery.compare.reading_columns import EXTRA_COLUMN, IDENTITY_COLUMN, identity_sql
from fleet.delivery.source_database import quote_identifier
from fleet.delivery.typed_columns import SOURCE_ONLY_COLUMNS


def read_sensor_ids(opened: apsw.Connection) -> frozenset[str]:
    """Who is in a database of a fleet."""
    if not opened.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'checkpoints'").get:
        return frozenset(name for (name,) in opened.execute("SELECT DISTINCT sensor_id FROM sensor_readings"))
    return frozenset(name for (name,) in opened.execute("SELECT sensor_id FROM checkpoints"))


def id_bounds(opened: apsw.Connection) -> tuple[int, int]:
    """The first and the last row id; of an empty table, the last is below the first."""
    first, last = (opened.execute(f"SELECT {which}(id) FROM sensor_readings").get for which in ("min", "max"))
    return (first, last) if isinstance(first, int) and isinstance(last, int) else (0, -1)


def extra_columns(source: SourceDatabase) -> list[str]:
    """The columns that the central tables have no place for."""
    known = {name for name in DELIVERED_COLUMNS if name != "seq" or not source.foreign} | SOURCE_ONLY_COLUMNS.keys()
    return [name for name in source.columns if name not in known]


def column_sql(source: SourceDatabase, name: str) -> str:
    """A column of a source in SQL."""
    if name == IDENTITY_COLUMN:
        return identity_sql(lambda own: quote_identifier(own) if own in source.columns else "NULL")
    if name == "seq" and source.foreign:
        return "id"
    return quote_identifier(name) if name in source.columns and name != EXTRA_COLUMN else "NULL"

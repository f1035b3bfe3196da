"""The schema of a sensor's database as a document for programs, read from a database without rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from fleet.catalogue.catalogue import SensorType
from fleet.config.channels import channel_names, healthy_signal
from fleet.config.config import Config
from worker.storage.insertion import add_column_sql
from worker.storage.schema import SCHEMA_VERSION, create_tables

SELECT_TABLES = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
SELECT_INDEXES = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY rowid"
SELECT_COLUMNS = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)'


READINGS_TABLE = "sensor_readings"

Units = Mapping[str, Mapping[str, str]]
"""The unit of each channel in each kind of sensor, by the names of channels and of kinds."""


def database_schema(config: Config, kinds: Sequence[SensorType]) -> dict[str, Any]:
    """Return each table with its columns in order, and the statements that create the tables and the indexes. The readings
    have all further columns of sensors of these kinds, and the units of their channels."""
    units = channel_units(config, kinds)
    connection = apsw.Connection(":memory:")
    try:
        create_tables(connection)
        present = {name for name, *_ in connection.execute(SELECT_COLUMNS, (READINGS_TABLE,))}
        channels = {name for kind in kinds for name in kind.channels}
        for name, column_type in dict(column for kind in kinds for column in kind.entry.columns()).items():
            if name not in present and (name in units or name not in channels):
                connection.execute(add_column_sql(name, column_type))
        tables = connection.execute(SELECT_TABLES).fetchall()
        return {
            "version": SCHEMA_VERSION,
            "tables": {str(name): table(connection, str(name), str(sql), units) for name, sql in tables},
            "indexes": {str(name): {"sql": str(sql)} for name, sql in connection.execute(SELECT_INDEXES)},
        }
    finally:
        connection.close()


def channel_units(config: Config, kinds: Sequence[SensorType]) -> Units:
    """Return the units of the channels that sensors of the kinds have under a config."""
    units: dict[str, dict[str, str]] = {}
    for kind in kinds:
        for _, profiles in kind.entry.channel_sets():
            for name in channel_names(config, profiles):
                stated = (config.normal_parameters or {}).get(name)
                units.setdefault(name, {})[kind.name] = healthy_signal(config, profiles[name], stated)["unit"]
    return units


def table(connection: apsw.Connection, name: str, sql: str, units: Units) -> dict[str, Any]:
    documents = [column_document(column) for column in connection.execute(SELECT_COLUMNS, (name,))]
    if name == READINGS_TABLE:
        for document in documents:
            if document["name"] in units:
                document["units"] = units[document["name"]]
    return {"columns": documents, "sql": sql}


def column_document(column: tuple[Any, ...]) -> dict[str, Any]:
    """Return the document of a column; `default` is an SQL expression."""
    name, type_, not_null, default, key = column
    return {"name": name, "type": type_, "not_null": bool(not_null), "default": default, "primary_key": bool(key)}

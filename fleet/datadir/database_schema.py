"""The schema of a sensor's database as a document for programs, read from an empty database."""

from __future__ import annotations

from typing import Any

import apsw

from worker.storage.schema import SCHEMA_VERSION, create_tables

SELECT_TABLES = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
SELECT_INDEXES = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY rowid"
SELECT_COLUMNS = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)'


def database_schema() -> dict[str, Any]:
    """Return each table with its columns in order, and the statements that create the tables and the indexes."""
    connection = apsw.Connection(":memory:")
    try:
        create_tables(connection)
        tables = connection.execute(SELECT_TABLES).fetchall()
        return {
            "version": SCHEMA_VERSION,
            "tables": {str(name): table(connection, str(name), str(sql)) for name, sql in tables},
            "indexes": {str(name): {"sql": str(sql)} for name, sql in connection.execute(SELECT_INDEXES)},
        }
    finally:
        connection.close()


def table(connection: apsw.Connection, name: str, sql: str) -> dict[str, Any]:
    columns = connection.execute(SELECT_COLUMNS, (name,)).fetchall()
    return {"columns": [column_document(column) for column in columns], "sql": sql}


def column_document(column: tuple[Any, ...]) -> dict[str, Any]:
    """Return the document of a column; `default` is an SQL expression."""
    name, type_, not_null, default, key = column
    return {"name": name, "type": type_, "not_null": bool(not_null), "default": default, "primary_key": bool(key)}

"""Finding the databases under a directory, and identifying each as a source."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import apsw

from fleet.delivery.batch import FOREIGN_KEY_PREFIX, Row, SourceDatabase
from fleet.delivery.columns import ORIGINAL_COLUMNS, is_further_name
from fleet.escaping import escape
from fleet.verify.row_scan import MIN_ROW_ID, RAW_COLUMN_SQL, decode_row
from worker.spec import ColumnType
from worker.storage.database_files import Inode, inode
from worker.storage.schema import FurtherColumn, further_reading_columns, quote_identifier, settings_from_json

REQUIRED_COLUMNS = ("id", "timestamp", "sensor_id")

SKIPPED_ROLES = {
    "backup": "is a backup",
    "central": "is a central database",
    "quarantined": "is quarantined",
}

# Texts sort above all numbers. Two subqueries: SQLite finds only one of min() and max() at a time without reading the table.
HAS_NON_INTEGER_ID = """
SELECT (SELECT typeof(min(id)) FROM sensor_readings) NOT IN ('integer', 'null')
    OR (SELECT typeof(max(id)) FROM sensor_readings) NOT IN ('integer', 'null')
"""
# As bytes: a damaged text may not be UTF-8.
SELECT_SETTINGS = "SELECT DISTINCT CAST(settings AS BLOB) FROM epochs"

JSON_COLUMN_TYPES: dict[object, ColumnType] = {"text": "TEXT", "integer": "INTEGER", "real": "REAL"}
SELECT_ATTRIBUTES = """
SELECT DISTINCT json_extract(pair, '$[0]') AS name, json_type(pair, '$[1]') FROM (
    SELECT CASE one.type WHEN 'array' THEN one.value ELSE '[]' END AS pair
    FROM epochs, json_each(CASE WHEN json_valid(identity) THEN identity ELSE '{}' END, '$.attributes') AS one
) WHERE typeof(name) = 'text' AND name NOT GLOB '*[^a-z0-9_]*'
"""
SELECT_FIRST_ROW = "SELECT {} FROM sensor_readings ORDER BY id LIMIT 1"
SELECT_ID_IS_ROWID = """
SELECT count(*) = 1 AND max(name = 'id' AND upper(type) = 'INTEGER') FROM pragma_table_info('sensor_readings') WHERE pk
"""
COUNT_WITHOUT_ID = "SELECT count(*) FROM sensor_readings WHERE id IS NULL"
COUNT_LOWEST_ID = f"SELECT count(*) FROM sensor_readings WHERE id = {MIN_ROW_ID}"
COUNT_REPEATED_ID = "SELECT count(id) - count(DISTINCT id) FROM sensor_readings"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A database that is not swept, and the reason. One that is merely empty so far is not `reportable`."""

    reason: str
    reportable: bool = True


def find_databases(directory: Path) -> list[Path]:
    """All `*.db` files under a directory, sorted; a file with two names (during a rotation) is listed once. OSError if the
    directory cannot be listed."""
    directory.stat()
    seen: set[Inode] = set()
    paths = []
    for path in sorted(directory.rglob("*.db")):
        if (
            path.is_file()
            and not is_hidden(path.relative_to(directory))
            and (number := inode_or_hash(path)) not in seen
        ):
            seen.add(number)
            paths.append(path)
    return paths


def database_name(path: Path, directory: Path) -> str:
    """The name of a database: its path below the directory, escaped, as a path may not be text."""
    return escape(path.relative_to(directory).as_posix())


def is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def inode_or_hash(path: Path) -> Inode:
    try:
        return inode(path)
    except OSError:  # opening it reports the reason
        return (0, hash(path))


def identify_source(connection: apsw.Connection, path: Path, name: str) -> SourceDatabase | Skipped:
    """Identify the database at `path`, which `connection` has open. Raises apsw.Error."""
    columns = table_columns(connection, "sensor_readings")
    if not columns:
        return Skipped("has no table sensor_readings")
    if missing := [column for column in REQUIRED_COLUMNS if column not in columns]:
        return Skipped(f"its sensor_readings has no column {missing[0]}")
    if connection.execute(HAS_NON_INTEGER_ID).get:
        return Skipped("its sensor_readings has an id that is no whole number")
    generation = None
    if table_columns(connection, "database_info"):
        for role, recorded in connection.execute("SELECT role, generation FROM database_info").fetchall():
            if role in SKIPPED_ROLES:
                return Skipped(SKIPPED_ROLES[role])
            generation = recorded
    if "seq" in columns and isinstance(generation, str):
        return SourceDatabase(path, name, generation, columns, further_columns_of(connection, columns))
    key = fingerprint(connection, columns)
    return SourceDatabase(path, name, key, columns) if key else Skipped("has no readings yet", reportable=False)


def with_current_columns(connection: apsw.Connection, source: SourceDatabase) -> SourceDatabase:
    """The source with the columns that its table has by now: a sensor that becomes another kind adds some."""
    columns = table_columns(connection, "sensor_readings")
    if columns == source.columns:
        return source
    further = () if source.foreign else further_columns_of(connection, columns)
    return replace(source, columns=columns, further=further)


def further_columns_of(connection: apsw.Connection, columns: tuple[str, ...]) -> tuple[FurtherColumn, ...]:
    """The columns behind `seq` that the epochs of a fleet's database tell of. Those of another program are not among them."""
    others = [name for name in columns if name not in ORIGINAL_COLUMNS]
    if not others or not {"settings", "identity"} <= set(table_columns(connection, "epochs")):
        return ()
    known: dict[str, ColumnType] = {}
    told = [
        *chain.from_iterable(map(columns_of_settings, connection.execute(SELECT_SETTINGS).fetchall())),
        *(
            FurtherColumn(str(name), JSON_COLUMN_TYPES[kind])
            for name, kind in connection.execute(SELECT_ATTRIBUTES)
            if kind in JSON_COLUMN_TYPES
        ),
    ]
    for name, column_type in told:
        before = known.setdefault(name, column_type)
        if {before, column_type} == {"REAL", "INTEGER"}:
            known[name] = "REAL"
    return tuple(FurtherColumn(name, known[name]) for name in others if name in known and is_further_name(name))


@lru_cache(maxsize=256)
def columns_of_settings(row: tuple[bytes | None]) -> tuple[FurtherColumn, ...]:
    """The further columns of the settings in a row of `epochs`; none if they are damaged."""
    try:
        return further_reading_columns(settings_from_json(json.loads(row[0] or b"")))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return ()


def table_columns(connection: apsw.Connection, table: str) -> tuple[str, ...]:
    """The names of a table's columns; empty if there is no such table."""
    # Generated columns included, hidden columns of virtual tables not.
    names = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (table,)).fetchall()
    return tuple(str(name) for (name,) in names)


def first_row(connection: apsw.Connection, columns: tuple[str, ...]) -> Row | None:
    names = list(map(quote_identifier, columns))
    try:
        return connection.execute(SELECT_FIRST_ROW.format(",".join(names))).fetchone()
    except UnicodeDecodeError:
        raw = ",".join(map(RAW_COLUMN_SQL.format, names))
        return decode_row(connection.execute(SELECT_FIRST_ROW.format(raw)).fetchone() or ())


def undeliverable_readings(connection: apsw.Connection) -> str:
    """The number of readings whose id names no single reading, as a reason; empty if there are none."""
    counts = {"has the lowest integer as its id": COUNT_LOWEST_ID}
    if not connection.execute(SELECT_ID_IS_ROWID).get:
        counts |= {"has no id": COUNT_WITHOUT_ID, "has the id of another": COUNT_REPEATED_ID}
    found = [f"{count:,} {reason}" for reason, query in counts.items() if (count := connection.execute(query).get)]
    return f"readings that cannot be delivered, as each needs an id of its own: {', '.join(found)}" if found else ""


def fingerprint(connection: apsw.Connection, columns: tuple[str, ...]) -> str | None:
    """The key of a database without a generation: a digest of its first row without `synced`, which collectors write.

    It stays the same as the database grows or is copied. None while the database is empty.
    """
    row = first_row(connection, columns)
    if row is None:
        return None
    content = [(name, value) for name, value in zip(columns, row, strict=True) if name != "synced"]
    return (
        FOREIGN_KEY_PREFIX + hashlib.blake2b(repr(content).encode(errors="surrogatepass"), digest_size=12).hexdigest()
    )

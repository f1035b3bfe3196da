"""Finding the databases to sweep, and telling from each what it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import apsw

from fleet.delivery.batch import FOREIGN_KEY_PREFIX, SourceDatabase
from fleet.escaping import escape
from worker.storage.database_files import Inode, inode

REQUIRED_COLUMNS = ("id", "timestamp", "sensor_id")

SKIPPED_ROLES = {
    "backup": "is a backup",
    "central": "is a central database",
    "quarantined": "is quarantined",
}

# Texts are greater than any number. Two questions, for SQLite answers only one of them at a time from the ends of a table.
HAS_NON_INTEGER_ID = """
SELECT (SELECT typeof(min(id)) FROM sensor_readings) NOT IN ('integer', 'null')
    OR (SELECT typeof(max(id)) FROM sensor_readings) NOT IN ('integer', 'null')
"""
SELECT_FIRST_ROW = "SELECT * FROM sensor_readings ORDER BY id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A database that is none of the sweep's, and why. Of one that is only empty so far, nobody need be told."""

    reason: str
    reportable: bool = True


def find_databases(directory: Path) -> list[Path]:
    """All `*.db` under a directory, sorted; a file that has two names (one that is being rotated) under the first. OSError
    if the directory cannot be listed."""
    directory.stat()
    seen: set[Inode] = set()
    found = []
    for path in sorted(directory.rglob("*.db")):
        if (
            path.is_file()
            and not is_hidden(path.relative_to(directory))
            and (number := inode_or_hash(path)) not in seen
        ):
            seen.add(number)
            found.append(path)
    return found


def database_name(path: Path, directory: Path) -> str:
    """What a database under a directory is called: its path there, which need not be text."""
    return escape(path.relative_to(directory).as_posix())


def is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def inode_or_hash(path: Path) -> Inode:
    try:
        return inode(path)
    except OSError:  # whoever opens it will say why
        return (0, hash(path))


def identify_source(connection: apsw.Connection, path: Path, name: str) -> SourceDatabase | Skipped:
    """What the database that `connection` is connected to is. Raises apsw.Error."""
    columns = table_columns(connection, "sensor_readings")
    if not columns:
        return Skipped("has no table sensor_readings")
    if missing := [column for column in REQUIRED_COLUMNS if column not in columns]:
        return Skipped(f"its sensor_readings has no column {missing[0]}")
    if connection.execute(HAS_NON_INTEGER_ID).get:
        return Skipped("its sensor_readings has an id that is no whole number")
    generation = None
    if table_columns(connection, "database_info"):
        found = connection.execute("SELECT role, generation FROM database_info").fetchall()
        for role, own in found:
            if role in SKIPPED_ROLES:
                return Skipped(SKIPPED_ROLES[role])
            generation = own
    if "seq" in columns and isinstance(generation, str):
        return SourceDatabase(path, name, generation, columns)
    key = fingerprint(connection, columns)
    return SourceDatabase(path, name, key, columns) if key else Skipped("has no readings yet", reportable=False)


def table_columns(connection: apsw.Connection, table: str) -> tuple[str, ...]:
    """The names of a table's columns; none if there is no such table."""
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
    return tuple(str(name) for (name,) in found)


def fingerprint(connection: apsw.Connection, columns: tuple[str, ...]) -> str | None:
    """What a database is known by that has no generation: its first row, but for what collectors write into it. Stays as the
    database grows and wherever it is copied; None while it is empty."""
    row = connection.execute(SELECT_FIRST_ROW).fetchone()
    if row is None:
        return None
    content = [(name, value) for name, value in zip(columns, row, strict=True) if name != "synced"]
    return (
        FOREIGN_KEY_PREFIX + hashlib.blake2b(repr(content).encode(errors="surrogatepass"), digest_size=12).hexdigest()
    )

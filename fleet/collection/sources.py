"""Finding the databases to sweep, and telling from each what it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import apsw

from fleet.collection.batch import FOREIGN, Source
from fleet.quotes import escaped
from worker.database_files import Inode, inode

NEEDED = ("id", "timestamp", "sensor_id")

SKIPPED_ROLES = {
    "backup": "is a backup",
    "central": "is a central database",
    "quarantined": "is quarantined",
}

# Texts are greater than any number. Two questions, for SQLite answers only one of them at a time from the ends of a table.
ODD_ID = """
SELECT (SELECT typeof(min(id)) FROM sensor_readings) NOT IN ('integer', 'null')
    OR (SELECT typeof(max(id)) FROM sensor_readings) NOT IN ('integer', 'null')
"""
FIRST = "SELECT * FROM sensor_readings ORDER BY id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A database that is none of the sweep's, and why. Of one that is only empty so far, nobody need be told."""

    reason: str
    worth_telling: bool = True


def find(directory: Path) -> list[Path]:
    """All `*.db` under a directory, sorted; a file that has two names (one that is being rotated) under the first. OSError
    if the directory cannot be listed."""
    directory.stat()
    seen: set[Inode] = set()
    found = []
    for path in sorted(directory.rglob("*.db")):
        if path.is_file() and not hidden(path.relative_to(directory)) and (number := identity(path)) not in seen:
            seen.add(number)
            found.append(path)
    return found


def name_of(path: Path, directory: Path) -> str:
    """What a database under a directory is called: its path there, which need not be text."""
    return escaped(path.relative_to(directory).as_posix())


def hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def identity(path: Path) -> Inode:
    try:
        return inode(path)
    except OSError:  # whoever opens it will say why
        return (0, hash(path))


def examine(opened: apsw.Connection, path: Path, name: str) -> Source | Skipped:
    """What the database that `opened` is connected to is. Raises apsw.Error."""
    columns = columns_of(opened, "sensor_readings")
    if not columns:
        return Skipped("has no table sensor_readings")
    if missing := [column for column in NEEDED if column not in columns]:
        return Skipped(f"its sensor_readings has no column {missing[0]}")
    if opened.execute(ODD_ID).get:
        return Skipped("its sensor_readings has an id that is no whole number")
    generation = None
    if columns_of(opened, "database_info"):
        found = opened.execute("SELECT role, generation FROM database_info").fetchall()
        for role, own in found:
            if role in SKIPPED_ROLES:
                return Skipped(SKIPPED_ROLES[role])
            generation = own
    if "seq" in columns and isinstance(generation, str):
        return Source(path, name, generation, columns)
    key = fingerprint(opened, columns)
    return Source(path, name, key, columns) if key else Skipped("has no readings yet", worth_telling=False)


def columns_of(opened: apsw.Connection, table: str) -> tuple[str, ...]:
    """The names of a table's columns; none if there is no such table."""
    found = opened.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
    return tuple(str(name) for (name,) in found)


def fingerprint(opened: apsw.Connection, columns: tuple[str, ...]) -> str | None:
    """What a database is known by that has no generation: its first row, but for what collectors write into it. Stays as the
    database grows and wherever it is copied; None while it is empty."""
    row = opened.execute(FIRST).fetchone()
    if row is None:
        return None
    content = [(name, value) for name, value in zip(columns, row, strict=True) if name != "synced"]
    return FOREIGN + hashlib.blake2b(repr(content).encode(errors="surrogatepass"), digest_size=12).hexdigest()

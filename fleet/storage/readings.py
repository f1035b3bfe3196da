"""A look into a sensor's database from outside: read-only, a connection per look, nothing kept open.

The writer is never in the way and never waited for longer than BUSY_MS; scans are bounded by SCAN rows.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

BUSY_MS = 500
SCAN = 200_000

# The end of a database that many sensors share is searched for one of them, not all of it.
LATEST = f"""
    SELECT * FROM sensor_readings
    WHERE id > (SELECT max(id) FROM sensor_readings) - {SCAN} AND (?1 IS NULL OR sensor_id = ?1)
    ORDER BY id DESC LIMIT ?2
"""

EPISODES = "SELECT * FROM anomaly_episodes WHERE sensor_id = ?1 ORDER BY first_seq DESC LIMIT ?2"

TABLES = """
    SELECT name, wr FROM pragma_table_list
    WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name
"""

COLUMNS = "SELECT name, type FROM pragma_table_info(?1)"

# AUTOINCREMENT and rows that are never deleted: the ids tell the count, without reading the table. In a database that
# goes on from a rotated one they do not begin with 1.
RECORDS = "SELECT (SELECT min(id) FROM sensor_readings), (SELECT max(id) FROM sensor_readings)"

Value = str | int | float | None | list[object] | dict[str, object]
Record = dict[str, Value]


class Unreadable(Exception):
    """A database that cannot be looked into now: missing, locked or damaged. `str(error)` is one line."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a database and of its two companions, 0 for a file that is not there."""

    database: int
    wal: int
    shm: int


@dataclass(frozen=True, slots=True)
class Table:
    """`last_rowid` is None for an empty table and for one that has no row ids."""

    name: str
    columns: tuple[tuple[str, str], ...]
    last_rowid: int | None


@contextmanager
def connection(path: Path) -> Iterator[apsw.Connection]:
    """A read-only connection to the database at `path`; whatever SQLite cannot read is raised as Unreadable."""
    if not there(path):
        raise Unreadable(path, "there is no such database yet")
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        # as_uri() percent-encodes: a `?` or `#` in a folder's name must not become part of the question.
        mode = "mode=ro&immutable=1" if immutable(path) else "mode=ro"
        opened = apsw.Connection(f"{path.absolute().as_uri()}?{mode}", flags=flags)
        try:
            opened.set_busy_timeout(BUSY_MS)
            yield opened
        finally:
            opened.close()
    except (apsw.Error, UnicodeDecodeError) as error:
        raise Unreadable(path, f"{type(error).__name__}: {error}") from error


def immutable(path: Path) -> bool:
    """Whether the database lies on a read-only file system, and all of it is in the one file: SQLite could not make the
    files there by which it shares a database with a writer, and there is none."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY) and not sizes(path).wal
    except OSError:
        return False


def latest(path: Path, limit: int, sensor_id: str | None = None) -> list[Record]:
    """The last `limit` rows, of one sensor or of all in the database, newest first, by column name."""
    with connection(path) as opened:
        return records(opened, LATEST, (sensor_id, limit))


def episodes(path: Path, sensor_id: str, limit: int) -> list[Record]:
    """The last `limit` anomaly episodes of a sensor, newest first, their parameters as an object."""
    with connection(path) as opened:
        found = records(opened, EPISODES, (sensor_id, limit))
    return [{**episode, "parameters": parsed(episode.get("parameters"))} for episode in found]


def record_count(path: Path) -> int:
    """How many readings the database holds, from its first and last row id."""
    with connection(path) as opened:
        first, last = opened.execute(RECORDS).fetchone() or (None, None)
    if first is None and last is None:
        return 0
    if not isinstance(first, int) or not isinstance(last, int):
        raise Unreadable(path, "the ids of its readings are no whole numbers")
    return last - first + 1


def tables(path: Path) -> list[Table]:
    with connection(path) as opened:
        found = opened.execute(TABLES).fetchall()
        return [table(opened, str(name), bool(without_rowid)) for name, without_rowid in found]


def table(opened: apsw.Connection, name: str, without_rowid: bool) -> Table:
    columns = tuple((str(column), str(kind)) for column, kind in opened.execute(COLUMNS, (name,)))
    if without_rowid:
        return Table(name, columns, None)
    quoted = '"' + name.replace('"', '""') + '"'
    last = opened.execute(f"SELECT max(rowid) FROM {quoted}").get
    return Table(name, columns, last if isinstance(last, int) else None)  # a column may be called rowid


def there(path: Path) -> bool:
    """Whether something is at the path; not where one may not look, nor where it is none."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def sizes(path: Path) -> Sizes:
    return Sizes(size(path), size(path.with_name(path.name + "-wal")), size(path.with_name(path.name + "-shm")))


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: no path at all, as in a damaged roster
        return 0


def records(opened: apsw.Connection, statement: str, bindings: tuple[object, ...]) -> list[Record]:
    cursor = opened.execute(statement, bindings)
    found: list[Record] = []
    names: list[str] = []
    for row in cursor:
        names = names or [column[0] for column in cursor.get_description()]
        found.append({name: presentable(value) for name, value in zip(names, row, strict=True)})
    return found


def presentable(value: object) -> Value:
    """What JSON can say: it has no infinity, and no bytes."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int) else None


def parsed(parameters: Value | None) -> Value:
    """The object that the text stands for, or the text as it is where it stands for none of plain values."""
    if not isinstance(parameters, str):
        return parameters
    try:
        found = json.loads(parameters)
    except (ValueError, RecursionError):
        return parameters
    plain = isinstance(found, dict) and all(value is None or is_plain(value) for value in found.values())
    return found if plain else parameters


def is_plain(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))

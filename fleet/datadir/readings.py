"""Read-only access to a sensor's database: one connection per query, none kept open.

A reader never blocks the writer, and waits for it no longer than READ_BUSY_TIMEOUT_MS. Scans are bounded by
MAX_SCANNED_ROWS.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import apsw

from fleet.datadir.computed_readings import add_computed_readings
from fleet.datadir.ownership import foreign_link
from worker.readings.anomaly_type import MAX_EPISODE_READINGS
from worker.schedule import Schedule
from worker.storage.retention import has_removals

SQLITE_MAGIC = b"SQLite format 3\0"
WAL_FORMAT_VERSIONS = b"\2\2"
"""The bytes at offset 18 of a database in write-ahead mode (section 1.3.3 of https://www.sqlite.org/fileformat2.html)."""

READ_BUSY_TIMEOUT_MS = 500
MAX_SCANNED_ROWS = 200_000

# Only the end of a database that many sensors share is searched for the rows of one.
SELECT_LATEST = f"""
    SELECT * FROM sensor_readings
    WHERE id > (SELECT max(id) FROM sensor_readings) - {MAX_SCANNED_ROWS} AND (?1 IS NULL OR sensor_id = ?1)
    ORDER BY id DESC LIMIT ?2
"""

# The epoch of each sensor's last reading. Timestamps do not tell: a sensor's clock may be wrong.
SELECT_LAST_READINGS = """
    SELECT next_seq - 1, first_seq, start_us, json_extract(settings, '$.rate') FROM checkpoints JOIN epochs USING (sensor_id)
    WHERE first_seq = (SELECT max(first_seq) FROM epochs WHERE sensor_id = checkpoints.sensor_id AND first_seq < next_seq)
"""

SELECT_EPISODES = "SELECT * FROM anomaly_episodes WHERE sensor_id = ?1 ORDER BY first_seq DESC LIMIT ?2"

# An episode that reaches past a number is the last that begins by then, or overlaps it; those that overlap are not longer than
# MAX_EPISODE_READINGS. Without the lower bound all episodes of the sensor would be searched.
SELECT_EPISODES_FROM = f"""
    SELECT * FROM anomaly_episodes
    WHERE sensor_id = ?1 AND last_seq >= ?3 AND first_seq >= min(?3 - {MAX_EPISODE_READINGS}, coalesce(
        (SELECT max(first_seq) FROM anomaly_episodes WHERE sensor_id = ?1 AND first_seq <= ?3), 0))
    ORDER BY first_seq DESC LIMIT ?2
"""

SELECT_EPISODES_BETWEEN = """
    SELECT * FROM anomaly_episodes WHERE sensor_id = ?1 AND first_seq >= ?3 AND first_seq < ?4
    ORDER BY first_seq DESC LIMIT ?2
"""

SELECT_TABLES_INFO = """
    SELECT name, wr FROM pragma_table_list
    WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name
"""

SELECT_TABLE_COLUMNS = "SELECT name, type FROM pragma_table_info(?1)"

# With AUTOINCREMENT and rows that are deleted on record only, the ids give the count without a scan of the table. In a
# database that continues a rotated one they do not begin with 1.
SELECT_REMOVED = "SELECT min(first_id), total(readings) FROM removals WHERE file IS NULL"
SELECT_ID_RANGE = "SELECT (SELECT min(id) FROM sensor_readings), (SELECT max(id) FROM sensor_readings)"

JsonValue = str | int | float | None | list[object] | dict[str, object]
JsonRow = dict[str, JsonValue]


class DatabaseUnreadable(Exception):
    """A database that cannot be read at present: missing, locked or damaged. `str(error)` is one line."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


@dataclass(frozen=True, slots=True)
class DatabaseSizes:
    """Bytes of a database and of its two companions, 0 for a file that is not there."""

    database: int
    wal: int
    shm: int


@dataclass(frozen=True, slots=True)
class TableInfo:
    """`last_rowid` is None for an empty table and for one that has no row ids."""

    name: str
    columns: tuple[tuple[str, str], ...]
    last_rowid: int | None


class DatabaseChanged(DatabaseUnreadable):
    """A database that was written to while it was read as a single file. What was read is uncertain; try again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "it was written to while it was read; try again")


@contextmanager
def read_only_connection(path: Path, *, held: bool = False) -> Iterator[apsw.Connection]:
    """Open a read-only connection to the database at `path`. Errors of SQLite become DatabaseUnreadable.

    No file is created, so that none of another user can be in the writer's way. A database without a log is read as a
    single file, which needs no permission to write; DatabaseChanged is raised at the end if it was written to meanwhile.
    With `held`, for a connection that is kept open and has to see what is written meanwhile, that is done only where the
    files that SQLite creates would be in the writer's way or cannot be created, and there is no DatabaseChanged.
    """
    if not path_exists(path):
        raise DatabaseUnreadable(path, "there is no such database yet")
    if reason := foreign_link(path):
        raise DatabaseUnreadable(path, f"{reason}: not followed")
    single = None if held and creates_files_of_owner(path) else single_file_version(path)
    if single is None and not may_read_log(path):
        raise DatabaseUnreadable(
            path,
            f"its log {path.name}-wal cannot be read here: copy both files to a folder of your own, "
            "or start its fleet once, which merges them",
        )
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        # as_uri() percent-encodes: a `?` or `#` in a folder's name must not become part of the query.
        mode = "mode=ro" if single is None else "mode=ro&immutable=1"
        opened = apsw.Connection(f"{path.absolute().as_uri()}?{mode}", flags=flags)
        try:
            opened.set_busy_timeout(READ_BUSY_TIMEOUT_MS)
            yield opened
        finally:
            opened.close()
    except (apsw.Error, UnicodeDecodeError) as error:
        if single is not None and file_version(path) != single:
            raise DatabaseChanged(path) from error
        raise DatabaseUnreadable(path, f"{type(error).__name__}: {error}") from error
    if single is not None and not held and file_version(path) != single:
        raise DatabaseChanged(path)


FileVersion = tuple[int, int, int]
"""Inode, modification time in nanoseconds, and size."""


def file_version(path: Path) -> FileVersion | None:
    """Return the version of a file, which differs once it was written to or replaced; None if it cannot be examined."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def single_file_version(path: Path) -> FileVersion | None:
    """Return the version of a database that is complete in one file, None for others.

    That is one in write-ahead mode whose log is missing or empty: SQLite changes the file itself only after it has written
    a log. On a read-only file system there is no writer at all.
    """
    version = file_version(path)
    try:
        with path.open("rb") as file:
            head = file.read(len(SQLITE_MAGIC) + 4)
        uses_wal = head.startswith(SQLITE_MAGIC) and head[18:20] == WAL_FORMAT_VERSIONS
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return None
    return version if (uses_wal or read_only) and not database_sizes(path).wal else None


def creates_files_of_owner(path: Path) -> bool:
    """Return whether the files that SQLite creates beside a database belong to its owner: SQLite hands root's files over."""
    try:
        return os.geteuid() in (0, path.stat().st_uid) and os.access(path.parent, os.W_OK, effective_ids=True)
    except (OSError, ValueError):
        return True


def may_read_log(path: Path) -> bool:
    """Return whether SQLite can read the log of a database: it needs the index beside it, or creates one.

    One of another user would stay, and its owner could not write to it.
    """
    if not database_sizes(path).wal:
        return True
    return path_exists(path.with_name(path.name + "-shm")) or creates_files_of_owner(path)


def latest_readings(path: Path, limit: int, sensor_id: str | None = None) -> list[JsonRow]:
    """Return the last `limit` rows, of one sensor or of all in the database, newest first, by column name."""
    with read_only_connection(path) as opened:
        add_computed_readings(opened)
        return select_rows(opened, SELECT_LATEST, (sensor_id, limit))


def latest_episodes(path: Path, sensor_id: str, limit: int) -> list[JsonRow]:
    """Return the last `limit` anomaly episodes of a sensor, newest first, their parameters as an object."""
    with read_only_connection(path) as opened:
        return with_parameters(select_rows(opened, SELECT_EPISODES, (sensor_id, limit)))


def episodes_from(path: Path, sensor_id: str, seq: int, limit: int) -> list[JsonRow]:
    """Return the anomaly episodes of a sensor that reach past the reading `seq`, newest first, at most `limit`."""
    with read_only_connection(path) as opened:
        return with_parameters(select_rows(opened, SELECT_EPISODES_FROM, (sensor_id, limit, seq)))


def episodes_between(path: Path, sensor_id: str, first: int, end: int, limit: int) -> list[JsonRow]:
    """Return the anomaly episodes of a sensor that begin with a reading of `first` .. `end - 1`, newest first."""
    with read_only_connection(path) as opened:
        return with_parameters(select_rows(opened, SELECT_EPISODES_BETWEEN, (sensor_id, limit, first, end)))


def with_parameters(episodes: list[JsonRow]) -> list[JsonRow]:
    """Return the episodes with their parameters as an object."""
    return [{**episode, "parameters": parse_parameters(episode.get("parameters"))} for episode in episodes]


def latest_due_us(path: Path) -> int | None:
    """Return the time at which the latest reading was due, in microseconds since 1970; None if there is none."""
    with read_only_connection(path) as opened:
        rows: list[Any] = opened.execute(SELECT_LAST_READINGS).fetchall()
    try:
        return max(Schedule(first, start_us, Fraction(rate)).time(last) for last, first, start_us, rate in rows)
    except (ArithmeticError, ValueError, TypeError):
        return None


def record_count(path: Path) -> int:
    """Return the number of readings in the database, from its first and last row id."""
    with read_only_connection(path) as opened:
        add_computed_readings(opened)
        first, last = opened.execute(SELECT_ID_RANGE).fetchone() or (None, None)
        removed: Any = opened.execute(SELECT_REMOVED).fetchone() if has_removals(opened) else (None, 0)
    if first is None and last is None:
        return 0
    if not isinstance(first, int) or not isinstance(last, int):
        raise DatabaseUnreadable(path, "the ids of its readings are not whole numbers")
    return last - min(first, removed[0] or first) + 1 - int(removed[1])


def tables(path: Path) -> list[TableInfo]:
    with read_only_connection(path) as opened:
        rows = opened.execute(SELECT_TABLES_INFO).fetchall()
        return [table_info(opened, str(name), bool(without_rowid)) for name, without_rowid in rows]


def table_info(opened: apsw.Connection, name: str, without_rowid: bool) -> TableInfo:
    columns = tuple((str(column), str(kind)) for column, kind in opened.execute(SELECT_TABLE_COLUMNS, (name,)))
    if without_rowid:
        return TableInfo(name, columns, None)
    quoted = '"' + name.replace('"', '""') + '"'
    last = opened.execute(f"SELECT max(rowid) FROM {quoted}").get
    return TableInfo(name, columns, last if isinstance(last, int) else None)  # a column may be called rowid


def path_exists(path: Path) -> bool:
    """Return whether something exists at the path; False if the path may not be examined or is not valid."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def database_sizes(path: Path) -> DatabaseSizes:
    return DatabaseSizes(
        file_size(path), file_size(path.with_name(path.name + "-wal")), file_size(path.with_name(path.name + "-shm"))
    )


def file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: an invalid path, as in a damaged roster
        return 0


def select_rows(opened: apsw.Connection, statement: str, bindings: tuple[object, ...]) -> list[JsonRow]:
    cursor = opened.execute(statement, bindings)
    rows: list[JsonRow] = []
    names: list[str] = []
    for row in cursor:
        names = names or [column[0] for column in cursor.get_description()]
        rows.append({name: json_value(value) for name, value in zip(names, row, strict=True)})
    return rows


def json_value(value: object) -> JsonValue:
    """Return the value as JSON has it, which knows neither infinity nor bytes."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int) else None


def parse_parameters(parameters: JsonValue | None) -> JsonValue:
    """Parse the parameters of an episode. A text that is not an object of plain values is returned as it is."""
    if not isinstance(parameters, str):
        return parameters
    try:
        parsed = json.loads(parameters)
    except (ValueError, RecursionError):
        return parameters
    plain = isinstance(parsed, dict) and all(value is None or is_plain(value) for value in parsed.values())
    return parsed if plain else parameters


def is_plain(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))

"""One sensor database as a collector uses it: reading what is not yet collected, and marking what is.

The writer of the database never waits for longer than MAX_ROWS_PER_MARKING rows take to be marked (a few milliseconds).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import apsw

from fleet.datadir.readings import DatabaseUnreadable
from fleet.delivery.batch import Row, SourceDatabase, StoredRows
from worker.storage.database_files import WAL_SUFFIX, side_file

MAX_ROWS_PER_MARKING = 1_000
"""Rows that are marked in one transaction."""


def first_id(connection: apsw.Connection) -> int:
    """1 if there is none."""
    found = connection.execute("SELECT min(id) FROM sensor_readings").get
    return found if isinstance(found, int) else 1


def last_id(connection: apsw.Connection) -> int:
    found = connection.execute("SELECT max(id) FROM sensor_readings").get
    return found if isinstance(found, int) else 0


UNSYNCED = "AND (synced = 0 OR synced IS NULL)"


def next_ids(connection: apsw.Connection, after: int, until: int, limit: int, *, unsynced: bool) -> tuple[int, ...]:
    """The ids of the first rows above `after`, at most `until`; `unsynced` limits them to those nobody has marked."""
    condition = UNSYNCED if unsynced else ""
    query = f"SELECT id FROM sensor_readings WHERE id > ? AND id <= ? {condition} ORDER BY id LIMIT ?"
    return tuple(number for (number,) in connection.execute(query, (after, until, limit)))


def existing_ids(connection: apsw.Connection, ids: Iterable[int]) -> tuple[int, ...]:
    """Those of the ids that there is a row of, in their order."""
    query = "SELECT 1 FROM sensor_readings WHERE id = ?"
    return tuple(number for number in ids if connection.execute(query, (number,)).get)


def stored_rows(connection: apsw.Connection, source: SourceDatabase, ids: tuple[int, ...]) -> StoredRows:
    """The rows of these ids, which are in ascending order. Reading them raises DatabaseUnreadable if somebody has deleted some."""
    names = ",".join(quote_identifier(column) for column in source.columns)
    query = f"SELECT {names} FROM sensor_readings WHERE id BETWEEN ? AND ? ORDER BY id"
    own = source.columns.index("id")

    def fetch(ids: tuple[int, ...]) -> list[Row]:
        if not ids:
            return []
        wanted = set(ids)
        rows = [row for row in connection.execute(query, (ids[0], ids[-1])).fetchall() if row[own] in wanted]
        if len(rows) != len(ids):
            raise DatabaseUnreadable(
                source.path, f"{len(ids) - len(rows)} readings were deleted before they were collected"
            )
        return rows

    return StoredRows(ids, fetch)


def quote_identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def sync_wal(path: Path) -> None:
    """Have on disk whatever has been read of a database. OSError.

    A worker's commits reach the disk at the next checkpoint. What is delivered must not be undone by a power failure:
    other readings would then have the same numbers. Closing the log does no harm to SQLite's locks, which are on the
    database and on its index.
    """
    log = side_file(path, WAL_SUFFIX)
    try:
        descriptor = os.open(log, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EINVAL):  # nothing there is waiting to be written
            raise
    finally:
        os.close(descriptor)


def mark_synced(connection: apsw.Connection, ids: Iterable[int]) -> None:
    """Set `synced` for rows by their id, in ascending order. Raises apsw.Error; what was marked until then stays so."""
    for first, last in consecutive_ranges(sorted(ids), MAX_ROWS_PER_MARKING):
        connection.execute("UPDATE sensor_readings SET synced = 1 WHERE id BETWEEN ? AND ?", (first, last))


def consecutive_ranges(ids: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Consecutive ones among ascending ids, as first and last; at most so many together."""
    if not ids:
        return
    first = ids[0]
    for one, after in pairwise(ids):
        if after != one + 1 or after - first >= most:
            yield first, one
            first = after
    yield first, ids[-1]

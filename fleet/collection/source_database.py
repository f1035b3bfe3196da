"""One sensor database as a collector uses it: reading what is not yet collected, and marking what is.

The writer of the database never waits for longer than MARKED rows take to be marked (a few milliseconds).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import apsw

from fleet.collection.batch import Row, Source, StoredRows
from fleet.storage.readings import Unreadable
from worker.database_files import LOG, companion

MARKED = 1_000
"""Rows that are marked in one transaction."""


def first_id(opened: apsw.Connection) -> int:
    """1 if there is none."""
    found = opened.execute("SELECT min(id) FROM sensor_readings").get
    return found if isinstance(found, int) else 1


def last_id(opened: apsw.Connection) -> int:
    found = opened.execute("SELECT max(id) FROM sensor_readings").get
    return found if isinstance(found, int) else 0


UNSYNCED = "AND (synced = 0 OR synced IS NULL)"


def next_ids(opened: apsw.Connection, after: int, until: int, limit: int, *, unsynced: bool) -> tuple[int, ...]:
    """The ids of the first rows above `after`, at most `until`; `unsynced` limits them to those nobody has marked."""
    condition = UNSYNCED if unsynced else ""
    query = f"SELECT id FROM sensor_readings WHERE id > ? AND id <= ? {condition} ORDER BY id LIMIT ?"
    return tuple(number for (number,) in opened.execute(query, (after, until, limit)))


def existing(opened: apsw.Connection, ids: Iterable[int]) -> tuple[int, ...]:
    """Those of the ids that there is a row of, in their order."""
    query = "SELECT 1 FROM sensor_readings WHERE id = ?"
    return tuple(number for number in ids if opened.execute(query, (number,)).get)


def stored(opened: apsw.Connection, source: Source, ids: tuple[int, ...]) -> StoredRows:
    """The rows of these ids, which are in ascending order. Reading them raises Unreadable if somebody has deleted some."""
    names = ",".join(quoted(column) for column in source.columns)
    query = f"SELECT {names} FROM sensor_readings WHERE id BETWEEN ? AND ? ORDER BY id"
    own = source.columns.index("id")

    def fetch(ids: tuple[int, ...]) -> list[Row]:
        if not ids:
            return []
        wanted = set(ids)
        rows = [row for row in opened.execute(query, (ids[0], ids[-1])).fetchall() if row[own] in wanted]
        if len(rows) != len(ids):
            raise Unreadable(source.path, f"{len(ids) - len(rows)} readings were deleted before they were collected")
        return rows

    return StoredRows(ids, fetch)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def harden(path: Path) -> None:
    """Have on disk whatever has been read of a database. OSError.

    A worker's commits reach the disk at the next checkpoint. What is delivered must not be undone by a power failure:
    other readings would then have the same numbers. Closing the log does no harm to SQLite's locks, which are on the
    database and on its index.
    """
    log = companion(path, LOG)
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


def mark(opened: apsw.Connection, ids: Iterable[int]) -> None:
    """Set `synced` for rows by their id, in ascending order. Raises apsw.Error; what was marked until then stays so."""
    for first, last in stretches(sorted(ids), MARKED):
        opened.execute("UPDATE sensor_readings SET synced = 1 WHERE id BETWEEN ? AND ?", (first, last))


def stretches(ids: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Consecutive ones among ascending ids, as first and last; at most so many together."""
    if not ids:
        return
    first = ids[0]
    for one, after in pairwise(ids):
        if after != one + 1 or after - first >= most:
            yield first, one
            first = after
    yield first, ids[-1]

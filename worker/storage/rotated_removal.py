"""The removal of rotated databases that are old: the live database records it, then the file is deleted.

A process may die in between: the record is on disk before the file is deleted, and a recorded file that is still there is
deleted at the next look. Only the chain of databases that leads to the live one (its table `origins`) is followed, and only its
oldest member is removed.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from worker.schedule import SECOND_US, format_time
from worker.storage.connection import BUSY_TIMEOUT_MS, Transaction
from worker.storage.database_files import SIDE_FILE_SUFFIXES, folder_lock, fsync_directory, side_file
from worker.storage.retention import (
    CREATE_REMOVALS,
    HAS_TABLE,
    Delivered,
    Retention,
    has_removals,
    read_delivered,
    read_schedule,
)
from worker.storage.rotation import ROTATED_SUFFIX

log = logging.getLogger("database")

MAX_LOOK_INTERVAL_SECONDS = 10.0
"""The longest time between two looks for rotated databases that are old; it is shorter where readings are kept briefly."""

SELECT_ORIGIN = "SELECT min(file), max(file) FROM origins"
SELECT_ORIGIN_SEQS = "SELECT sensor_id, first_seq FROM origins"
SELECT_ROW_COUNTS = "SELECT sensor_id, count(*) FROM sensor_readings GROUP BY sensor_id"
SELECT_ID_COUNT = "SELECT (SELECT max(id) FROM sensor_readings) - (SELECT min(id) FROM sensor_readings) + 1"
SELECT_REMOVED_COUNTS = "SELECT sensor_id, total(readings) FROM removals WHERE file IS NULL GROUP BY sensor_id"
SELECT_RECORDED = "SELECT 1 FROM removals WHERE file = ? AND generation = ?"
INSERT_REMOVAL = "INSERT OR REPLACE INTO removals VALUES (?, ?, ?, ?, NULL, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class RotatedDatabase:
    """A rotated database: its file, generation, the name of the one before it, None for the first, and, by sensor, the first
    and the last reading that it has or had. `newest_us` is when the last of them was due. `last_id` is the last row id."""

    path: Path
    generation: str
    previous: str | None
    spans: dict[str, tuple[int, int]]
    newest_us: int
    last_id: int


class RotatedRemoval:
    """The removal of the old rotated databases before the live one at `path`."""

    def __init__(self, path: Path, retention: Retention) -> None:
        self._path, self._retention = path, retention
        self._known: dict[str, RotatedDatabase] = {}
        self._interval = min(MAX_LOOK_INTERVAL_SECONDS, retention.keep_us / SECOND_US / 4)
        self._look_at = 0.0

    def remove(self, connection: apsw.Connection, incarnation: int) -> None:
        """Remove at most one rotated database, now and then. Raises apsw.Error and OSError: it can be tried again."""
        now = time.monotonic()
        if now < self._look_at or self._retention.cutoff_us is None:
            return
        self._look_at = now + self._interval
        oldest = self._oldest(connection)
        if oldest is None:
            return
        if not is_recorded(connection, oldest):
            if not self._is_removable(oldest):
                return
            if not self._record(connection, oldest, incarnation):
                return
        self._delete(oldest)
        self._look_at = now  # the next one may be old too

    def _oldest(self, connection: apsw.Connection) -> RotatedDatabase | None:
        """Return the first database of the chain that exists, None if there is none before the live one."""
        oldest, name = None, origin_of(connection)
        seen: set[str] = set()
        while name is not None and name not in seen and self._is_own(name) and (self._path.parent / name).exists():
            seen.add(name)
            found = self._known.get(name) or read_rotated(self._path.parent / name)
            if found is None:
                break
            self._known[name] = oldest = found
            name = found.previous
        return oldest

    def _is_own(self, name: str) -> bool:
        """Return whether a name on record is that of a rotated database of this one, and not any path."""
        path = Path(name)
        return (
            path.name == name
            and path.suffix == self._path.suffix
            and (ROTATED_SUFFIX.sub("", path.stem) == self._path.stem != path.stem)
        )

    def _is_removable(self, oldest: RotatedDatabase) -> bool:
        """Return whether it is old and, in a fleet with targets, all of them have all of it."""
        cutoff_us = self._retention.cutoff_us
        if cutoff_us is None or oldest.newest_us > cutoff_us:
            return False
        if not self._retention.targets:
            return True
        with closing(open_for_reading(oldest.path)) as rotated:
            delivered = read_delivered(rotated, self._retention.targets) or Delivered(-1, 0)
        return delivered.last_id >= oldest.last_id and not delivered.refused

    def _record(self, connection: apsw.Connection, oldest: RotatedDatabase, incarnation: int) -> bool:
        """Record the removal on disk. Returns False if a newer worker owns the database."""
        assert self._retention.now_us is not None
        removed_at, keep = format_time(self._retention.now_us), self._retention.keep_us / SECOND_US
        with closing(open_for_reading(oldest.path)) as rotated:
            counts = row_counts(rotated, oldest)
        before = connection.pragma("synchronous")
        connection.pragma("synchronous", 2)  # FULL: the record must outlive a power failure that the file does not
        try:
            with Transaction(connection):
                owner = connection.execute("SELECT max(incarnation) FROM checkpoints").get
                if isinstance(owner, int) and owner > incarnation:
                    return False
                connection.execute(CREATE_REMOVALS)
                for sensor_id, (first, last) in oldest.spans.items():
                    record = (sensor_id, first, last, counts.get(sensor_id, 0), removed_at, keep)
                    connection.execute(INSERT_REMOVAL, (*record, oldest.path.name, oldest.generation))
        finally:
            connection.pragma("synchronous", before)
        return True

    def _delete(self, oldest: RotatedDatabase) -> None:
        with folder_lock(self._path.parent):
            for suffix in ("", *SIDE_FILE_SUFFIXES):
                side_file(oldest.path, suffix).unlink(missing_ok=True)
            fsync_directory(self._path.parent)
        self._known.pop(oldest.path.name, None)
        keep = self._retention.keep_us / SECOND_US
        log.info("%s: removed %s, on record (keep: %g s)", self._path.stem, oldest.path.name, keep)


def open_for_reading(path: Path) -> apsw.Connection:
    """Open a rotated database. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    return connection


def origin_of(connection: apsw.Connection) -> str | None:
    """Return the name of the rotated database before this one, None if it follows none, or several."""
    if not connection.execute(HAS_TABLE, ("origins",)).get:
        return None
    first, last = connection.execute(SELECT_ORIGIN).fetchone() or (None, None)
    return first if isinstance(first, str) and first == last else None


def read_rotated(path: Path) -> RotatedDatabase | None:
    """Read a rotated database, None if it is not one, or what it has is not known. Raises apsw.Error."""
    with closing(open_for_reading(path)) as rotated:
        role, generation = rotated.execute("SELECT role, generation FROM database_info").fetchone() or (None, None)
        last_id = rotated.execute("SELECT max(id) FROM sensor_readings").get or 0
        if role != "rotated" or not isinstance(generation, str) or not isinstance(last_id, int):
            return None
        has_origins = rotated.execute(HAS_TABLE, ("origins",)).get
        firsts = read_pairs(rotated, SELECT_ORIGIN_SEQS) if has_origins else {}
        spans: dict[str, tuple[int, int]] = {}
        newest: list[int] = []
        for sensor_id, next_seq in rotated.execute("SELECT sensor_id, next_seq FROM checkpoints").fetchall():
            first = firsts.get(sensor_id, 0)
            if not isinstance(sensor_id, str) or not isinstance(next_seq, int) or not isinstance(first, int):
                return None
            if first >= next_seq:
                continue
            epoch = read_schedule(rotated, sensor_id, next_seq - 1)
            if epoch is None:
                return None
            spans[sensor_id] = first, next_seq - 1
            newest.append(epoch.schedule.time(next_seq - 1))
        if not newest:
            return None
        return RotatedDatabase(path, generation, origin_of(rotated), spans, max(newest), last_id)


def read_pairs(connection: apsw.Connection, query: str) -> dict[Any, Any]:
    """Return the rows of a query with two columns as a dictionary."""
    rows: list[Any] = connection.execute(query).fetchall()
    return dict(rows)


def row_counts(rotated: apsw.Connection, database: RotatedDatabase) -> dict[str, int]:
    """Return how many readings of each sensor the database has, and had before some were removed."""
    removed = read_pairs(rotated, SELECT_REMOVED_COUNTS) if has_removals(rotated) else {}
    if len(database.spans) == 1 and not removed:
        stored: dict[Any, Any] = dict.fromkeys(database.spans, rotated.execute(SELECT_ID_COUNT).get)  # without a scan
    else:
        stored = read_pairs(rotated, SELECT_ROW_COUNTS)
    return {name: int(stored.get(name) or 0) + int(removed.get(name) or 0) for name in database.spans}


def is_recorded(connection: apsw.Connection, database: RotatedDatabase) -> bool:
    """Return whether the removal of this database, and not of another one of its name, is on record."""
    recorded = (database.path.name, database.generation)
    return has_removals(connection) and bool(connection.execute(SELECT_RECORDED, recorded).get)

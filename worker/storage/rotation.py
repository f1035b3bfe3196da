"""Rotation: a database that has reached its size limit is kept under another name, and a new one takes its place.

The new database has the checkpoints, the epochs and the episodes that still run, so that the next reading follows the
last one. Its table `origins` has, for each sensor, the first sequence number in it and the file with those before. No
reading is dropped. A process may die after any of these steps:

1. The write-ahead log is checkpointed and removed, which requires that no other process has the database open.
2. Its role becomes `rotated`, in a transaction. It is never written again.
3. The new database is made under a temporary name, synced and closed.
4. The old database gets a second name, `NAME.rotated-0001.db`, and the new one replaces the first name.

A process that opens a database with the role `rotated` by a live name does steps 3 and 4, perhaps again. During these
steps the old database is locked exclusively, so that no process uses it by its old name.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw

from worker.storage.database_files import fsync_directory, inode
from worker.storage.insertion import add_column_sql
from worker.storage.retention import CREATE_REMOVALS, has_removals
from worker.storage.schema import COLUMN_TYPES, SCHEMA_VERSION, create_tables

ROTATED_SUFFIX = re.compile(r"\.rotated-(\d{4,})$")
"""The end of the stem of a rotated database's name."""

NEXT_SUFFIX = ".next"

ROTATION_BUSY_TIMEOUT_MS = 50
"""The time that the first step waits for other processes; it is retried later."""

ROTATION_RETRY_SECONDS = 5.0
"""Seconds until the next attempt to rotate a database that another process had open."""

NO_RETRY = float("inf")

MIN_ROWS_TO_ROTATE = 200
"""The least number of readings of a database that is rotated: the state carried over alone may exceed the size limit."""

# Two subqueries: SQLite answers min or max from an end of the table, but not both at once.
SELECT_ROW_COUNT = "SELECT (SELECT max(id) FROM sensor_readings) - (SELECT min(id) FROM sensor_readings) + 1"

SELECT_COLUMNS = "SELECT name, upper(type) FROM pragma_table_info('sensor_readings')"

CREATE_ORIGINS = """
CREATE TABLE origins (
    sensor_id TEXT PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    file TEXT NOT NULL
) WITHOUT ROWID
"""


class RotationLimit:
    """The condition for a rotation: more than `max_bytes` bytes in use, and some time since the last attempt."""

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes, self._not_before = max_bytes, 0.0

    def reached(self, connection: apsw.Connection) -> bool:
        """Return whether to try a rotation now."""
        if self._max_bytes is None or time.monotonic() < self._not_before:
            return False
        used_pages = connection.pragma("page_count") - connection.pragma("freelist_count")
        if used_pages * connection.pragma("page_size") <= self._max_bytes:
            return False
        return (connection.execute(SELECT_ROW_COUNT).get or 0) >= MIN_ROWS_TO_ROTATE

    def postpone(self, seconds: float | None = None) -> None:
        """Wait before the next attempt, ROTATION_RETRY_SECONDS by default."""
        self._not_before = time.monotonic() + (ROTATION_RETRY_SECONDS if seconds is None else seconds)


def mark_rotated(connection: apsw.Connection, incarnation: int) -> bool:
    """Do steps 1 and 2. Returns False if another process has the database open or owns a sensor. Raises apsw.Error."""
    connection.set_busy_timeout(ROTATION_BUSY_TIMEOUT_MS)
    try:
        if connection.pragma("journal_mode", "DELETE") != "delete":
            return False
        connection.execute("BEGIN EXCLUSIVE")
    except (apsw.BusyError, apsw.LockedError):
        return False
    newer = connection.execute("SELECT max(incarnation) FROM checkpoints").get
    if isinstance(newer, int) and newer > incarnation:
        connection.execute("ROLLBACK")
        return False
    connection.execute("UPDATE database_info SET role = 'rotated'")
    connection.execute("COMMIT")
    return True


def is_marked_rotated(connection: apsw.Connection) -> bool:
    """Return whether step 2 was done."""
    return bool(connection.execute("SELECT role FROM database_info").get == "rotated")


def finish_rotation(connection: apsw.Connection, path: Path) -> Path | None:
    """Do steps 3 and 4 for the database at `path` that `connection` has open.

    Returns its new name; the connection must be closed then. Returns None if the file system has no hard links: the
    database is live again. After apsw.Error or OSError it can be tried again.
    """
    connection.pragma("journal_mode", "DELETE")
    # Nothing is written, so there is no journal; its name would be that of the new database's journal at the end.
    connection.execute("BEGIN EXCLUSIVE")
    aside = rotated_path(path, removed_files(connection))
    following = path.with_name(path.name + NEXT_SUFFIX)
    for ending in ("", "-journal"):
        following.with_name(following.name + ending).unlink(missing_ok=True)
    with closing(apsw.Connection(str(following))) as new:
        new.execute("PRAGMA synchronous = FULL")
        with new:
            copy_carried_state(new, connection, aside.name)
    if not aside.exists() and not hard_link(path, aside):
        connection.execute("ROLLBACK")
        connection.execute("UPDATE database_info SET role = 'live'")
        following.unlink()
        return None
    os.replace(following, path)
    fsync_directory(path.parent)
    connection.execute("ROLLBACK")
    return aside


def hard_link(path: Path, aside: Path) -> bool:
    """Give a file a second name. Returns False if the file system has no hard links. Raises OSError."""
    try:
        os.link(path, aside)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            return False
        raise
    return True


def copy_carried_state(new: apsw.Connection, old: apsw.Connection, file: str) -> None:
    """Copy the state that a new database takes over from the one before, which is now `file`."""
    create_tables(new)
    new.execute(CREATE_ORIGINS)
    present = {name for name, _ in new.execute(SELECT_COLUMNS)}
    for name, declared in old.execute(SELECT_COLUMNS).fetchall():
        if name not in present and declared in COLUMN_TYPES.values():
            new.execute(add_column_sql(str(name), str(declared)))
    new.execute("INSERT INTO database_info VALUES ('live', ?, ?)", (str(uuid.uuid4()), SCHEMA_VERSION))
    copy_rows(new, old, "checkpoints", "SELECT * FROM checkpoints")
    copy_rows(new, old, "epochs", "SELECT * FROM epochs")
    running = "SELECT e.* FROM anomaly_episodes e JOIN checkpoints USING (sensor_id) WHERE last_seq >= next_seq"
    copy_rows(new, old, "anomaly_episodes", running)
    # Row ids continue, for readers that page by them.
    copy_rows(new, old, "sqlite_sequence", "SELECT name, seq FROM sqlite_sequence")
    if has_removals(old):
        new.execute(CREATE_REMOVALS)
        copy_rows(new, old, "removals", "SELECT * FROM removals WHERE file IS NOT NULL")
    begun = "SELECT sensor_id, next_seq, ? FROM checkpoints WHERE next_seq > 0"
    new.executemany("INSERT INTO origins VALUES (?,?,?)", old.execute(begun, (file,)).fetchall())
    new.pragma("user_version", SCHEMA_VERSION)


def copy_rows(new: apsw.Connection, old: apsw.Connection, table: str, query: str) -> None:
    """Insert the result of a query on the old database into a table of the new one."""
    rows = old.execute(query).fetchall()
    if rows:
        new.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)


def removed_files(connection: apsw.Connection) -> list[str]:
    """Return the names of the rotated databases whose removal is on record."""
    if not has_removals(connection):
        return []
    return [str(name) for (name,) in connection.execute("SELECT DISTINCT file FROM removals WHERE file IS NOT NULL")]


def rotated_path(path: Path, removed: Sequence[str] = ()) -> Path:
    """Return the name of a database after its rotation: an existing second name, else one with the next number. No name of a
    `removed` one is used again."""
    numbers = [0, *(int(match[1]) for name in removed if (match := ROTATED_SUFFIX.search(Path(name).stem)))]
    for other in path.parent.glob(f"{glob.escape(path.stem)}.rotated-*{glob.escape(path.suffix)}"):
        match = ROTATED_SUFFIX.search(other.stem)
        if match and ROTATED_SUFFIX.sub("", other.stem) == path.stem:
            if inode(other) == inode(path):
                return other
            numbers.append(int(match[1]))
    return path.with_name(f"{path.stem}.rotated-{max(numbers) + 1:04d}{path.suffix}")

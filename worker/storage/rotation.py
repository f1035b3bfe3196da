"""Rotation of a database that has reached its limit: it is kept under another name, and a new one goes on in its place.

The new one has the checkpoints, the epochs, and the episodes that still run, so that the next reading follows on the
last one; `origins` says from which reading on each sensor's are in it, and in which file those before are. Nothing is
dropped. The steps, each of which a process may die after:

1. The log is put into the database and removed, which takes that nobody else has it open.
2. Its role becomes `rotated`, in a transaction. From here on nothing is written into it any more.
3. The new database is made under a temporary name, synced and closed.
4. The old one gets its second name, `NAME.rotated-0001.db`, and the new one replaces the first.

Whoever finds a database with the role `rotated` in the place of a live one does 3 and 4 (again). Through 3 and 4 the old
one is locked exclusively, so that nobody begins anything with it by its old name.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import time
import uuid
from contextlib import closing
from pathlib import Path

import apsw

from worker.storage.database_files import fsync_directory, inode
from worker.storage.schema import SCHEMA, SCHEMA_VERSION

ROTATED_SUFFIX = re.compile(r"\.rotated-(\d{4,})$")
"""What the stem of a rotated database's name ends with."""

NEXT_SUFFIX = ".next"

ROTATION_BUSY_TIMEOUT_MS = 50
"""How long the first step waits for others; there will be another occasion."""

ROTATION_RETRY_SECONDS = 5.0
"""Seconds until the next attempt to rotate a database that somebody else had open."""

NO_RETRY = float("inf")

MIN_ROWS_TO_ROTATE = 200
"""Readings that a database has at least before it is rotated: what is carried over may have more than the limit."""

# Two questions, for SQLite answers only one of them at a time from the ends of the table.
SELECT_ROW_COUNT = "SELECT (SELECT max(id) FROM sensor_readings) - (SELECT min(id) FROM sensor_readings) + 1"

CREATE_ORIGINS = """
CREATE TABLE origins (
    sensor_id TEXT PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    file TEXT NOT NULL
) WITHOUT ROWID
"""


class RotationLimit:
    """Says when it is time to rotate a database: it has more than `max_bytes` bytes, and the last attempt was a while ago."""

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes, self._not_before = max_bytes, 0.0

    def reached(self, connection: apsw.Connection) -> bool:
        if self._max_bytes is None or time.monotonic() < self._not_before:
            return False
        if connection.pragma("page_count") * connection.pragma("page_size") <= self._max_bytes:
            return False
        return (connection.execute(SELECT_ROW_COUNT).get or 0) >= MIN_ROWS_TO_ROTATE

    def postpone(self, seconds: float | None = None) -> None:
        self._not_before = time.monotonic() + (ROTATION_RETRY_SECONDS if seconds is None else seconds)


def mark_rotated(connection: apsw.Connection, incarnation: int) -> bool:
    """Steps 1 and 2, unless somebody else has the database open or has taken a sensor over. Raises apsw.Error."""
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
    return bool(connection.execute("SELECT role FROM database_info").get == "rotated")


def finish_rotation(connection: apsw.Connection, path: Path) -> Path | None:
    """Steps 3 and 4, for the database at `path` that `connection` has open. Returns its new name; the connection is of
    no use any more. None if it can have no second name on this file system: it is the live one again then.

    Raises apsw.Error or OSError; then it can be tried again."""
    connection.pragma("journal_mode", "DELETE")
    # Without a write there is no journal, whose name would be the new database's by the end.
    connection.execute("BEGIN EXCLUSIVE")
    aside = rotated_path(path)
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
    """Give a file a second name, if its file system knows of such. Raises OSError."""
    try:
        os.link(path, aside)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            return False
        raise
    return True


def copy_carried_state(new: apsw.Connection, old: apsw.Connection, file: str) -> None:
    """What a new database takes over from the one before."""
    new.execute(SCHEMA)
    new.execute(CREATE_ORIGINS)
    new.execute("INSERT INTO database_info VALUES ('live', ?, ?)", (str(uuid.uuid4()), SCHEMA_VERSION))
    copy_rows(new, old, "checkpoints", "SELECT * FROM checkpoints")
    copy_rows(new, old, "epochs", "SELECT * FROM epochs")
    running = "SELECT e.* FROM anomaly_episodes e JOIN checkpoints USING (sensor_id) WHERE last_seq >= next_seq"
    copy_rows(new, old, "anomaly_episodes", running)
    # Row ids go on, for those who page by them.
    copy_rows(new, old, "sqlite_sequence", "SELECT name, seq FROM sqlite_sequence")
    begun = "SELECT sensor_id, next_seq, ? FROM checkpoints WHERE next_seq > 0"
    new.executemany("INSERT INTO origins VALUES (?,?,?)", old.execute(begun, (file,)).fetchall())
    new.pragma("user_version", SCHEMA_VERSION)


def copy_rows(new: apsw.Connection, old: apsw.Connection, table: str, query: str) -> None:
    rows = old.execute(query).fetchall()
    if rows:
        new.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)


def rotated_path(path: Path) -> Path:
    """The name that a database will have when it is rotated; the one that it has already if it was interrupted."""
    numbers = [0]
    for other in path.parent.glob(f"{glob.escape(path.stem)}.rotated-*{glob.escape(path.suffix)}"):
        found = ROTATED_SUFFIX.search(other.stem)
        if found and ROTATED_SUFFIX.sub("", other.stem) == path.stem:
            if inode(other) == inode(path):
                return other
            numbers.append(int(found[1]))
    return path.with_name(f"{path.stem}.rotated-{max(numbers) + 1:04d}{path.suffix}")

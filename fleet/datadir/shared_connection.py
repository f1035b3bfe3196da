"""A connection to a database that its worker may have open, and may replace at any time.

SQLite finds files by their names. A worker may move a damaged database aside and create another in its place. A process
that opens the first database and then, by its name, the log of the second would ruin both, and so would one that deletes
that log on closing. A database is therefore opened and closed under a lock that keeps it in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from fleet.datadir.computed_readings import ComputedReadings
from fleet.datadir.ownership import foreign_link
from fleet.datadir.readings import DatabaseUnreadable, path_exists
from worker.storage.database_files import Inode, folder_lock, inode

OPEN_BUSY_TIMEOUT_MS = 500
"""The longest wait for a lock of SQLite while the folder is locked."""

SHARED_BUSY_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True)
class SharedConnection:
    """An open database. `file` identifies its file. `computed` computes the readings of one that stores none."""

    path: Path
    connection: apsw.Connection
    file: Inode
    computed: ComputedReadings | None = None

    @contextmanager
    def hold_in_place(self) -> Iterator[None]:
        """Keep the database in its place during a write without a write-ahead log: the journal is found by the name of the
        database, and would be rolled back into any file of that name. Raises DatabaseUnreadable if it was moved."""
        if self.connection.pragma("journal_mode") == "wal":
            yield
            return
        try:
            with folder_lock(self.path.parent):
                if inode(self.path) != self.file:
                    raise DatabaseUnreadable(self.path, "it was moved or replaced meanwhile")
                yield
        except OSError as error:
            raise DatabaseUnreadable(self.path, str(error.strerror)) from error


@contextmanager
def shared_connection(path: Path) -> Iterator[SharedConnection]:
    """Open the database at `path` for reading and writing. Errors of SQLite within the block become DatabaseUnreadable.

    The last connection to a database copies the log into it and removes the log. That may be this one.
    """
    if not path_exists(path):
        raise DatabaseUnreadable(path, "there is no such database yet")
    if reason := foreign_link(path):
        raise DatabaseUnreadable(path, f"{reason}: not followed")
    try:
        opened = open_shared(path)
        try:
            yield opened
        finally:
            close(opened)
    except (apsw.Error, UnicodeDecodeError) as error:
        raise DatabaseUnreadable(path, f"{type(error).__name__}: {error}") from error


def open_shared(path: Path) -> SharedConnection:
    try:
        with folder_lock(path.parent):
            file = inode(path)
            # As a URI, because a name need not be valid text.
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
            connection = apsw.Connection(f"{path.absolute().as_uri()}?mode=rw", flags=flags)
            try:
                connection.set_busy_timeout(OPEN_BUSY_TIMEOUT_MS)
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # opens the log too
            except apsw.Error:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close(True)
                raise
    except OSError as error:
        raise DatabaseUnreadable(path, str(error.strerror)) from error
    connection.set_busy_timeout(SHARED_BUSY_TIMEOUT_MS)
    return SharedConnection(path, connection, file)


def close(opened: SharedConnection) -> None:
    in_place = False
    with suppress(OSError), folder_lock(opened.path.parent):
        in_place = inode(opened.path) == opened.file
        if in_place:
            opened.connection.close(True)
    if not in_place:
        opened.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        opened.connection.close(True)

"""A connection to a database beside its worker: opened, used and closed so that no other database comes to harm.

SQLite knows files by their names. A worker may move a damaged database aside at any time and begin another in its place;
whoever opens the first, and then, by name, the log of the second, or deletes that log as he closes, ruins both. So a
database is opened, and closed, while nobody may move it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from fleet.datadir.readings import DatabaseUnreadable, path_exists
from worker.storage.database_files import Inode, folder_lock, inode

OPEN_BUSY_TIMEOUT_MS = 500
"""How long to wait for a lock while nobody may move anything."""

SHARED_BUSY_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True)
class SharedConnection:
    """An open database. `file` is which file it is."""

    path: Path
    connection: apsw.Connection
    file: Inode

    @contextmanager
    def hold_in_place(self) -> Iterator[None]:
        """For writing where there is no write-ahead log: the journal lies under the database's name, and would be rolled
        back into whatever has that name. While it lasts nobody moves the database. DatabaseUnreadable if somebody has."""
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
    """The database at `path`, which a worker may have open. DatabaseUnreadable where SQLite refuses it, also later on.

    It can be written. The last to close a database puts its log into it and removes the log, and that may be this one.
    """
    if not path_exists(path):
        raise DatabaseUnreadable(path, "there is no such database yet")
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
            # As a URI, for a name need not be text.
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
    tidy = False
    with suppress(OSError), folder_lock(opened.path.parent):
        tidy = inode(opened.path) == opened.file
        if tidy:
            opened.connection.close(True)
    if not tidy:
        opened.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        opened.connection.close(True)

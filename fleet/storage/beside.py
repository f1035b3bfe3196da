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

from fleet.storage.readings import Unreadable, there
from worker.database_files import Inode, alone, inode

OPENING_MS = 500
"""How long to wait for a lock while nobody may move anything."""

BUSY_MS = 5_000


@dataclass(frozen=True, slots=True)
class Beside:
    """An open database. `file` is which file it is."""

    path: Path
    connection: apsw.Connection
    file: Inode

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """For writing where there is no write-ahead log: the journal lies under the database's name, and would be rolled
        back into whatever has that name. While it lasts nobody moves the database. Unreadable if somebody has."""
        if self.connection.pragma("journal_mode") == "wal":
            yield
            return
        try:
            with alone(self.path.parent):
                if inode(self.path) != self.file:
                    raise Unreadable(self.path, "it was moved or replaced meanwhile")
                yield
        except OSError as error:
            raise Unreadable(self.path, str(error.strerror)) from error


@contextmanager
def beside(path: Path) -> Iterator[Beside]:
    """The database at `path`, which a worker may have open. Unreadable where SQLite refuses it, also later on.

    It can be written. The last to close a database puts its log into it and removes the log, and that may be this one.
    """
    if not there(path):
        raise Unreadable(path, "there is no such database yet")
    try:
        opened = opened_beside(path)
        try:
            yield opened
        finally:
            close(opened)
    except (apsw.Error, UnicodeDecodeError) as error:
        raise Unreadable(path, f"{type(error).__name__}: {error}") from error


def opened_beside(path: Path) -> Beside:
    try:
        with alone(path.parent):
            file = inode(path)
            # As a URI, for a name need not be text.
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
            connection = apsw.Connection(f"{path.absolute().as_uri()}?mode=rw", flags=flags)
            try:
                connection.set_busy_timeout(OPENING_MS)
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # opens the log too
            except apsw.Error:
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close(True)
                raise
    except OSError as error:
        raise Unreadable(path, str(error.strerror)) from error
    connection.set_busy_timeout(BUSY_MS)
    return Beside(path, connection, file)


def close(opened: Beside) -> None:
    tidy = False
    with suppress(OSError), alone(opened.path.parent):
        tidy = inode(opened.path) == opened.file
        if tidy:
            opened.connection.close(True)
    if not tidy:
        opened.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        opened.connection.close(True)

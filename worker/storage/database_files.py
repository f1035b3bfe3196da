"""The files of one database: identity by inode, locks of its folder, quarantine of damaged files.

A writer whose database is deleted or replaced would otherwise continue to write to a file that no longer has a name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAL_SUFFIX = "-wal"
SIDE_FILE_SUFFIXES = (WAL_SUFFIX, "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""

DATABASE_HEADER_BYTES = 100

FOLDER_LOCK_TIMEOUT_SECONDS = 2.0
"""Seconds to wait for a folder's lock: its holder may be suspended, and the others must not hang."""

Inode = tuple[int, int] | None
"""Device and inode number of a file, None if there is no file."""


def inode(path: Path) -> Inode:
    """Return the inode of a file. Raises OSError if its existence cannot be determined."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def inodes(path: Path) -> tuple[Inode, Inode]:
    """Return the inodes of a database and its write-ahead log; both are constant while a connection is open."""
    return inode(path), inode(side_file(path, WAL_SUFFIX))


def fsync_directory(folder: Path) -> None:
    """Flush the entries of a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def side_file(path: Path, ending: str) -> Path:
    """Return the path of a file that SQLite keeps beside the database at `path`."""
    return path.with_name(path.name + ending)


def is_sqlite_file(path: Path) -> bool:
    """Return whether SQLite can open the file: it is empty or missing, or has the header of a database."""
    if not path.is_file():
        return True
    with path.open("rb") as file:
        head = file.read(DATABASE_HEADER_BYTES)
    return not head or is_database_header(head)


def is_database_header(head: bytes) -> bool:
    """Return whether a file with these first bytes is a database.

    The header is section 1.3 of https://www.sqlite.org/fileformat2.html: a magic string, and three constant bytes at
    offset 21.
    """
    return head.startswith(b"SQLite format 3\0") and head[21:24] == b"\x40\x20\x20"


def ensure_database_file(path: Path) -> None:
    """Create an empty database file if there is none, and move the log of a deleted one aside.

    Another process may still have that log open, and SQLite would take it for the log of the new database. Call it with
    `folder_lock` held. Raises OSError.
    """
    if not path.exists():
        if any(side_file(path, ending).exists() for ending in SIDE_FILE_SUFFIXES):
            move_aside(path, SIDE_FILE_SUFFIXES)
        path.touch()


def quarantine(path: Path, seen: Inode) -> Path | None:
    """Rename a damaged database and its side files to `NAME.db.quarantined-1`, or the next free number.

    Returns the new path of the database, or None if the file is no longer the one `seen` to be damaged: another worker
    was faster. Raises OSError if it cannot be moved.
    """
    with folder_lock(path.parent):  # no other process moves it between the check and the move
        if seen is None or inode(path) != seen:
            return None
        # The database is moved last: if this process dies in between, the next one finds and moves the rest.
        return move_aside(path, (*SIDE_FILE_SUFFIXES, ""))


def move_orphaned_wal(path: Path, database: Inode, log: Inode) -> None:
    """Move the log of a `database` that is gone from `path` aside, if it is still the same `log`.

    SQLite would take it for the log of the next database at `path`.
    """
    with folder_lock(path.parent):
        if log is not None and inode(side_file(path, WAL_SUFFIX)) == log and inode(path) != database:
            move_aside(path, SIDE_FILE_SUFFIXES)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, among all processes. Raises TimeoutError if it is held for too long."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + FOLDER_LOCK_TIMEOUT_SECONDS
        while not try_lock(descriptor):
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "another process has held the lock of its folder for too long")
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock a file exclusively. Returns False if another process holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def move_aside(path: Path, endings: tuple[str, ...]) -> Path:
    """Rename the files with these suffixes, in order, to a quarantine name. Returns that of the database."""
    aside = unused_quarantine_path(path)
    for ending in endings:
        if (old := side_file(path, ending)).exists():
            os.replace(old, side_file(aside, ending))
    return aside


def unused_quarantine_path(path: Path) -> Path:
    """Return the first quarantine name that no file has."""
    number = 1
    while any(side_file(path, f".quarantined-{number}{ending}").exists() for ending in ("", *SIDE_FILE_SUFFIXES)):
        number += 1
    return side_file(path, f".quarantined-{number}")

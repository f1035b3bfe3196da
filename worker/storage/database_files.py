"""The files of one database: whether they are still the ones that were opened, and moving damaged ones aside.

Whoever deletes or replaces a database under its writer would otherwise have it go on writing into a file that nobody
can see any more.
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
"""What SQLite keeps beside a database, by the ending of its name."""

FOLDER_LOCK_TIMEOUT_SECONDS = 2.0
"""Seconds for which somebody may keep a folder to himself; he may have been stopped, and others are not to hang."""

Inode = tuple[int, int] | None
"""Device and number of a file, None where none is to be seen."""


def inode(path: Path) -> Inode:
    """OSError if it cannot be told whether the file is there."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def inodes(path: Path) -> tuple[Inode, Inode]:
    """Those of the database and of its write-ahead log. While a connection is open both stay the same. OSError as above."""
    return inode(path), inode(side_file(path, WAL_SUFFIX))


def fsync_directory(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def side_file(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def is_sqlite_file(path: Path) -> bool:
    """Whether SQLite can take the file for a database: it is empty or not there, or begins as one must.

    The head is that of the file format, https://www.sqlite.org/fileformat2.html, 1.3: a magic string, and at 21 three
    numbers that are always the same.
    """
    if not path.is_file():
        return True
    with path.open("rb") as file:
        head = file.read(100)
    return not head or (head.startswith(b"SQLite format 3\0") and head[21:24] == b"\x40\x20\x20")


def ensure_database_file(path: Path) -> None:
    """Where there is no database, let there be an empty file, and no log of one that is gone: somebody may still have
    that log open, and SQLite would take it for the new one's. To be called `folder_lock`. OSError if it cannot be."""
    if not path.exists():
        if any(side_file(path, ending).exists() for ending in SIDE_FILE_SUFFIXES):
            move_aside(path, SIDE_FILE_SUFFIXES)
        path.touch()


def quarantine(path: Path, seen: Inode) -> Path | None:
    """Move a damaged database and all that belongs to it out of the way, as `NAME.db.quarantined-1` and so on.

    Returns the new name of the database; None if the file is no longer the one that was `seen` to be damaged, which
    is so when another worker was quicker. OSError if it cannot be moved.
    """
    with folder_lock(path.parent):  # between the look and the move nobody else may have moved it
        if seen is None or inode(path) != seen:
            return None
        # The database goes last: should this process die in between, the rest of it is found and moved then.
        return move_aside(path, (*SIDE_FILE_SUFFIXES, ""))


def move_orphaned_wal(path: Path, database: Inode, log: Inode) -> None:
    """Move the log of a `database` that is gone from `path` out of the way of the one that is, or will be, there: SQLite
    would take it for that one's. Only if it is still the one that was seen."""
    with folder_lock(path.parent):
        if log is not None and inode(side_file(path, WAL_SUFFIX)) == log and inode(path) != database:
            move_aside(path, SIDE_FILE_SUFFIXES)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """One at a time, of all processes that do this in that folder. TimeoutError if another is there for too long."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + FOLDER_LOCK_TIMEOUT_SECONDS
        while not try_lock(descriptor):
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "another process has been opening or moving it for too long")
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def move_aside(path: Path, endings: tuple[str, ...]) -> Path:
    aside = unused_quarantine_path(path)
    for ending in endings:
        if (old := side_file(path, ending)).exists():
            os.replace(old, side_file(aside, ending))
    return aside


def unused_quarantine_path(path: Path) -> Path:
    number = 1
    while any(side_file(path, f".quarantined-{number}{ending}").exists() for ending in ("", *SIDE_FILE_SUFFIXES)):
        number += 1
    return side_file(path, f".quarantined-{number}")

"""The files of one database: whether they are still the ones that were opened, and moving damaged ones aside.

Whoever deletes or replaces a database under its writer would otherwise have it go on writing into a file that nobody
can see any more.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

LOG = "-wal"
COMPANIONS = (LOG, "-shm", "-journal")
"""What SQLite keeps beside a database, by the ending of its name."""

Inode = tuple[int, int] | None
"""Device and number of a file, None where none is to be seen."""


def inode(path: Path) -> Inode:
    try:
        found = path.stat()
    except OSError:  # gone, or out of reach
        return None
    return found.st_dev, found.st_ino


def inodes(path: Path) -> tuple[Inode, Inode]:
    """Those of the database and of its write-ahead log. While a connection is open both stay the same."""
    return inode(path), inode(companion(path, LOG))


def companion(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def unfinished(path: Path) -> bool:
    """Whether the last user of the database did not close it: a log with something in it is left behind."""
    log = companion(path, LOG)
    return log.exists() and log.stat().st_size > 0


def recognised(path: Path) -> bool:
    """Whether SQLite can take the file for a database: it is empty or not there, or begins as one must.

    The head is that of the file format, https://www.sqlite.org/fileformat2.html, 1.3: a magic string, and at 21 three
    numbers that are always the same.
    """
    if not path.is_file():
        return True
    with path.open("rb") as file:
        head = file.read(100)
    return not head or (head.startswith(b"SQLite format 3\0") and head[21:24] == b"\x40\x20\x20")


def quarantine(path: Path, seen: Inode) -> Path | None:
    """Move a damaged database and all that belongs to it out of the way, as `NAME.db.quarantined-1` and so on.

    Returns the new name of the database; None if the file is no longer the one that was `seen` to be damaged, which
    is so when another worker was quicker. OSError if it cannot be moved.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # between the look and the move nobody else may have moved it
        if seen is None or inode(path) != seen:
            return None
        aside = unused(path)
        # The database goes last: should this process die in between, the rest of it is found and moved then.
        for ending in (*COMPANIONS, ""):
            if (old := companion(path, ending)).exists():
                os.replace(old, companion(aside, ending))
        return aside
    finally:
        os.close(folder)


def unused(path: Path) -> Path:
    number = 1
    while any(companion(path, f".quarantined-{number}{ending}").exists() for ending in ("", *COMPANIONS)):
        number += 1
    return companion(path, f".quarantined-{number}")

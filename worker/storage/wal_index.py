"""What the index of a write-ahead log tells about the log, after the process that kept it has died.

The index (`NAME.db-shm`) is an ordinary file; its head is described at https://www.sqlite.org/walformat.html, 2.1. Only
for a look from outside: nothing in it is needed to open the database.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from worker.clock import elapsed_ns

WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
INDEX_HEADER = struct.Struct("=32x8s56xI28xI")
"""The salts of the log, how many of its frames are copied into the database, and how many perhaps are, in the byte order
of the machine. SQLite syncs frames before it counts them as copied, so the former is right after a power failure too,
whichever state of the index is left; the latter only while the machine runs."""


def is_wal_truncated(database: Path) -> bool:
    """Whether the log lacks frames of which pages are in the database already.

    SQLite would take what is left of such a log for the truth, over newer pages: a mixture that it cannot notice. A log
    that lacks only frames that were never copied is an earlier state of the database, whole.
    """
    log, index = (database.with_name(database.name + ending) for ending in ("-wal", "-shm"))
    shm, head = read_prefix(index, INDEX_HEADER.size), read_prefix(log, WAL_HEADER_BYTES)
    if len(shm) < INDEX_HEADER.size or len(head) < WAL_HEADER_BYTES:
        return False
    salts, copied, perhaps = INDEX_HEADER.unpack(shm)
    if head[16:24] != salts:  # the index of another log
        return False
    if index.stat().st_mtime_ns > time.time_ns() - elapsed_ns():  # written since the machine was booted
        copied = max(copied, perhaps)
    frame = FRAME_HEADER_BYTES + int.from_bytes(head[8:12], "big")
    return bool((log.stat().st_size - WAL_HEADER_BYTES) // frame < copied)


def read_prefix(path: Path, count: int) -> bytes:
    """So many bytes from the beginning of a file, fewer if it is shorter or not there."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        return b""

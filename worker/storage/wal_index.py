"""The index of a write-ahead log, read from outside to detect a truncated log.

The index (`NAME.db-shm`) outlives the process that kept it; its header is section 2.1 of
https://www.sqlite.org/walformat.html. SQLite does not need it to open the database.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from worker.clock import elapsed_ns

WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
INDEX_HEADER = struct.Struct("=32x8s56xI28xI")
"""The salts of the log, the number of its frames that are copied into the database (nBackfill), and the number that may be
(nBackfillAttempted), in the byte order of the machine. SQLite syncs frames before it counts them as copied: the former is
valid after a power failure too, the latter only until the machine reboots."""


def is_wal_truncated(database: Path) -> bool:
    """Return whether the log lacks frames whose pages are in the database already.

    SQLite would prefer the older pages in the rest of such a log to the newer ones in the database, and could not detect
    the mixture. A log that lacks only frames that were never copied is a consistent earlier state of the database.
    """
    log, index = (database.with_name(database.name + ending) for ending in ("-wal", "-shm"))
    shm, head = read_prefix(index, INDEX_HEADER.size), read_prefix(log, WAL_HEADER_BYTES)
    if len(shm) < INDEX_HEADER.size or len(head) < WAL_HEADER_BYTES:
        return False
    salts, copied, attempted = INDEX_HEADER.unpack(shm)
    if head[16:24] != salts:  # the index belongs to another log
        return False
    if index.stat().st_mtime_ns > time.time_ns() - elapsed_ns():  # written since the boot
        copied = max(copied, attempted)
    frame = FRAME_HEADER_BYTES + int.from_bytes(head[8:12], "big")
    return bool((log.stat().st_size - WAL_HEADER_BYTES) // frame < copied)


def read_prefix(path: Path, count: int) -> bytes:
    """Read the first `count` bytes of a file, fewer if it is shorter, none if it is missing."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        return b""

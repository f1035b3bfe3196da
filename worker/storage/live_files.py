"""The files of a database that is open: a look from outside that finds a log or a header which another program has cut or
overwritten.

SQLite trusts the index of the log (`NAME.db-shm`) while a connection is open. It would write behind the hole, and copy the
hole into the database. The layouts are those of sections 2.1 and 4.1 of https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

from worker.storage.database_files import DATABASE_HEADER_BYTES, SIDE_FILE_SUFFIXES, is_database_header, side_file
from worker.storage.wal_index import FRAME_HEADER_BYTES, WAL_HEADER_BYTES

WAL_SUFFIX, SHM_SUFFIX = SIDE_FILE_SUFFIXES[:2]

INDEX_HEADER_BYTES = 48
INDEX_HEADER = struct.Struct("=14xHI4x2I8s8x")
"""Page size, frames in the log, checksum of the last one, salts of the log. Followed by a copy of itself."""

FRAME_CHECKSUM = struct.Struct(">8x8s2I")
"""Salts and checksum in the header of a frame."""


class LastFrame(NamedTuple):
    """The last frame of the log that is committed: salts of the log, where it begins and ends, its checksum."""

    salts: bytes
    begin: int
    end: int
    checksum: tuple[int, int]


class LiveFiles:
    """The files of one open database.

    Close it after the connection: to close any descriptor of a file drops all locks that the process has on it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._side_files: list[int] = []
        self._last: LastFrame | None = None

    def open_log(self) -> None:
        """Look at the log from now on. Call it when the connection has one."""
        for suffix in (WAL_SUFFIX, SHM_SUFFIX):
            self._side_files.append(os.open(side_file(self._path, suffix), os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        for descriptor in (self._database, *self._side_files):
            os.close(descriptor)
        self._side_files.clear()

    def damage(self) -> str:
        """Describe what is wrong with the files, "" if nothing is. To be called before and after each transaction is
        written, with the write lock held before."""
        if not is_database_header(os.pread(self._database, DATABASE_HEADER_BYTES, 0)):
            return "its first page was overwritten or cut off"
        if not self._side_files:
            return ""
        log, index = self._side_files[-2:]
        before, self._last = self._last, read_last_frame(index)
        frames = [self._last] if self._last else []
        if before and self._last and before.salts == self._last.salts:
            frames.append(before)
        if all(holds(log, frame) for frame in frames):
            return ""
        if read_last_frame(index) != self._last:
            # Without the lock: another process has begun the log again meanwhile, the index first. The next look decides.
            return ""
        return "its write-ahead log was cut or overwritten"


def read_last_frame(index: int) -> LastFrame | None:
    """Read the last frame's place and checksum from the index. None if the log is empty, or the index is being written."""
    head = os.pread(index, 2 * INDEX_HEADER_BYTES, 0)
    if len(head) < 2 * INDEX_HEADER_BYTES or head[:INDEX_HEADER_BYTES] != head[INDEX_HEADER_BYTES:]:
        return None
    size, frames, first, second, salts = INDEX_HEADER.unpack_from(head)
    if not frames:
        return None
    frame = FRAME_HEADER_BYTES + (size & 0xFE00) + ((size & 1) << 16)
    end = WAL_HEADER_BYTES + frames * frame
    return LastFrame(salts, end - frame, end, (first, second))


def holds(log: int, frame: LastFrame) -> bool:
    """Return whether the log has its header and this frame."""
    if os.fstat(log).st_size < frame.end or os.pread(log, WAL_HEADER_BYTES, 0)[16:24] != frame.salts:
        return False
    head = os.pread(log, FRAME_HEADER_BYTES, frame.begin)
    return len(head) == FRAME_HEADER_BYTES and FRAME_CHECKSUM.unpack(head) == (frame.salts, *frame.checksum)

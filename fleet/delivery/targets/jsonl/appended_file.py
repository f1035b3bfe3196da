"""A file that grows by whole appends: what a crash has left behind the last one is cut off.

How long the file is, and what its user wants to remember together with it, is in a small record beside the file. An append is
written and synced first, then the record is replaced: both happen, or none.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
from pathlib import Path
from typing import Any

from fleet.atomic_write import replace_file
from fleet.escaping import escape_short

RECORD_SUFFIX = ".delivered"
COMPRESSED_SUFFIX = ".gz"
GZIP_LEVEL = 6


class FileUnusable(Exception):
    """The file cannot be appended to until an operator acts. `str(error)` is one line."""


class AppendedFile:
    """The file and its record, held by one process at a time. With the suffix `.gz` each append is compressed: such a file is a
    sequence of members, which programs read as one.

    `memory` is what the user of the file had remembered at the last append. OSError for errors of the disk.
    """

    def __init__(self, path: Path) -> None:
        """FileUnusable if another process holds the file, or it does not fit its record."""
        self.path, self._record = path, record_path(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self.length, self.memory = self._read_record()
            self._cut()
        except (OSError, FileUnusable):
            self.close()
            raise

    def append(self, content: bytes, memory: dict[str, Any]) -> None:
        """Append, and remember. After an OSError nothing of it has happened."""
        if content and self.path.suffix == COMPRESSED_SUFFIX:
            content = gzip.compress(content, GZIP_LEVEL, mtime=0)
        length = self.length + len(content)
        try:
            self._write(content)
            replace_file(self._record, json.dumps({"length": length, **memory}), sync=True)
        except OSError:
            os.ftruncate(self._descriptor, self.length)
            raise
        self.length, self.memory = length, memory

    def content(self) -> bytes:
        """Return the whole content."""
        return os.pread(self._descriptor, self.length, 0)

    def clear(self, memory: dict[str, Any]) -> None:
        """Empty the file, and remember. After an OSError it is as before, or empty."""
        replace_file(self._record, json.dumps({"length": 0, **memory}), sync=True)
        self.length, self.memory = 0, memory
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileUnusable("another process is delivering to it") from None

    def _read_record(self) -> tuple[int, dict[str, Any]]:
        try:
            text = self._record.read_text(encoding="utf-8")
        except FileNotFoundError:
            if os.fstat(self._descriptor).st_size:
                raise FileUnusable(f"it exists and has no {self._record.name} beside it: name a new file") from None
            return 0, {}
        try:
            memory = dict(json.loads(text))
            length = memory.pop("length")
        except (ValueError, TypeError, KeyError):
            length, memory = None, {}
        if not isinstance(length, int) or isinstance(length, bool):
            raise FileUnusable(f"{self._record.name} beside it holds {escape_short(text)}: name a new file")
        return length, memory

    def _cut(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size < self.length:
            raise FileUnusable(
                f"it has {size:,} bytes, {self.length:,} were delivered: put it back, or remove {self._record.name} beside it too "
                "to begin again"
            )
        os.ftruncate(self._descriptor, self.length)

    def _write(self, content: bytes) -> None:
        written = 0
        while written < len(content):
            written += os.pwrite(self._descriptor, content[written:], self.length + written)
        os.fdatasync(self._descriptor)


def record_path(path: Path) -> Path:
    return path.with_name(path.name + RECORD_SUFFIX)

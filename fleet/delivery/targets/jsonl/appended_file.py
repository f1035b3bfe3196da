"""A file that grows by whole appends: what a crash has left behind the last one is cut off.

How long the file is, and what its user wants to remember together with it, is in a small record beside the file. An append is
written and synced first, then the record is replaced: both happen, or none. A file that is large or old enough is renamed to
its next part, and goes on empty.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet.atomic_write import replace_file
from fleet.delivery.target import TargetMisconfigured, TargetUnavailable
from fleet.escaping import escape_short
from worker.storage.database_files import fsync_directory

RECORD_SUFFIX = ".delivered"
COMPRESSED_SUFFIX = ".gz"
PART_DIGITS = 6
PART, OF_PART = "part", "of_part"
"""In the record: the number of the part that the file will be, and what is remembered of it and forgotten with it."""

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
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self.length, self.memory = self._read_record()
            self._finish_rotation()
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
            if not self.length and not self._record.exists():  # what a process killed from here on leaves is cut
                replace_file(self._record, json.dumps({"length": 0}), sync=True)
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

    def rotate(self) -> None:
        """Rename the file to its part, and begin an empty one. FileUnusable if there is a file of that name."""
        part = self._part()
        if part.exists():
            raise FileUnusable(f"{part.name} exists, which would be its next part: move it away")
        self.close()
        self.path.rename(part)
        fsync_directory(part.parent)
        self._open()

    def _part(self) -> Path:
        return part_path(self.path, self.memory.get(PART, 1))

    def _finish_rotation(self) -> None:
        """Forget the content if the file has been renamed to its part."""
        part = self._part()
        if (
            self.length
            and not os.fstat(self._descriptor).st_size
            and part.exists()
            and part.stat().st_size == self.length
        ):
            self.clear(self.memory | {PART: self.memory.get(PART, 1) + 1, OF_PART: {}})

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


def with_word(path: Path, word: str) -> Path:
    """Return the path of a file beside another: `readings.WORD.jsonl.gz` of `readings.jsonl.gz`."""
    inner = path.with_suffix("") if path.suffix == COMPRESSED_SUFFIX else path
    ending = inner.suffix + (COMPRESSED_SUFFIX if inner != path else "")
    return path.with_name(f"{inner.stem}.{word}{ending}")


def part_path(path: Path, number: int) -> Path:
    """Return the path of a part: `readings.000001.jsonl.gz` of `readings.jsonl.gz`."""
    return with_word(path, f"{number:0{PART_DIGITS}}")


def part_paths(path: Path) -> list[Path]:
    """Return the parts of a file, the oldest first."""
    pattern = re.escape(with_word(path, "|").name).replace(re.escape("|"), rf"([0-9]{{{PART_DIGITS},}})")
    parts = [(int(found[1]), each) for each in path.parent.iterdir() if (found := re.fullmatch(pattern, each.name))]
    return [part for _, part in sorted(parts)]


@contextmanager
def translated_errors(path: Path, prefix: str = "") -> Iterator[None]:
    """Raise errors of the file at a path as DeliveryFailed; their messages begin with `prefix`."""
    try:
        yield
    except FileUnusable as error:
        raise TargetMisconfigured(f"{prefix}{path}: {error}") from error
    except OSError as error:
        raise TargetUnavailable(f"{prefix}{error.filename or path}: {error.strerror}") from error

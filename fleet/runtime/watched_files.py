"""Detect changes to files by polling their metadata.

A change is reported only after two consecutive polls have found the file in the same condition. A file that is half
written, or missing for a moment while an editor replaces it, is therefore left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

FileSignature = tuple[int, int, int, int]
"""Inode, modification time, change time and size. No editor leaves all four as they were."""

NEVER_SEEN: FileSignature = (-1, -1, -1, -1)
"""The signature of a file whose present condition has not been reported yet. No file has it, not even a missing one."""


class WatchedFiles:
    """The files that `list_files` returns. Files that exist at the beginning are taken as known. With `report_existing`
    all files of the first list are reported once, those that do not exist as well: they may have been deleted after
    the caller read them."""

    def __init__(self, list_files: Callable[[], Iterable[Path]], *, report_existing: bool = False) -> None:
        self._list_files = list_files
        self._last = self._scan()
        self._known = dict.fromkeys(list_files(), NEVER_SEEN) if report_existing else self._last

    def mark_known(self) -> None:
        """Take the files that appeared since the last poll as known, because the caller created them."""
        self._last = self._scan()
        self._known = self._last | self._known

    def changed(self) -> list[Path]:
        """Poll, and return in order the files that were created, changed or deleted and have come to rest. Each change
        is returned once."""
        before, now = self._last, self._scan()
        self._last = now
        differing = {path for path, _ in now.items() ^ self._known.items()}
        rested = {path for path in differing if now.get(path) == before.get(path)}
        self._known = {path: signature for path, signature in self._known.items() if path not in rested}
        self._known |= {path: now[path] for path in rested if path in now}
        return sorted(rested)

    def _scan(self) -> dict[Path, FileSignature]:
        found = {path: file_signature(path) for path in self._list_files()}
        return {path: signature for path, signature in found.items() if signature is not None}


def file_signature(path: Path) -> FileSignature | None:
    """Return the file's signature, or None if there is no file or it cannot be examined."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - thousands of files a second; Path.stat takes three times as long
    except (OSError, ValueError):
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size

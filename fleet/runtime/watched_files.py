"""Files that are watched for changes by looking at them now and then.

Nothing is told of a change before the file has been found the same at two looks, so that one that is half written, or
for a moment gone while an editor replaces it, is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

FileSignature = tuple[int, int, int, int]
"""Inode, times of modification and of change, size: what no editor leaves all alone."""


class WatchedFiles:
    """The files that `list_files` names. Those that are there at first are taken as known, unless `report_existing`."""

    def __init__(self, list_files: Callable[[], Iterable[Path]], *, report_existing: bool = False) -> None:
        self._list_files = list_files
        self._last = self._scan()
        self._known = {} if report_existing else self._last

    def mark_known(self) -> None:
        """Take those that came since the last look as known: whoever watches has made them."""
        self._last = self._scan()
        self._known = self._last | self._known

    def changed(self) -> list[Path]:
        """The files that came, changed or went away since this was last told, and have come to rest. In order."""
        before, now = self._last, self._scan()
        self._last = now
        moved = {path for path, _ in now.items() ^ self._known.items()}
        rested = {path for path in moved if now.get(path) == before.get(path)}
        self._known = {path: seen for path, seen in self._known.items() if path not in rested}
        self._known |= {path: now[path] for path in rested if path in now}
        return sorted(rested)

    def _scan(self) -> dict[Path, FileSignature]:
        found = {path: file_signature(path) for path in self._list_files()}
        return {path: seen for path, seen in found.items() if seen is not None}


def file_signature(path: Path) -> FileSignature | None:
    """None where there is no file, or none that may be seen."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - thousands of files a second; Path.stat takes three times as long
    except (OSError, ValueError):
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size

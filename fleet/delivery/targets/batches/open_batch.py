"""The open batch: the readings of all sources that will be one file, in a file of their own until there are enough of them.

An append holds the readings and, in the same step, how far their sources are delivered, so each reading is in the open
batch once. When it is sealed, the number of its file is fixed: writing the file again gives the same one. It is
emptied after the file has been written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.delivery.targets.jsonl.appended_file import AppendedFile, record_path

READING, ANOMALY, HISTORY = b"R", b"A", b"H"
"""The first byte of a line, before the document: a reading, one with an anomaly, an episode or epoch."""

COUNT, BEGUN, SEALED, LAST = "count", "begun", "sealed", "last"
"""In the record of the file: the number of readings, the time of the first one (seconds since 1970), the number of the sealed
batch, the number of the last one that was written."""


@dataclass(frozen=True, slots=True)
class BatchLines:
    """The documents in an open batch, as lines of JSON."""

    readings: Sequence[bytes]
    anomalies: int
    history: Sequence[bytes]


class OpenBatch:
    """The open batch in a file, which one process at a time has."""

    def __init__(self, path: Path) -> None:
        """OSError, FileUnusable."""
        self._file = AppendedFile(path)

    @property
    def memory(self) -> dict[str, Any]:
        return self._file.memory

    @property
    def count(self) -> int:
        """The number of its readings."""
        return int(self.memory.get(COUNT, 0))

    @property
    def begun(self) -> float | None:
        """When the first document was added, in seconds since 1970; None if there is none."""
        begun = self.memory.get(BEGUN)
        return None if begun is None else float(begun)

    @property
    def sealed(self) -> int | None:
        """The number of the file that it will be, None if it is not full."""
        sealed = self.memory.get(SEALED)
        return None if sealed is None else int(sealed)

    def add(self, lines: bytes, readings: int, memory: dict[str, Any], now: float) -> None:
        """Append lines, in which are `readings` readings. `memory` is what to remember with them."""
        begun = now if self.begun is None else self.begun
        self._file.append(lines, memory | {COUNT: self.count + readings, BEGUN: begun})

    def seal(self, now_ns: int) -> None:
        if self.sealed is None:
            self._file.append(b"", self.memory | {SEALED: max(now_ns, int(self.memory.get(LAST, 0)) + 1)})

    def lines(self) -> BatchLines:
        return split_lines(self._file.content())

    def clear(self) -> None:
        """Empty it, after its file has been written."""
        kept = {name: value for name, value in self.memory.items() if name not in (COUNT, BEGUN, SEALED)}
        self._file.clear(kept | {LAST: self.sealed})

    def close(self) -> None:
        self._file.close()


def split_lines(content: bytes) -> BatchLines:
    lines = content.splitlines()
    readings = [line[1:] for line in lines if line[:1] in (READING, ANOMALY)]
    anomalies = sum(line[:1] == ANOMALY for line in lines)
    return BatchLines(readings, anomalies, [line[1:] for line in lines if line[:1] == HISTORY])


def read_open_batch(path: Path) -> tuple[BatchLines, int | None]:
    """Read an open batch that another process may have. Returns its documents, and the number if it is sealed."""
    try:
        record = json.loads(record_path(path).read_bytes())
        return split_lines(path.read_bytes()[: record["length"]]), record.get(SEALED)
    except FileNotFoundError:
        return split_lines(b""), None

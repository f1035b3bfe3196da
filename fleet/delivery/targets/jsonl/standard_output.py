"""Standard output as a target: `jsonl:-`, `csv:-`.

Nothing records what its reader has: a reading that was written before a process died, and not yet noted as delivered, is
written again. Episodes and epochs are not written, as they have other fields.
"""

from __future__ import annotations

import os
import threading

from fleet.delivery.batch import Batch
from fleet.delivery.records.record import Record
from fleet.delivery.target import BatchRejected, Receipt, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.jsonl.line_format import Header, LineFormat

DESCRIPTOR = 1


class StandardOutput:
    """The standard output of this process. The lines of a batch are written as a whole, however long the reader takes."""

    def __init__(self, line_format: LineFormat, record: Record) -> None:
        self.name = f"{line_format.scheme}:-"
        self._format, self._record = line_format, record
        self._lock = threading.Lock()
        self._header: Header = None
        self._unwritten = b""

    def deliver(self, batch: Batch) -> Receipt:
        rejected = self._format.unwritable(batch)
        documents = [
            document
            for number, document in zip(batch.ids, self._record.documents(batch), strict=True)
            if number not in rejected
        ]
        with self._lock:
            try:
                lines, header = self._format.dump(documents, self._header)
                self._write(self._unwritten + lines)
            except ValueError as error:
                raise BatchRejected(f"{self.name}: {error}") from error
            except BrokenPipeError as error:
                raise TargetMisconfigured(f"{self.name}: nothing reads standard output any more") from error
            except OSError as error:
                raise TargetUnavailable(f"{self.name}: {error.strerror}") from error
            self._header = header
        return Receipt(frozenset(batch.ids) - rejected.keys(), 0, rejected)

    def cursor(self, source: str) -> None:
        """None: standard output has no record of a cursor."""

    def close(self) -> None:
        """Do nothing: standard output stays open."""

    def _write(self, content: bytes) -> None:
        """Write it. After an OSError, what the last line lacks is `_unwritten`."""
        written, begun = 0, bool(self._unwritten)
        try:
            while written < len(content):
                written += os.write(DESCRIPTOR, memoryview(content)[written:])
        finally:
            whole = content[written - 1 : written] == b"\n" if written else not begun
            self._unwritten = b"" if whole else content[written : content.index(b"\n", written) + 1]

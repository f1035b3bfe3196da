"""Reading back batches: the files of a storage, and the open batch."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import orjson

from fleet.delivery.records.record import Document
from fleet.delivery.targets.batches.batch_format import ENVELOPE_FIELDS
from fleet.delivery.targets.batches.open_batch import read_open_batch
from fleet.delivery.targets.jsonl.readings import DocumentReadings
from fleet.delivery.targets.registry import ReadBackOptions
from fleet.errors import UserError

HISTORY_SUFFIX = ".jsonl"
MAX_ATTEMPTS = 100
"""The open batch may become a file while the files are listed."""


class ReadableStorage(Protocol):
    """The place of the files."""

    def read(self, name: str) -> bytes:
        """Read a file. OSError, or UserError."""
        ...

    def names(self) -> list[tuple[int, str]]:
        """Return the files with readings and with history, in the order of their numbers."""
        ...


class BatchReadings(DocumentReadings):
    """The readings in the files that existed when this was made, and in the open batch."""

    def __init__(self, name: str, storage: ReadableStorage, open_batch: Path, options: ReadBackOptions) -> None:
        """UserError if the storage cannot be read."""
        super().__init__(name, options)
        self._storage = storage
        for _ in range(MAX_ATTEMPTS):
            self._names = storage.names()
            self._open, sealed = read_open_batch(open_batch)
            if self._names == storage.names():
                break
        else:
            raise UserError(f"--against: {name}: it changes too fast to be read; stop what delivers to it")
        numbers = {number for number, _ in self._names}
        self._open_is_written = sealed in numbers

    def documents(self) -> Iterator[Document]:
        for _, file in self._names:
            if not file.endswith(HISTORY_SUFFIX):
                for document in self._load(file):
                    yield {name: value for name, value in document.items() if name not in ENVELOPE_FIELDS}
        if not self._open_is_written:
            for line in self._open.readings:
                yield {name: value for name, value in orjson.loads(line).items() if name not in ENVELOPE_FIELDS}

    def history_documents(self) -> Iterator[Document] | None:
        files = [file for _, file in self._names if file.endswith(HISTORY_SUFFIX)]
        lines = (line for file in files for line in self._read(file).splitlines())
        return map(orjson.loads, (*lines, *self._open.history)) if files or self._open.history else None

    def _load(self, file: str) -> list[Document]:
        try:
            records = batch_records(file, self._read(file))
            if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
                raise ValueError("is no array of objects")
        except (ValueError, KeyError, OSError, EOFError) as error:
            reason = "has no field records" if isinstance(error, KeyError) else str(error)
            raise UserError(f"--against: {self.name}: {file} cannot be read: {reason}") from error
        return records

    def _read(self, file: str) -> bytes:
        try:
            return self._storage.read(file)
        except OSError as error:
            raise UserError(f"--against: {self.name}: {file} cannot be read: {error.strerror}") from error


def batch_records(file: str, content: bytes) -> Any:
    """Return the records in a file. ValueError, KeyError, OSError or EOFError if it is damaged."""
    if file.endswith(".parquet"):
        from fleet.delivery.targets.batches.columnar import parquet_records

        return parquet_records(content)
    if file.endswith(".gz"):
        return [orjson.loads(line) for line in gzip.decompress(content).splitlines()]
    document = orjson.loads(content)
    return document["records"] if isinstance(document, dict) else document

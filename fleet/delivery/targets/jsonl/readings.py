"""Reading back documents: the lines of a file of readings."""

from __future__ import annotations

import gzip
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, cast

from fleet.delivery.batch import FOREIGN_KEY_PREFIX, Row
from fleet.delivery.columns import DELIVERED_COLUMNS, SOURCE_ONLY_COLUMNS, extra_json
from fleet.delivery.compare.compared_columns import (
    COMPARABLE_COLUMNS,
    EXTRA_COLUMN,
    IDENTITY_COLUMN,
    IDENTITY_TEXTS,
    KEY_COLUMNS,
    NULL_MARK,
    SEPARATOR,
)
from fleet.delivery.compare.delivered import DeliveredChunk, DeliveredReadings, chunked, unreadable_error
from fleet.delivery.compare.documents import DocumentTable
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.compare.matching import MatchedReadings
from fleet.delivery.records.record import Document
from fleet.delivery.targets.jsonl.appended_file import COMPRESSED_SUFFIX, part_paths, record_path, with_word
from fleet.delivery.targets.jsonl.line_format import LineFormat
from fleet.delivery.targets.registry import ReadBackOptions
from fleet.errors import UserError

LINE_ONLY_FIELDS = frozenset((*SOURCE_ONLY_COLUMNS, "generation", "key"))
"""Fields of a line that are no content of its reading."""


def read_documents(readings: DocumentReadings, options: ReadBackOptions) -> DeliveredReadings:
    """Return the readings in a target that holds documents of the record of `options`, to be compared."""
    if options.record.columns is None:
        return readings
    return MatchedReadings(DocumentTable(readings.name, readings.documents, options.record, options.sensor))


class DocumentReadings(ABC):
    """The readings in a target that holds documents, in their order."""

    has_reading_keys = True
    ordered = True

    def __init__(self, name: str, options: ReadBackOptions) -> None:
        self.name, self._sensor, self._record = name, options.sensor, options.record
        self._further: tuple[str, ...] = ()
        self._histories: dict[tuple[str, str, str], dict[int, Document]] | None = None

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Read the documents of the readings, in their order of arrival. UserError if the target cannot be read."""

    @abstractmethod
    def history_documents(self) -> Iterator[Document] | None:
        """Read the episodes and epochs, of which a later one replaces an earlier one; None if the target keeps none."""

    def select_columns(self, further: tuple[str, ...]) -> tuple[str, ...]:
        self._further = further
        return (*further, *COMPARABLE_COLUMNS)

    def read_chunks(self, generated: GeneratedReadings) -> Iterator[DeliveredChunk]:
        for documents in chunked(filter(self._is_selected, map(self._record.reading, self.documents()))):
            for key, some in groupby(documents, lambda document: document.get("generation")):
                database = generated.databases.get(key or "")
                own = database.source.further_names if database else self._further
                rows = [self._row(document, own) for document in some]
                yield DeliveredChunk(key, self.name, rows)

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        if self._histories is None:
            documents = self.history_documents()
            if documents is None:
                return None
            self._histories = self._by_sensor(documents)
        found = self._histories.get((table, source, sensor), {})
        return [tuple(found[first_seq].get(name) for name in columns) for first_seq in sorted(found)]

    def alarms(self) -> int:
        return 0

    def close(self) -> None:
        self._histories = None

    def _is_selected(self, document: Document) -> bool:
        return self._sensor in (None, document.get("sensor_id"))

    def _row(self, document: Document, own: tuple[str, ...]) -> Row:
        """The row of a reading; `own` are the further columns of its source. What is in no column is in EXTRA_COLUMN."""
        foreign = str(document.get("generation", "")).startswith(FOREIGN_KEY_PREFIX)
        columns = {*DELIVERED_COLUMNS, *own} - ({"seq"} if foreign else set())
        extra = {name: value for name, value in document.items() if name not in columns | LINE_ONLY_FIELDS}
        texts = (document.get(name) for name in IDENTITY_TEXTS)
        values = {name: document.get(name) for name in columns}
        values["id"] = document.get("id")
        values[IDENTITY_COLUMN] = SEPARATOR.join(NULL_MARK if text is None else str(text) for text in texts)
        values[EXTRA_COLUMN] = extra_json(tuple(extra.values()), [(name, index) for index, name in enumerate(extra)])
        if foreign:
            values["seq"] = values["id"]
        return tuple(values.get(name) for name in ("id", *KEY_COLUMNS, *self._further, *COMPARABLE_COLUMNS))

    def _by_sensor(self, documents: Iterator[Document]) -> dict[tuple[str, str, str], dict[int, Document]]:
        histories: dict[tuple[str, str, str], dict[int, Document]] = {}
        for document in filter(self._is_selected, documents):
            key = document.get("table", ""), document.get("generation", ""), document.get("sensor_id", "")
            histories.setdefault(key, {})[document.get("first_seq", 0)] = document
        return histories


class FileReadings(DocumentReadings):
    """The readings in a file and its parts."""

    def __init__(self, path: Path, line_format: LineFormat, options: ReadBackOptions) -> None:
        """UserError if there is no such file."""
        super().__init__(f"{line_format.scheme}:{path}", options)
        if not path.is_file() and not (path.parent.is_dir() and part_paths(path)):
            raise UserError(f"--against: {self.name}: there is no such file")
        self._path, self._format, self._damaged = path, line_format, options.damaged

    def documents(self) -> Iterator[Document]:
        # The file is opened before its parts are listed: it may become one of them.
        with open_lines(self._path) if self._path.exists() else nullcontext() as lines:
            last = None if lines is None else os.fstat(lines.fileno())
            for part in part_paths(self._path):
                if last is None or not os.path.samestat(last, part.stat()):
                    yield from self._documents(part)
            if lines is not None:
                yield from self._load(self._path, lines)

    def history_documents(self) -> Iterator[Document] | None:
        path = history_path(self._path)
        if path.exists():
            return self._documents(path)
        # A file without a record was written to standard output.
        return iter(()) if record_path(self._path).exists() else None

    def _documents(self, path: Path) -> Iterator[Document]:
        with open_lines(path) as lines:
            yield from self._load(path, lines)

    def _load(self, path: Path, lines: BinaryIO) -> Iterator[Document]:
        try:
            yield from self._format.load(lines, damaged=self._damaged)
        except (OSError, EOFError, ValueError) as error:  # a damaged file
            raise unreadable_error(path, error) from error


def open_lines(path: Path) -> BinaryIO:
    """Open a file of lines, compressed or not."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == COMPRESSED_SUFFIX else path.open("rb")


def history_path(path: Path) -> Path:
    """Return the file of the episodes and epochs: `readings.history.jsonl.gz` of `readings.jsonl.gz`."""
    return with_word(path, "history")

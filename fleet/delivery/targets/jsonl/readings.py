"""Reading back a file of readings."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
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
from fleet.delivery.compare.delivered import DeliveredChunk, chunked, unreadable_error
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.records.record import Document
from fleet.delivery.targets.jsonl.appended_file import COMPRESSED_SUFFIX, record_path
from fleet.delivery.targets.jsonl.line_format import LineFormat
from fleet.errors import UserError

LINE_ONLY_FIELDS = frozenset((*SOURCE_ONLY_COLUMNS, "generation", "key"))
"""Fields of a line that are no content of its reading."""


class FileReadings:
    """The readings in a file, in their order."""

    has_reading_keys = True
    ordered = True

    def __init__(self, path: Path, sensor: str | None, line_format: LineFormat) -> None:
        """UserError if there is no such file."""
        self.name, self._format = f"{line_format.scheme}:{path}", line_format
        if not path.is_file():
            raise UserError(f"--against: {self.name}: there is no such file")
        self._path, self._sensor = path, sensor
        self._further: tuple[str, ...] = ()
        self._histories: dict[tuple[str, str, str], dict[int, Document]] | None = None

    def select_columns(self, further: tuple[str, ...]) -> tuple[str, ...]:
        self._further = further
        return (*further, *COMPARABLE_COLUMNS)

    def read_chunks(self, generated: GeneratedReadings) -> Iterator[DeliveredChunk]:
        for documents in chunked(self._documents(self._path)):
            for key, some in groupby(documents, lambda document: document.get("generation")):
                database = generated.databases.get(key or "")
                own = database.source.further_names if database else self._further
                rows = [self._row(document, own) for document in some]
                yield DeliveredChunk(key, self._path.name, rows)

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        if not history_path(self._path).exists() and not record_path(self._path).exists():
            return None  # it was written to standard output
        if self._histories is None:
            self._histories = self._read_histories()
        found = self._histories.get((table, source, sensor), {})
        return [tuple(found[first_seq].get(name) for name in columns) for first_seq in sorted(found)]

    def alarms(self) -> int:
        return 0

    def close(self) -> None:
        """Do nothing: no file stays open between two calls."""

    def _documents(self, path: Path) -> Iterator[Document]:
        try:
            with open_lines(path) as lines:
                for document in self._format.load(lines):
                    if self._sensor in (None, document.get("sensor_id")):
                        yield document
        except (OSError, EOFError, ValueError) as error:  # a damaged file
            raise unreadable_error(path, error) from error

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

    def _read_histories(self) -> dict[tuple[str, str, str], dict[int, Document]]:
        histories: dict[tuple[str, str, str], dict[int, Document]] = {}
        path = history_path(self._path)
        for document in self._documents(path) if path.exists() else ():
            key = document.get("table", ""), document.get("generation", ""), document.get("sensor_id", "")
            histories.setdefault(key, {})[document.get("first_seq", 0)] = document
        return histories


def open_lines(path: Path) -> BinaryIO:
    """Open a file of lines, compressed or not."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == COMPRESSED_SUFFIX else path.open("rb")


def history_path(path: Path) -> Path:
    """Return the file of the episodes and epochs: `readings.history.jsonl.gz` of `readings.jsonl.gz`."""
    inner = path.with_suffix("") if path.suffix == COMPRESSED_SUFFIX else path
    ending = inner.suffix + (COMPRESSED_SUFFIX if inner != path else "")
    return path.with_name(f"{inner.stem}.history{ending}")

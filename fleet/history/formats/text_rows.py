"""Rows of text that are put together from the texts of their columns, looked up in tables where possible."""

from __future__ import annotations

from abc import abstractmethod
from typing import IO, Any

import numpy as np

from fleet.history.formats.file_format import TableWriter, TimeFormat, time_numbers
from fleet.history.table import ReadingColumnType, ReadingSchema, ReadingTable, TableColumn, int_column
from fleet.streaming.value_texts import (
    MAX_EXACT,
    MAX_TABLE_DECIMALS,
    DecimalTexts,
    ObjectArray,
    json_number,
    text_table,
    time_texts,
)
from worker.readings.attributes import AttributeColumn
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray

MAX_ROWS = 1 << 10
"""Rows that are put together at once, so that their texts stay in the cache of the processor."""

MAX_TABLE_NUMBERS = 1 << 16
"""Different whole numbers whose texts are made once."""


class TextWriter(TableWriter):
    """Writes rows of text. `null` is the text of NULL."""

    null = ""
    end = "\n"

    def __init__(self, file: IO[bytes], schema: ReadingSchema, times: TimeFormat) -> None:
        super().__init__(file, schema, times)
        self._decimals = {name: 0 for name, kind in schema.items() if kind == "REAL"}

    @abstractmethod
    def before(self, number: int, name: str) -> str:
        """Return the text before the value of a column."""

    @abstractmethod
    def quoted(self, text: str) -> str:
        """Return a text as a value."""

    @abstractmethod
    def time_quote(self) -> str:
        """Return what is written on both sides of a time as text."""

    def write(self, table: ReadingTable) -> None:
        for begin in range(0, len(table), MAX_ROWS):
            self.file.write(self._rows(table.chosen(slice(begin, begin + MAX_ROWS))).encode())

    def finish(self) -> None:
        """All has been written."""

    def _rows(self, table: ReadingTable) -> str:
        """Return the rows of a table: texts of columns, and between them those that are the same in all rows."""
        parts: list[str | ObjectArray] = []
        for number, (name, kind) in enumerate(self.schema.items()):
            add_part(parts, self.before(number, name))
            for part in self._texts(name, kind, table):
                add_part(parts, part)
        add_part(parts, self.end)
        rows = np.empty((len(table), len(parts)), dtype=object)
        for number, part in enumerate(parts):
            rows[:, number] = part
        return "".join(rows.ravel().tolist())

    def _texts(self, name: str, kind: ReadingColumnType, table: ReadingTable) -> list[str | ObjectArray]:
        values: TableColumn | None = table.columns.get(name)
        if kind == "TIME" and values is not None:
            times = int_column(values)
            if self.times in ("text", "timestamp"):
                quote = self.time_quote()
                return [quote, *time_texts(times), f"+00:00{quote}"]
            values = time_numbers(times, self.times)
        if values is None:
            return [self.null]
        if isinstance(values, AttributeColumn):
            texts = [self._text(value, kind) for value in values.table]
            return [texts[0] if len(texts) == 1 else text_table(texts)[values.codes]]
        if kind == "TEXT":
            return [text_table([self._text(value, kind) for value in values.tolist()])]
        if kind == "REAL" or values.dtype != np.int64:
            return self._real_texts(name, values.astype(np.float64))
        return [whole_number_texts(values.astype(np.int64))]

    def _text(self, value: Any, kind: ReadingColumnType) -> str:
        if value is None or value != value:  # noqa: PLR0124 - NaN
            return self.null
        if kind == "TEXT":
            return self.quoted(str(value))
        return json_number(float(value)) if kind == "REAL" else str(int(value))

    def _real_texts(self, name: str, values: FloatArray) -> list[str | ObjectArray]:
        nulls = np.isnan(values)
        numbers = np.where(nulls, 0.0, values) + 0.0
        decimals = decimals_of(numbers, self._decimals.get(name, 0))
        if decimals is None:
            return [text_table([self._text(value, "REAL") for value in values.tolist()])]
        self._decimals[name] = decimals
        whole, rest = (texts[0] for texts in DecimalTexts([decimals]).texts(numbers[np.newaxis]))
        if nulls.any():
            whole, rest = np.where(nulls, self.null, whole), np.where(nulls, "", rest)
        return [whole, rest]


def add_part(parts: list[str | ObjectArray], part: str | ObjectArray) -> None:
    if isinstance(part, str) and parts and isinstance(parts[-1], str):
        parts[-1] += part
    else:
        parts.append(part)


def decimals_of(numbers: FloatArray, at_least: int) -> int | None:
    """Return the decimals that suffice for numbers, None if more are needed than `DecimalTexts` has."""
    if np.abs(numbers).max(initial=0) >= MAX_EXACT:
        return None
    for decimals in range(at_least, MAX_TABLE_DECIMALS + 1):
        scale = 10.0**decimals
        if (np.rint(numbers * scale) / scale == numbers).all():
            return decimals
    return None


def whole_number_texts(values: IntArray) -> ObjectArray:
    least, most = int(values.min()), int(values.max())
    if most - least < min(MAX_TABLE_NUMBERS, len(values)):
        return text_table(list(map(str, range(least, most + 1))))[values - least]
    return text_table(list(map(str, values.tolist())))

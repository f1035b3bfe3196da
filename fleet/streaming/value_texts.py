"""The values of columns as JSON texts, looked up in tables: an array of texts for an array of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import product
from math import prod
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.attributes import AttributeColumn, ValueTable
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray
from worker.spec import ColumnType

ObjectArray = npt.NDArray[np.object_]

MAX_TABLE_DECIMALS = 4
"""With more, a small number is written with an exponent."""
WHOLE_NUMBERS, NEGATIVE_NUMBERS = 65_536, 4_096
"""The whole parts of numbers whose texts are in a table."""
MAX_COMBINED_TEXTS = 16_384
"""The combinations of values of attributes whose texts are in a table."""
MAX_EXACT = 1e9
"""Up to this size the digits of a number follow from its whole part and its rest."""


def text_table(texts: Sequence[str]) -> ObjectArray:
    return np.array(texts, dtype=object)


THREE_DIGITS = text_table([f"{number:03d}" for number in range(1000)])
FLAG_TEXTS = text_table(["0", "1"])
TYPE_TEXTS = text_table([*map(json.dumps, ANOMALY_TYPES), "null"])
"""By the kind of a reading, -1 for a healthy one."""


@cache
def whole_number_texts() -> ObjectArray:
    """Return the texts of 0, 1, 2, ..., and from the end those of -0, -1, -2, ..."""
    return text_table(
        [*map(str, range(WHOLE_NUMBERS)), *(f"-{number}" for number in reversed(range(NEGATIVE_NUMBERS)))]
    )


@cache
def fraction_texts(decimals: int) -> tuple[str, ...]:
    """Return the rest of a number, behind its whole part, for each multiple of 10**-decimals."""
    return (".0", *(f".{number:0{decimals}d}".rstrip("0") for number in range(1, 10**decimals)))


def time_texts(times: IntArray) -> tuple[ObjectArray, ObjectArray]:
    """Return times, which must not decrease, in two parts: `2026-01-01T00:00:00.123` and three digits of microseconds."""
    milliseconds, rest = np.divmod(times, 1000)
    begins = np.empty(len(times), dtype=np.bool_)
    begins[:1] = True
    np.not_equal(milliseconds[1:], milliseconds[:-1], out=begins[1:])
    texts = text_table(np.datetime_as_string(milliseconds[begins].astype("datetime64[ms]")).tolist())
    return texts[np.cumsum(begins) - 1], THREE_DIGITS[rest]


def json_number(value: float) -> str:
    """Return a number as a database has it, which knows no negative zero."""
    return repr(value + 0.0)


class DecimalTexts:
    """The texts of one channel of several sensors: of each number the part before the point, and the rest.

    The values of a sensor are multiples of 10**-decimals.
    """

    def __init__(self, decimals: Sequence[int]) -> None:
        self._in_tables = max(decimals) <= MAX_TABLE_DECIMALS
        if not self._in_tables:
            return
        fractions: list[str] = []
        offsets = {}
        for each in sorted(set(decimals)):
            offsets[each] = len(fractions)
            fractions += fraction_texts(each)
        self._fractions = text_table(fractions)
        self._offsets = np.array([[offsets[each]] for each in decimals], dtype=np.int64)
        self._scales = np.array([[10.0**each] for each in decimals])

    def texts(self, values: FloatArray) -> tuple[ObjectArray, ObjectArray]:
        """Return the two parts of values of shape (sensors, readings)."""
        size = np.abs(values)
        largest = size.max()
        if not (self._in_tables and largest < MAX_EXACT):
            flat = text_table([json_number(value) for value in values.ravel().tolist()])
            return flat.reshape(values.shape), np.full(values.shape, "", dtype=object)
        whole = size.astype(np.int64)
        # Exact: taking the whole part away loses no bit, and the rest is within 1e-6 of a multiple of 10**-decimals.
        fraction = np.rint((size - whole) * self._scales).astype(np.int64)
        fraction += self._offsets
        np.invert(whole, out=whole, where=values < 0)  # -1 for -0.5
        return whole_texts(whole, largest), self._fractions[fraction]


def whole_texts(whole: IntArray, largest: float) -> ObjectArray:
    """Return the texts of whole numbers, of negative ones by their complement. None is larger than `largest`."""
    table = whole_number_texts()
    if largest < NEGATIVE_NUMBERS or (largest < WHOLE_NUMBERS and whole.min() >= -NEGATIVE_NUMBERS):
        found: ObjectArray = table[whole]
        return found
    different, places = np.unique(whole, return_inverse=True)
    texts: ObjectArray = text_table([str(number) if number >= 0 else f"-{~number}" for number in different.tolist()])
    return texts[places.reshape(whole.shape)]


class AttributeTexts:
    """The texts of attributes that follow each other in a line, each with the constant text before it, and the one behind the
    last. `types` are those of their columns."""

    def __init__(self, types: Sequence[ColumnType], before: Sequence[str], behind: str) -> None:
        self._types, self._before, self._behind = types, before, behind
        self._last: tuple[list[ValueTable], ObjectArray] = ([], text_table([]))

    def texts(self, columns: Sequence[Sequence[AttributeColumn]]) -> ObjectArray:
        """Return the texts of the columns of several sensors, shape (sensors, readings)."""
        result: ObjectArray = np.empty((len(columns), len(columns[0][0])), dtype=object)
        for row, mine in zip(result, columns, strict=True):
            tables = [column.table for column in mine]
            if prod(map(len, tables)) <= MAX_COMBINED_TEXTS:
                codes = mine[0].codes
                for column in mine[1:]:
                    codes = codes * len(column.table) + column.codes
                np.take(self._combined_texts(tables), codes, out=row, mode="clip")
            else:
                row[:] = ["".join(texts) for texts in zip(*map(self._texts, range(len(mine)), mine), strict=True)]
        return result

    def _combined_texts(self, tables: list[ValueTable]) -> ObjectArray:
        """Return the texts of all combinations of values of tables, which consecutive sensors mostly share."""
        if len(tables) != len(self._last[0]) or not all(map(is_, tables, self._last[0])):
            texts = product(*(self._table_texts(place, table) for place, table in enumerate(tables)))
            self._last = tables, text_table(["".join(each) for each in texts])
        return self._last[1]

    def _texts(self, place: int, column: AttributeColumn) -> list[str]:
        texts = self._table_texts(place, column.table)
        return [texts[code] for code in column.codes.tolist()]

    def _table_texts(self, place: int, table: ValueTable) -> list[str]:
        behind = self._behind if place + 1 == len(self._types) else ""
        return [f"{self._before[place]}{self._text(value, self._types[place])}{behind}" for value in table]

    def _text(self, value: Any, column_type: ColumnType) -> str:
        if value is None:
            return "null"
        return json_number(float(value)) if column_type == "REAL" else json.dumps(value)


def number_texts(first: int, end: int) -> ObjectArray:
    return text_table(list(map(str, range(first, end))))

"""The values of columns as JSON texts, looked up in tables: an array of texts for an array of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.attributes import ObjectArray
from worker.readings.generator import limits
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US, IntArray
from worker.spec import AttributeValue, Channel, ColumnType

MAX_TABLE_DECIMALS = 4
"""With more, a small number is written with an exponent."""
MAX_TABLE_VALUE = 100_000
MAX_CACHED_TEXTS = 65_536


def text_table(texts: Sequence[str]) -> ObjectArray:
    return np.array(texts, dtype=object)


THREE_DIGITS = text_table([f"{number:03d}" for number in range(1000)])
FLAG_TEXTS = text_table(["0", "1"])
TYPE_TEXTS = text_table([*map(json.dumps, ANOMALY_TYPES), "null"])
"""By the kind of a reading, -1 for a healthy one."""


def time_texts(times: IntArray) -> tuple[ObjectArray, ObjectArray, ObjectArray]:
    """Return times, which must not decrease, in three parts: `2026-01-01T00:00:00.`, milliseconds, microseconds."""
    seconds, micros = np.divmod(times, SECOND_US)
    begins = np.empty(len(times), dtype=np.bool_)
    begins[:1] = True
    np.not_equal(seconds[1:], seconds[:-1], out=begins[1:])
    texts = np.datetime_as_string(seconds[begins].astype("datetime64[s]"))
    table = text_table([f"{text}." for text in texts.tolist()])
    milliseconds, rest = np.divmod(micros, 1000)
    return table[np.cumsum(begins) - 1], THREE_DIGITS[milliseconds], THREE_DIGITS[rest]


def json_number(value: float) -> str:
    """Return a number as a database has it, which knows no negative zero."""
    return repr(value + 0.0)


class DecimalTexts:
    """The texts of one channel of several sensors: of each number the part before the point, and the rest.

    The values of a sensor are multiples of 10**-decimals within its limits.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        step = max(channel.instrument.resolution for channel in channels) + 1
        lowest = min(limits(channel)[0] for channel in channels) - step
        highest = max(limits(channel)[1] for channel in channels) + step
        decimals = [channel.decimals for channel in channels]
        self._in_tables = max(decimals) <= MAX_TABLE_DECIMALS and max(-lowest, highest) < MAX_TABLE_VALUE
        if not self._in_tables:
            return
        positive, negative = range(int(max(highest, 0)) + 1), range(int(max(-lowest, 0)) + 1)
        self._wholes = text_table([*map(str, positive), *(f"-{number}" for number in negative)])
        self._first_negative = len(positive)
        fractions: list[str] = []
        offsets = {}
        for each in sorted(set(decimals)):
            offsets[each] = len(fractions)
            fractions += [f".{number:0{each}d}".rstrip("0") for number in range(10**each)] if each else [".0"]
            fractions[offsets[each]] = ".0"
        self._fractions = text_table(fractions)
        self._offsets = np.array([[offsets[each]] for each in decimals], dtype=np.int64)
        self._scales = np.array([[10.0**each] for each in decimals])

    def texts(self, values: FloatArray) -> tuple[ObjectArray, ObjectArray]:
        """Return the two parts of values of shape (sensors, readings)."""
        if not self._in_tables:
            flat = text_table([json_number(value) for value in values.ravel().tolist()])
            return flat.reshape(values.shape), np.full(values.shape, "", dtype=object)
        size = np.abs(values)
        whole = size.astype(np.int64)
        # Exact: taking the whole part away loses no bit, and the rest is within 1e-6 of a multiple of 10**-decimals.
        fraction = np.rint((size - whole) * self._scales).astype(np.int64)
        fraction += self._offsets
        whole[values < 0] += self._first_negative
        return self._wholes[whole], self._fractions[fraction]


class AttributeTexts(dict[AttributeValue, str]):
    """The texts of an attribute's values, as a column of that type has them."""

    def __init__(self, column_type: ColumnType) -> None:
        super().__init__()
        self._type = column_type

    def __missing__(self, value: AttributeValue) -> str:
        text = self._text(value)
        if len(self) < MAX_CACHED_TEXTS:
            self[value] = text
        return text

    def _text(self, value: Any) -> str:
        if value is None:
            return "null"
        return json_number(float(value)) if self._type == "REAL" else json.dumps(value)


def attribute_texts(texts: AttributeTexts, columns: Sequence[list[AttributeValue]]) -> ObjectArray:
    """Return the texts of an attribute of several sensors, shape (sensors, readings)."""
    return np.array([[texts[value] for value in column] for column in columns], dtype=object)


def number_texts(first: int, end: int) -> ObjectArray:
    return text_table(list(map(str, range(first, end))))

"""Readings as tables of Arrow, which needs the extra `parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fleet.errors import UserError
from fleet.history.formats.file_format import TimeFormat, time_numbers
from fleet.history.table import BoolArray, ReadingColumnType, ReadingSchema, ReadingTable, TableColumn, int_column
from worker.readings.attributes import AttributeColumn
from worker.schedule import IntArray, format_times

try:
    import pyarrow as pa
except ImportError as error:
    raise UserError(f"this needs an extra: pip install 'sensor-fleet[parquet]' ({error})") from error

TEXT_TYPE = pa.dictionary(pa.int32(), pa.string())
ARROW_TYPES: dict[ReadingColumnType, Any] = {
    "TIME": pa.timestamp("us", tz="UTC"),
    "REAL": pa.float64(),
    "INTEGER": pa.int64(),
    "TEXT": TEXT_TYPE,
}
NUMPY_TYPES = {"REAL": np.float64, "INTEGER": np.int64}
TIME_TEXT_BYTES, PLAIN_TIME_BYTES = 32, 26
"""Of `2026-01-01T00:00:00.000000+00:00`, and of the text without the zone."""


def arrow_schema(schema: ReadingSchema) -> Any:
    """Return the types of columns as a schema of Arrow: texts are dictionaries."""
    return pa.schema([(name, ARROW_TYPES[column_type]) for name, column_type in schema.items()])


def arrow_batch(table: ReadingTable, schema: ReadingSchema) -> Any:
    """Return the columns of a schema as a record batch."""
    arrays = [arrow_array(table.columns.get(name), kind, len(table)) for name, kind in schema.items()]
    return pa.record_batch(arrays, schema=arrow_schema(schema))


def arrow_array(values: TableColumn | None, column_type: ReadingColumnType, count: int) -> Any:
    """Return a column of `count` readings, None for one that is NULL, as an array of Arrow."""
    target = ARROW_TYPES[column_type]
    if values is None:
        return pa.nulls(count, target)
    if not isinstance(values, AttributeColumn):
        numbers = number_array(values, np.isnan(values) if values.dtype == np.float64 else None)
        return numbers.cast(pa.string()).dictionary_encode() if column_type == "TEXT" else numbers.cast(target)
    if len(values.table) == 1:
        (value,) = values.table
        return pa.nulls(count, target) if value is None else constant_array(value, column_type, count)
    used = np.flatnonzero(np.bincount(values.codes, minlength=len(values.table))).tolist()
    # In an order that only depends on the values, so that the bytes of a file do.
    kept = sorted((code for code in used if values.table[code] is not None), key=lambda code: str(values.table[code]))
    places = np.zeros(len(values.table), dtype=np.int32)
    places[kept] = np.arange(len(kept))
    nulls = [code for code in used if values.table[code] is None]
    mask = np.isin(values.codes, nulls) if nulls else None
    indices = number_array(places[values.codes], mask)
    dictionary = [values.table[code] for code in kept]
    if column_type == "TEXT":
        return pa.DictionaryArray.from_arrays(indices, text_array(list(map(str, dictionary))))
    return number_array(np.array(dictionary, NUMPY_TYPES[column_type])).take(indices)


def constant_array(value: Any, column_type: ReadingColumnType, count: int) -> Any:
    if column_type == "TEXT":
        return pa.DictionaryArray.from_arrays(number_array(np.zeros(count, np.int32)), text_array([str(value)]))
    return number_array(np.full(count, value, NUMPY_TYPES[column_type]))


# `pa.array` would import pandas where it is installed, which takes a second and 60 MB in each process.


def number_array(values: npt.NDArray[Any], nulls: BoolArray | None = None) -> Any:
    """Return numbers as an array of Arrow that shares their memory; those at `nulls` are NULL."""
    values = np.ascontiguousarray(values)
    valid = None
    if nulls is not None and nulls.any():
        valid = pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [valid, pa.py_buffer(values)])


def text_array(texts: Sequence[str]) -> Any:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def time_text_array(times: IntArray) -> Any:
    """Return times as texts as a database has them."""
    plain = number_array(times).cast(pa.timestamp("us")).cast(pa.string())  # with a space, and without a zone
    data = plain.buffers()[2]
    count = len(times)
    ends = np.frombuffer(plain.buffers()[1], np.int32, count + 1)
    if not count or (np.diff(ends) != PLAIN_TIME_BYTES).any():
        return text_array(format_times(times))
    texts = np.empty((count, TIME_TEXT_BYTES), dtype=np.uint8)
    texts[:, :PLAIN_TIME_BYTES] = np.frombuffer(data, np.uint8, PLAIN_TIME_BYTES * count).reshape(count, -1)
    texts[:, 10] = ord("T")
    texts[:, PLAIN_TIME_BYTES:] = np.frombuffer(b"+00:00", np.uint8)
    offsets = np.arange(0, TIME_TEXT_BYTES * (count + 1), TIME_TEXT_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(texts))


NUMBER_TIMES = {"s": pa.float64(), "ms": pa.int64(), "us": pa.int64()}


def file_schema(schema: ReadingSchema, times: TimeFormat) -> Any:
    """Return the types of columns in a file with times of that format."""
    time_type = {"timestamp": ARROW_TYPES["TIME"], "text": pa.string(), **NUMBER_TIMES}[times]
    return pa.schema([(name, time_type if kind == "TIME" else ARROW_TYPES[kind]) for name, kind in schema.items()])


def file_batch(table: ReadingTable, schema: ReadingSchema, times: TimeFormat) -> Any:
    """Return the columns of a schema as a record batch, with times of that format."""
    arrays = [
        time_array(int_column(table.columns[name]), times)
        if kind == "TIME"
        else arrow_array(table.columns.get(name), kind, len(table))
        for name, kind in schema.items()
    ]
    return pa.record_batch(arrays, schema=file_schema(schema, times))


def time_array(values: IntArray, times: TimeFormat) -> Any:
    if times == "text":
        return time_text_array(values)
    return number_array(time_numbers(values, times)).cast(file_schema({"time": "TIME"}, times).field(0).type)

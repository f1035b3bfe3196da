"""The data of `COPY ... (FORMAT BINARY)`, made by column: a field of a row is its length (-1 for NULL) and its value.

Rows are laid out at once, with the fields of one width first and the usual others behind them; where others are not
the usual ones they are replaced.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fleet.delivery.batch import Repeated, Value
from fleet.delivery.columns import parse_timestamp

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)

FORMATS = {"double precision": ">f8", "bigint": ">i8"}
"""The form of the numbers of a type. All other types are texts."""

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH_US = int(EPOCH.timestamp()) * 1_000_000
"""The time that a TIMESTAMPTZ of 0 is, in microseconds since 1970."""

TIME_PATTERN = np.frombuffer(b"0000-00-00T00:00:00.000000+00:00", dtype=np.uint8)
"""A time as workers write it, with 0 for each digit."""

IS_DIGIT = TIME_PATTERN[:26] == ord("0")
FIRST_YEAR_US = int(np.datetime64("0001-01-01", "us").astype(np.int64))

Matrix = npt.NDArray[np.uint8]


class FixedField(NamedTuple):
    """Values of the same width in all rows."""

    values: npt.NDArray[Any]

    @property
    def length(self) -> bytes:
        return struct.pack(">i", self.values.itemsize)


Field = bytes | FixedField | list[bytes]
"""The field of a column: the same in all rows, of one width, or a field for each row."""


def copy_data(columns: Mapping[str, Sequence[Value]], types: Mapping[str, str]) -> tuple[tuple[str, ...], bytes]:
    """Return the data of rows, and the names of the columns in the order in which it has them. Columns without a type are
    left out; one of the type `timestamp with time zone` has the texts of times, which become NULL if they are none."""
    count = len(next(iter(columns.values())))
    fields = {name: field(values, types[name]) for name, values in columns.items() if name in types}
    fixed = {name: each for name, each in fields.items() if not isinstance(each, list)}
    varying = {name: each for name, each in fields.items() if isinstance(each, list)}
    ends = list(map(b"".join, zip(*varying.values(), strict=True))) if varying else [b""] * count
    ((usual_end, _),) = Counter(ends).most_common(1)
    rows = usual_rows(len(fields), fixed, usual_end, count)
    width, begin, parts = len(rows) // count, 0, [memoryview(SIGNATURE)]
    for index, end in enumerate(ends):
        if end != usual_end:
            after = (index + 1) * width
            parts += (rows[begin : after - len(usual_end)], memoryview(end))
            begin = after
    return (*fixed, *varying), b"".join((*parts, rows[begin:], TRAILER))


def usual_rows(columns: int, fields: Mapping[str, bytes | FixedField], end: bytes, count: int) -> memoryview:
    """Rows of `columns` fields: first `fields`, then `end`."""
    row, offsets = struct.pack(">h", columns), list[int]()
    arrays = {name: each.values for name, each in fields.items() if isinstance(each, FixedField)}
    for each in fields.values():
        if isinstance(each, bytes):
            row += each
        else:
            offsets.append(len(row) + len(each.length))
            row += each.length + bytes(each.values.itemsize)
    row += end
    formats = [array.dtype for array in arrays.values()]
    layout: Any = {"names": [*arrays], "formats": formats, "offsets": offsets, "itemsize": len(row)}
    rows: Any = np.full(count, np.void(row))
    for name, array in arrays.items():
        rows.view(np.dtype(layout))[name] = array
    return memoryview(rows).cast("B")


def field(values: Sequence[Value], type_name: str) -> Field:
    """Return the field of a column for a type of PostgreSQL."""
    if isinstance(values, Repeated):
        once = field((values.value,), type_name)
        return (
            once[0]
            if isinstance(once, list)
            else once
            if isinstance(once, bytes)
            else once.length + once.values.tobytes()
        )
    if type_name == "timestamp with time zone":
        return time_field(values)
    return number_field(values, FORMATS[type_name]) if type_name in FORMATS else text_field(values)


def number_field(values: Sequence[Any], form: str) -> Field:
    if None not in values:
        return FixedField(np.array(values, dtype=form))
    if not any(value is not None for value in values):
        return NULL
    data = np.array([0 if value is None else value for value in values], dtype=form).tobytes()
    texts = (data[begin : begin + 8] for begin in range(0, len(data), 8))
    return [NULL if value is None else one_text(text) for value, text in zip(values, texts, strict=True)]


def text_field(values: Sequence[Any]) -> Field:
    texts = text_matrix(values)
    if texts is not None:
        return FixedField(texts.view(f"V{texts.shape[1]}").ravel())
    # Most columns have few distinct texts.
    fields = {value: NULL if value is None else one_text(value.encode()) for value in set(values)}
    return [fields[value] for value in values] if len(fields) > 1 else fields.popitem()[1]


def one_text(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def text_matrix(values: Sequence[Any]) -> Matrix | None:
    """The texts as rows of bytes. None unless all are ASCII and of the same length, other than 0."""
    if None in values or len(widths := set(map(len, values))) != 1 or widths == {0}:
        return None
    text = "".join(values)
    return np.frombuffer(text.encode(), dtype=np.uint8).reshape(len(values), -1) if text.isascii() else None


def time_field(values: Sequence[Any]) -> Field:
    times = plain_times(values)
    if times is not None:
        return FixedField(times.astype(">i8"))
    return number_field([timestamp_us(str(text)) for text in values], ">i8")


def plain_times(values: Sequence[Any]) -> Any:
    """The times in microseconds since EPOCH. None unless all are valid and written as workers do it."""
    texts = text_matrix(values)
    if texts is None or texts.shape[1] != len(TIME_PATTERN):
        return None
    digits, plain = texts[:, :26] - ord("0"), texts == TIME_PATTERN
    if not (plain[:, 26:].all() and plain[:, :26][:, ~IS_DIGIT].all() and (digits[:, IS_DIGIT] < 10).all()):
        return None
    try:
        times = texts[:, :26].copy().view("S26").ravel().astype("datetime64[us]").astype(np.int64)
    except ValueError:
        return None
    return times - EPOCH_US if times.min() >= FIRST_YEAR_US else None


def timestamp_us(text: str) -> int | None:
    """A time in microseconds since EPOCH, None if it is invalid."""
    time = parse_timestamp(text)
    if time is None:
        return None
    since = time - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

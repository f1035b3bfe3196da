"""The columns of a delivered reading, and the conversion of values to their types.

SQLite takes text in a REAL column and a float in an INTEGER one, and databases of other simulators may have such rows. A
value that means the same in the type of its column is converted. A reading with any other value is rejected with the
reason, and the rest of the batch goes on.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import compress
from typing import Any

from fleet.delivery.batch import Batch, Columns, Repeated, Row, SourceDatabase, Value
from fleet.escaping import repr_short
from worker.storage.schema import CHANNEL_COLUMNS, IDENTITY_COLUMNS, READING_COLUMNS, RESERVED_COLUMN_NAMES

DELIVERED_COLUMNS = (*READING_COLUMNS, *IDENTITY_COLUMNS)
"""The columns of a reading that are delivered. `synced` is not: it is the source's own mark."""

REAL_COLUMNS = (*CHANNEL_COLUMNS, "latitude", "longitude", "height_meters", "orientation_degrees")
INTEGER_COLUMNS = ("status_code", "anomaly_flag", "seq")
TEXT_COLUMNS = tuple(column for column in DELIVERED_COLUMNS if column not in (*REAL_COLUMNS, *INTEGER_COLUMNS))

SOURCE_ONLY_COLUMNS = {"id": "source_id", "synced": None}
"""Columns of a source that are no content of a reading, with their name in a central table (None: not stored)."""

ORIGINAL_COLUMNS = frozenset((*DELIVERED_COLUMNS, *SOURCE_ONLY_COLUMNS))
"""The columns that every database of a fleet has."""

FURTHER_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)

REQUIRED_COLUMNS = ("timestamp", "sensor_id")

NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,2})?", re.ASCII)
"""A number as text, as it may stand in a column without a type."""

NONE_TYPE = type(None)

EXAMPLE_COLUMNS = {"REAL": CHANNEL_COLUMNS[0], "INTEGER": "seq", "TEXT": "sensor_id"}
"""A column of each type that a further column can have."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column.

    `accepts` checks a whole column at once: True if no value needs conversion. `convert` converts one value other than
    None, or raises ValueError.
    """

    accepts: Callable[[Sequence[Any]], bool]
    convert: Callable[[Any], Value]


def convert_column(
    values: Sequence[Value],
    column_type: ColumnType,
    *,
    missing: tuple[Value, ...] = (),
    max_errors: int = sys.maxsize,
) -> tuple[Sequence[Value], dict[int, str]]:
    """Convert the values of a column. Returns them, and the errors by index.

    `missing` are the values that count as missing in a required column. Stops after more than `max_errors` errors.
    """
    if isinstance(values, Repeated) and len(values):
        (value,), errors = convert_column((values.value,), column_type, missing=missing)
        return Repeated(value, len(values)), dict.fromkeys(range(len(values)), errors[0]) if errors else {}
    if column_type.accepts(values) and not any(value in values for value in missing):
        return values, {}
    result, errors = list(values), dict[int, str]()
    for index, value in enumerate(values):
        try:
            result[index] = convert_value(value, column_type, missing)
        except ValueError as error:
            errors[index] = str(error)
            if len(errors) > max_errors:
                break
    return result, errors


def convert_value(value: Value, column_type: ColumnType, missing: tuple[Value, ...] = ()) -> Value:
    """Convert one value. Raises ValueError."""
    if value in missing:
        raise ValueError("is missing")
    return None if value is None else column_type.convert(value)


@dataclass(frozen=True, slots=True)
class TypedReadings:
    """The readings of a batch by column, converted.

    `columns` has one value per reading for each of the `central_columns` of the source: a float, int or str, as the column's type is, or
    None. `rejected` has the readings that could not be converted and are not in `columns`, by id, with the reason.
    """

    columns: dict[str, Sequence[Value]]
    rejected: dict[int, str]

    def __len__(self) -> int:
        return len(self.columns["source_id"])


def content_columns(source: SourceDatabase) -> tuple[str, ...]:
    """The columns with the content of a source's readings, without where they lie in it. `extra` has the columns as JSON
    that are neither those of every fleet nor those of its kinds of sensor."""
    return (*DELIVERED_COLUMNS, *source.further_names, "extra")


def central_columns(source: SourceDatabase) -> tuple[str, ...]:
    """The columns of a central table whose values differ from row to row of a batch of the source."""
    return (*DELIVERED_COLUMNS, *source.further_names, "source_id", "extra")


def is_further_name(name: str) -> bool:
    """Check that a column of a target can have the name."""
    return (
        FURTHER_NAME.fullmatch(name) is not None and name not in ORIGINAL_COLUMNS and name not in RESERVED_COLUMN_NAMES
    )


def typed_readings(batch: Batch, *, nul: bool) -> TypedReadings:
    """Convert the readings of a batch. `nul` is False for a store that cannot keep the character NUL in a text."""
    types = TYPES if nul else TYPES_WITHOUT_NUL
    types = types | {name: types[EXAMPLE_COLUMNS[column_type]] for name, column_type in batch.source.further}
    columns = values_by_column(batch)
    reasons: dict[int, str] = {}
    for name in central_columns(batch.source):
        missing = (None,) if name in REQUIRED_COLUMNS or name == "seq" else ()
        columns[name], errors = convert_column(columns[name], types[name], missing=missing)
        for index, error in errors.items():
            reasons.setdefault(index, f"{name}: {error}")
    if reasons:
        good = [index not in reasons for index in range(len(batch.rows))]
        columns = {name: tuple(compress(values, good)) for name, values in columns.items()}
    return TypedReadings(columns, {batch.ids[index]: reason for index, reason in reasons.items()})


def values_by_column(batch: Batch) -> dict[str, Sequence[Value]]:
    """The unconverted values of a batch, by column of a central table."""
    source_values, count = batch.columns(), len(batch.rows)
    absent = Repeated(None, count)
    named = (*DELIVERED_COLUMNS, *batch.source.further_names)
    columns: dict[str, Sequence[Value]] = {name: source_values.get(name, absent) for name in named}
    columns["source_id"] = batch.ids
    if batch.source.foreign:
        columns["seq"] = batch.ids
    extra = extra_columns(batch.source)
    columns["extra"] = extra_documents(source_values, extra) if extra else absent
    return columns


def extra_columns(source: SourceDatabase) -> list[str]:
    """The columns of a source that a central table has no column for."""
    # Where the row id stands for seq, a column named seq is something else.
    known = {name for name in DELIVERED_COLUMNS if name != "seq" or not source.foreign}.union(source.further_names)
    return [name for name in source.columns if name not in known and name not in SOURCE_ONLY_COLUMNS]


def extra_documents(values: Columns, names: Sequence[str]) -> list[Value]:
    """The JSON of each reading for the column `extra`."""
    columns = [(name, index) for index, name in enumerate(names)]
    return [extra_json(row, columns) for row in zip(*(values[name] for name in names), strict=True)]


def extra_json(row: Row, columns: list[tuple[str, int]]) -> str | None:
    """The JSON for the column `extra`: `columns` are names with their index in the row. None if all values are NULL."""
    document = {name: json_value(row[index]) for name, index in columns if row[index] is not None}
    return json.dumps(document, ensure_ascii=False, sort_keys=True) if document else None


def json_value(value: Value) -> Value:
    """The value as JSON can hold it: bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else value


def converted_or_same(name: str, value: Value) -> Value:
    """The value converted to the type of the column `name`, or unchanged if it has none or cannot be converted."""
    if name not in TYPES:
        return value
    try:
        return convert_value(value, TYPES[name])
    except ValueError:
        return value


def parse_timestamp(timestamp: str) -> datetime | None:
    """A timestamp in UTC, None if it is invalid. Without an offset it is taken as UTC."""
    try:
        time = datetime.fromisoformat(timestamp)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


# Types


def are_reals(values: Sequence[Any]) -> bool:
    return {float, NONE_TYPE}.issuperset(map(type, values))


def are_integers(values: Sequence[Any]) -> bool:
    return {int, NONE_TYPE}.issuperset(map(type, values))


def are_texts(values: Sequence[Any]) -> bool:
    return {str, NONE_TYPE}.issuperset(map(type, values))


def are_storable_texts(values: Sequence[Any], *, nul: bool) -> bool:
    # Most columns have few distinct texts, so the set is small.
    return are_texts(values) and text_error("".join(text for text in set(values) if text is not None), nul=nul) is None


def to_real(value: Value) -> float:
    if isinstance(value, float) or (isinstance(value, int) and int(float(value)) == value):
        return float(value)
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    raise ValueError(f"{repr_short(value)} is no real number")


def to_integer(value: Value) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**63):
        return int(value)
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return to_integer(float(value) if set(value) & set(".eE") else int(value))
    raise ValueError(f"{repr_short(value)} is no whole number")


def to_text(value: Value, *, nul: bool) -> str:
    if isinstance(value, int | float):
        return str(value)
    error = text_error(value, nul=nul) if isinstance(value, str) else f"{repr_short(value)} is no text"
    if error is not None:
        raise ValueError(error)
    return str(value)


def text_error(value: str, *, nul: bool) -> str | None:
    """The reason why a text cannot be stored, or None."""
    if not nul and "\0" in value:
        return f"{repr_short(value)} has the character NUL in it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{repr_short(value)} is not Unicode"
    return None


def central_types(*, nul: bool) -> dict[str, ColumnType]:
    text = ColumnType(partial(are_storable_texts, nul=nul), partial(to_text, nul=nul))
    return {
        **dict.fromkeys(REAL_COLUMNS, ColumnType(are_reals, to_real)),
        **dict.fromkeys((*INTEGER_COLUMNS, "source_id"), ColumnType(are_integers, to_integer)),
        **dict.fromkeys((*TEXT_COLUMNS, "extra"), text),
    }


TYPES, TYPES_WITHOUT_NUL = central_types(nul=True), central_types(nul=False)

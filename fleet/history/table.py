"""Readings of one sensor by column, as arrays of numpy: names, order and values are those of `sensor_readings`, without `id`
and `synced`. No code here runs once for each reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.attributes import AttributeColumn, ValueTable
from worker.readings.generator import MISSING_DATA_INDEX, Block
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray, Schedule
from worker.spec import CHANNEL_NAMES, AttributeValue, ColumnType, Identity, Settings
from worker.storage.schema import (
    IDENTITY_COLUMNS,
    further_columns,
    further_identity_columns,
    further_identity_values,
    further_reading_columns,
    identity_values,
)

BoolArray = npt.NDArray[np.bool_]
TableColumn: TypeAlias = IntArray | FloatArray | AttributeColumn
"""int64; float64, NaN for NULL; or a table of values with a code for each reading, which a constant has as well."""

ReadingColumnType = ColumnType | Literal["TIME"]
ReadingSchema = Mapping[str, ReadingColumnType]
"""The types of columns by name, in their order. TIME is microseconds since 1970, UTC."""

TYPE_TABLE: ValueTable = (*ANOMALY_TYPES, None)
"""The values of `anomaly_type` by the kind of a reading; the last one, of index -1, is that of a healthy one."""

IDENTITY_TYPES: dict[str, ColumnType] = {
    name: "REAL" if name in ("latitude", "longitude", "height_meters", "orientation_degrees") else "TEXT"
    for name in IDENTITY_COLUMNS
}
ORIGINAL_SCHEMA: ReadingSchema = {
    "timestamp": "TIME",
    "sensor_id": "TEXT",
    **dict.fromkeys(CHANNEL_NAMES, "REAL"),
    "status_code": "INTEGER",
    "anomaly_flag": "INTEGER",
    "anomaly_type": "TEXT",
    **IDENTITY_TYPES,
    "seq": "INTEGER",
}
"""The columns that the readings of every sensor have."""


@dataclass(frozen=True, slots=True)
class ReadingTable:
    """Readings of one sensor in the order of their sequence numbers, or rows of another table. A column that is not among `columns` is NULL.

    `columns["timestamp"]` are the recorded times. `missing` marks readings that were not recorded, whose values are NULL;
    None if there are none in the table.
    """

    columns: Mapping[str, TableColumn]
    missing: BoolArray | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def times(self) -> IntArray:
        return int_column(self.columns["timestamp"])

    @property
    def seqs(self) -> IntArray:
        return int_column(self.columns["seq"])

    def chosen(self, rows: slice | BoolArray | IntArray) -> ReadingTable:
        """Return some of the readings."""
        columns = {name: chosen_values(values, rows) for name, values in self.columns.items()}
        return ReadingTable(columns, None if self.missing is None else self.missing[rows])


def int_column(values: TableColumn) -> IntArray:
    assert not isinstance(values, AttributeColumn)
    return values  # type: ignore[return-value] # times and sequence numbers are int64


def chosen_values(values: TableColumn, rows: slice | BoolArray | IntArray) -> TableColumn:
    if isinstance(values, AttributeColumn):
        return AttributeColumn(values.table, values.codes[rows])
    return values[rows]


def constant_column(value: AttributeValue, count: int) -> AttributeColumn:
    """Return a column with the same value in all readings, which takes no memory for each."""
    return AttributeColumn((value,), np.broadcast_to(np.int64(0), count))


def constant_columns(identity: Identity, count: int) -> dict[str, TableColumn]:
    """Return the columns that are the same in all readings of a sensor."""
    further = (column.name for column in further_identity_columns(identity))
    constants = dict(zip(IDENTITY_COLUMNS, identity_values(identity), strict=True))
    constants |= zip(further, further_identity_values(identity), strict=True)
    return {name: constant_column(value, count) for name, value in constants.items()}


def reading_schema(behaviours: Iterable[tuple[Identity, Settings]]) -> ReadingSchema:
    """Return the columns of sensors, given the identity and the settings of each of their epochs."""
    schema: dict[str, ReadingColumnType] = dict(ORIGINAL_SCHEMA)
    for identity, settings in behaviours:
        for name, column_type in further_columns(identity, settings):
            known = schema.setdefault(name, column_type)
            if known != column_type:
                schema[name] = "REAL" if {known, column_type} == {"REAL", "INTEGER"} else "TEXT"
    return schema


def table_of_block(
    block: Block, identity: Identity, settings: Settings, schedule: Schedule, *, keep_missing: bool = False
) -> ReadingTable:
    """Return the readings of a block as they are stored; with `keep_missing` also those that are missing, at the time at which
    they were due, with flag and type, and otherwise NULL."""
    missing = block.kinds == MISSING_DATA_INDEX
    if not missing.any():
        return whole_table(block, identity, settings)
    if not keep_missing:
        return whole_table(block, identity, settings).chosen(~missing)
    times = np.where(missing, schedule.times(block.first, block.size), block.times)
    table = whole_table(block._replace(times=times), identity, settings)
    names = varying_names(settings)
    return ReadingTable(
        {name: null_where(missing, values) if name in names else values for name, values in table.columns.items()},
        missing,
    )


def varying_names(settings: Settings) -> set[str]:
    """Return the names of the columns with what a sensor measures: its channels and attributes of readings."""
    return {*CHANNEL_NAMES, *(column.name for column in further_reading_columns(settings))}


def null_where(rows: BoolArray, values: TableColumn) -> TableColumn:
    """Return channel values or attributes with NULL in some rows."""
    if isinstance(values, AttributeColumn):
        table = values.table if None in values.table else (*values.table, None)
        return AttributeColumn(table, np.where(rows, table.index(None), values.codes))
    return np.where(rows, np.nan, values)


def whole_table(block: Block, identity: Identity, settings: Settings) -> ReadingTable:
    """Return all readings of a block."""
    flags = (block.kinds >= 0).astype(np.int64)
    columns: dict[str, TableColumn] = {"timestamp": block.times}
    for channel, values in zip(settings.channels, block.values, strict=True):
        columns[channel.name] = values + 0.0  # a database has no negative zero
    kinds = block.kinds.astype(np.int64)
    columns |= {
        "status_code": flags,
        "anomaly_flag": flags,
        "anomaly_type": AttributeColumn(TYPE_TABLE, np.where(kinds < 0, len(ANOMALY_TYPES), kinds)),
        "seq": np.arange(block.first, block.end, dtype=np.int64),
    }
    columns |= zip((attribute.name for attribute in settings.attributes), block.attributes, strict=True)
    return ReadingTable({**columns, **constant_columns(identity, block.size)})


def concatenated(tables: Sequence[ReadingTable]) -> ReadingTable:
    """Return consecutive readings of one sensor, at least one table, as one. Only columns that all tables have may be
    anything but floats or tables of values."""
    if len(tables) == 1:
        return tables[0]
    names = dict.fromkeys(name for table in tables for name in table.columns)
    missing = None
    if any(table.missing is not None for table in tables):
        missing = np.concatenate(
            [np.zeros(len(each), np.bool_) if each.missing is None else each.missing for each in tables]
        )
    return ReadingTable({name: joined_column(name, tables) for name in names}, missing)


def joined_column(name: str, tables: Sequence[ReadingTable]) -> TableColumn:
    parts = [table.columns.get(name) for table in tables]
    columns = [part for part in parts if isinstance(part, AttributeColumn)]
    if not columns:
        counts = map(len, tables)
        return np.concatenate(
            [np.full(count, np.nan) if part is None else part for part, count in zip(parts, counts, strict=True)]
        )
    longest = max((part.table for part in columns), key=len)
    if len(columns) == len(parts) and all(part.table == longest[: len(part.table)] for part in columns):
        if len(longest) == 1:
            return constant_column(longest[0], sum(map(len, columns)))
        return AttributeColumn(longest, np.concatenate([part.codes for part in columns]))
    return merged([as_table_column(part, len(table)) for part, table in zip(parts, tables, strict=True)])


def merged(columns: Sequence[AttributeColumn]) -> AttributeColumn:
    """Return columns with different tables as one, whose table has each value once."""
    numbers: dict[AttributeValue, int] = {}
    codes = []
    for column in columns:
        places = [numbers.setdefault(value, len(numbers)) for value in column.table]
        codes.append(np.array(places, dtype=np.int64)[column.codes])
    return AttributeColumn(tuple(numbers), np.concatenate(codes))


def as_table_column(values: TableColumn | None, count: int) -> AttributeColumn:
    """Return a column as a table of values with codes."""
    if values is None:
        return constant_column(None, count)
    if isinstance(values, AttributeColumn):
        return values
    different, codes = np.unique(values, return_inverse=True)
    table = tuple(None if value != value else value for value in different.tolist())  # noqa: PLR0124 - NaN
    return AttributeColumn(table, codes)


class Coder:
    """Numbers the different values of a column in the order in which they come."""

    def __init__(self, known: Sequence[Any] = ()) -> None:
        self._codes: dict[Any, int] = {value: code for code, value in enumerate(known)}

    @property
    def table(self) -> tuple[Any, ...]:
        return tuple(self._codes)

    def codes(self, values: Sequence[Any]) -> list[int]:
        codes = self._codes
        for value in dict.fromkeys(values):
            codes.setdefault(value, len(codes))
        return [codes[value] for value in values]


def coded_values(values: Sequence[Any]) -> AttributeColumn:
    """Return values as a table of those that differ, with codes."""
    coder = Coder()
    codes = np.array(coder.codes(values), dtype=np.int64)
    return AttributeColumn(coder.table, codes)

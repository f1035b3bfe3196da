"""The rows of a file: those of a sensor after the other, or a row for each time with the columns of all sensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fleet.history.selection import HistoryPart, measured_names, parts_between, time_span
from fleet.history.stages import COUNT_COLUMN, Aggregate, Holder, Resampler, with_due_times
from fleet.history.table import (
    ReadingColumnType,
    ReadingSchema,
    ReadingTable,
    TableColumn,
    as_table_column,
    concatenated,
)
from worker.readings.attributes import AttributeColumn
from worker.schedule import IntArray

Missing = Literal["omit", "null", "held"]
Layout = Literal["long", "wide"]

READINGS_PER_WINDOW = 1 << 17
"""Readings of all sensors that become rows with the columns of all at once."""


@dataclass(frozen=True, slots=True)
class RowOptions:
    """How readings become rows. Missing ones are left out, NULL, or held at the values before; `every_us` makes one row of
    all readings in an interval, None leaves them as they are."""

    missing: Missing = "omit"
    every_us: int | None = None
    aggregate: Aggregate = "mean"


def with_count(schema: ReadingSchema, options: RowOptions) -> ReadingSchema:
    """Return the columns that rows have: one more if they are of intervals."""
    if options.every_us is None:
        return schema
    return {**schema, COUNT_COLUMN: "INTEGER"}


def needed_columns(schema: ReadingSchema, options: RowOptions) -> Collection[str]:
    return {*schema, *(("anomaly_type",) if options.every_us else ())}


def sensor_rows(part: HistoryPart, schema: ReadingSchema, options: RowOptions) -> Iterator[ReadingTable]:
    """Yield the rows of a sensor."""
    columns = needed_columns(schema, options)
    tables = part.history.tables(part.first, part.end, columns, keep_missing=options.missing != "omit")
    return staged(part, tables, schema, options, Holder(measured_names([part])))


def staged(
    part: HistoryPart, tables: Iterable[ReadingTable], schema: ReadingSchema, options: RowOptions, holder: Holder
) -> Iterator[ReadingTable]:
    """Yield the rows that tables become."""
    if options.every_us is not None:
        resampler = Resampler(part.history.epochs, schema, measured_names([part]), options.every_us, options.aggregate)
        tables = resampler.resampled(tables)
    for table in tables:
        yield holder.held(table) if options.missing == "held" else table


def wide_schema(parts: Sequence[HistoryPart], schema: ReadingSchema, names: Sequence[str]) -> ReadingSchema:
    """Return the columns of rows that have those of all sensors, named SENSOR.COLUMN."""
    columns: dict[str, ReadingColumnType] = {"timestamp": "TIME"}
    for part in parts:
        own = {*measured_names([part])}
        known = {*measured_names(parts)} - own
        sensor = part.history.sensor_id
        columns |= {f"{sensor}.{name}": schema[name] for name in names if name not in known}
    return columns


def wide_rows(
    parts: Sequence[HistoryPart], schema: ReadingSchema, names: Sequence[str], options: RowOptions
) -> Iterator[ReadingTable]:
    """Yield a row for each time at which a sensor has a reading, which is when it was due, with the columns `names` of
    each."""
    holders = {part.history.sensor_id: Holder(names) for part in parts}
    plain = RowOptions("null" if options.missing == "held" else options.missing, options.every_us, options.aggregate)
    for start_us, end_us in time_windows(parts, options):
        tables = {}
        for part in parts_between(parts, start_us, end_us):
            columns = needed_columns({**dict.fromkeys(names, "REAL"), "seq": "INTEGER"}, options)
            some = part.history.tables(part.first, part.end, columns, keep_missing=options.missing != "omit")
            some = with_due_times(some, part.history.epochs)
            found = [*staged(part, some, schema, plain, Holder(()))]
            if found:
                tables[part.history.sensor_id] = concatenated(found)
        if tables:
            times = np.unique(np.concatenate([table.times for table in tables.values()]))
            columns_of_all: dict[str, TableColumn] = {"timestamp": times}
            for sensor, holder in holders.items():
                placed = placed_at(times, tables.get(sensor), names)
                own = holder.held(placed) if options.missing == "held" else placed
                columns_of_all |= {f"{sensor}.{name}": own.columns[name] for name in names if name in own.columns}
            yield ReadingTable(columns_of_all)


def time_windows(parts: Sequence[HistoryPart], options: RowOptions) -> Iterator[tuple[int, int]]:
    """Yield times that follow each other, in which about READINGS_PER_WINDOW readings are due; they begin at intervals."""
    first, last = time_span(parts)
    unit = options.every_us or 1
    windows = -(-sum(part.readings for part in parts) // READINGS_PER_WINDOW)
    step = -(-(last + 1 - first) // (windows * unit)) * unit
    for start in range(first // unit * unit, last + 1, step):
        yield start, start + step


def placed_at(times: IntArray, table: ReadingTable | None, names: Sequence[str]) -> ReadingTable:
    """Return columns of a table in the rows of its times, NULL in others."""
    if table is None:
        nothing: dict[str, TableColumn] = {name: np.full(len(times), np.nan) for name in names}
        return ReadingTable({"timestamp": times, **nothing}, np.ones(len(times), np.bool_))
    rows = np.searchsorted(times, table.times)
    there = np.zeros(len(times), np.bool_)
    there[rows] = True if table.missing is None else ~table.missing
    columns: dict[str, TableColumn] = {"timestamp": times}
    for name in names:
        if (values := table.columns.get(name)) is not None:
            columns[name] = placed_values(values, rows, len(times))
    return ReadingTable(columns, ~there)


def placed_values(values: TableColumn, rows: IntArray, count: int) -> TableColumn:
    if not isinstance(values, AttributeColumn) and values.dtype == np.float64:
        numbers = np.full(count, np.nan)
        numbers[rows] = values
        return numbers
    coded = as_table_column(values, len(rows))
    table = coded.table if None in coded.table else (*coded.table, None)
    codes = np.full(count, table.index(None))
    codes[rows] = coded.codes
    return AttributeColumn(table, codes)

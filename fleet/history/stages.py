"""What is done to the tables of a sensor before they are written: missing readings are held, readings are resampled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from fleet.history.source import due_times
from fleet.history.table import (
    BoolArray,
    ReadingColumnType,
    ReadingSchema,
    ReadingTable,
    TableColumn,
    chosen_values,
    concatenated,
)
from worker.readings.attributes import AttributeColumn
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray
from worker.storage.sinks import Epoch

Aggregate = Literal["mean", "min", "max", "first", "last"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

COUNT_COLUMN = "readings"
"""The column with the number of readings that became one."""

LABEL_COLUMNS = ("status_code", "anomaly_flag", "anomaly_type")


class Holder:
    """Gives missing readings of a sensor the values of the reading before. The tables are consecutive."""

    def __init__(self, measured: Iterable[str]) -> None:
        self._measured = frozenset(measured)
        self._last: ReadingTable | None = None

    def held(self, table: ReadingTable) -> ReadingTable:
        if not len(table):
            return table
        before = 0 if self._last is None else 1
        joined = table if self._last is None else concatenated([self._last, table])
        if joined.missing is not None:
            rows = np.maximum.accumulate(np.where(joined.missing, 0, np.arange(len(joined))))
            columns = {
                name: chosen_values(values, rows) if name in self._measured else values
                for name, values in joined.columns.items()
            }
            joined = ReadingTable(columns, joined.missing)
        last = joined.chosen(slice(len(joined) - 1, None))
        self._last = ReadingTable(last.columns)
        return joined.chosen(slice(before, None))


class Resampler:
    """Makes one reading of those that were due in an interval of `every_us`, counted from 1970. Numbers of the columns
    `measured` become their `aggregate`, other values are those of the last reading; a label is that of the first anomalous
    one. The time is the beginning of the interval; `readings` counts those that are not missing."""

    def __init__(
        self,
        epochs: Sequence[Epoch],
        schema: ReadingSchema,
        measured: Iterable[str],
        every_us: int,
        aggregate: Aggregate,
    ) -> None:
        self._epochs, self._schema, self._measured = epochs, schema, frozenset(measured)
        self._every_us, self._aggregate = every_us, aggregate

    def resampled(self, tables: Iterable[ReadingTable]) -> Iterator[ReadingTable]:
        """Yield the intervals of consecutive tables, each as a whole."""
        waiting: ReadingTable | None = None
        for table in tables:
            if not len(table):
                continue
            joined = table if waiting is None else concatenated([waiting, table])
            intervals = due_times(self._epochs, joined.seqs) // self._every_us
            begun = int(np.searchsorted(intervals, intervals[-1]))
            if begun:
                yield self._intervals(joined.chosen(slice(0, begun)), intervals[:begun])
            waiting = joined.chosen(slice(begun, None))
        if waiting is not None:
            yield self._intervals(waiting, due_times(self._epochs, waiting.seqs) // self._every_us)

    def _intervals(self, table: ReadingTable, intervals: IntArray) -> ReadingTable:
        starts = np.flatnonzero(np.diff(intervals, prepend=intervals[0] - 1))
        recorded = np.ones(len(table), np.bool_) if table.missing is None else ~table.missing
        counts = np.add.reduceat(recorded.astype(np.int64), starts)
        ends = np.append(starts[1:], len(table))
        last = last_recorded(recorded, starts, ends)
        columns: dict[str, TableColumn] = {}
        for name, values in table.columns.items():
            columns[name] = self._column(name, self._schema.get(name, "TEXT"), values, starts, last)
        columns["timestamp"] = intervals[starts] * self._every_us
        columns["seq"] = table.seqs[starts]
        if "anomaly_type" in table.columns:
            anomalous = first_anomalous(table, starts, last)
            columns |= {name: chosen_values(table.columns[name], anomalous) for name in LABEL_COLUMNS}
        columns[COUNT_COLUMN] = counts
        empty = counts == 0
        return ReadingTable(columns, empty if empty.any() else None)

    def _column(
        self, name: str, kind: ReadingColumnType, values: TableColumn, starts: IntArray, last: IntArray
    ) -> TableColumn:
        if name not in self._measured or kind != "REAL":
            return chosen_values(values, last)
        return aggregated(real_numbers(values), starts, self._aggregate)


def last_recorded(recorded: BoolArray, starts: IntArray, ends: IntArray) -> IntArray:
    """Return the last reading of each interval that is not missing, the last of all where all are."""
    rows = np.where(recorded, np.arange(len(recorded)), -1)
    last: IntArray = np.maximum.reduceat(rows, starts)
    return np.where(last < 0, ends - 1, last)


def first_anomalous(table: ReadingTable, starts: IntArray, last: IntArray) -> IntArray:
    """Return the first reading of each interval that has a type of anomaly and is recorded, the last one where none has."""
    types = table.columns["anomaly_type"]
    assert isinstance(types, AttributeColumn)
    healthy = np.isin(types.codes, [code for code, kind in enumerate(types.table) if kind is None])
    if table.missing is not None:
        healthy = healthy | table.missing
    rows = np.where(healthy, len(table), np.arange(len(table)))
    first: IntArray = np.minimum.reduceat(rows, starts)
    return np.where(first == len(table), last, first)


def real_numbers(values: TableColumn) -> FloatArray:
    """Return the values of a column of numbers as floats, NaN for NULL."""
    if not isinstance(values, AttributeColumn):
        return values.astype(np.float64)
    table = np.array([np.nan if value is None else float(value) for value in values.table])
    return table[values.codes]


def aggregated(values: FloatArray, starts: IntArray, aggregate: Aggregate) -> FloatArray:
    """Return one value for each interval, NaN where there is none but NaN."""
    present = ~np.isnan(values)
    counts = np.add.reduceat(present.astype(np.int64), starts)
    if aggregate in ("first", "last"):
        places = np.arange(len(values))
        if aggregate == "first":
            rows = np.minimum.reduceat(np.where(present, places, len(values) - 1), starts)
        else:
            rows = np.maximum.reduceat(np.where(present, places, 0), starts)
        return np.where(counts > 0, values[rows], np.nan)
    if aggregate == "mean":
        sums = np.add.reduceat(np.where(present, values, 0.0), starts)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    reduce, neutral = (np.fmin, np.inf) if aggregate == "min" else (np.fmax, -np.inf)
    extremes: FloatArray = reduce.reduceat(np.where(present, values, neutral), starts)
    return np.where(counts > 0, extremes, np.nan)


def with_due_times(tables: Iterable[ReadingTable], epochs: Sequence[Epoch]) -> Iterator[ReadingTable]:
    """Yield tables with the times at which readings were due instead of those that they record."""
    for table in tables:
        yield ReadingTable({**table.columns, "timestamp": due_times(epochs, table.seqs)}, table.missing)

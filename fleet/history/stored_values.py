"""The rows of `sensor_readings` as columns. Values are those that are stored; the columns that are the same in all readings of
an epoch are not read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from fleet.history.source import Columns
from fleet.history.table import TYPE_TABLE, Coder, ReadingTable, TableColumn, constant_columns, varying_names
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.attributes import AttributeColumn
from worker.readings.generator import MISSING_DATA_INDEX
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray
from worker.spec import ColumnType
from worker.storage.schema import further_reading_columns, quote_identifier
from worker.storage.sinks import Epoch

WINDOW_READINGS = 3000
"""Readings that one query asks for. With more, the objects of their rows leave the cache of the processor: 20,000 take twice the
time."""

LABEL_COLUMNS = ("status_code", "anomaly_flag", "anomaly_type")
# One NULL for a healthy reading instead of three values: these columns are a third of what is fetched otherwise.
LABEL_SQL = (
    "CASE WHEN status_code IS NOT 0 OR anomaly_flag IS NOT 0 OR anomaly_type IS NOT NULL "
    "THEN json_array(status_code, anomaly_flag, anomaly_type) END"
)
HEALTHY_LABEL = (0, 0, None)
HEALTHY = (None,)
"""The label of a healthy reading, which therefore has number 0."""
MISSING_LABEL = (1, 1, ANOMALY_TYPES[MISSING_DATA_INDEX])

BY_SEQ = "WHERE sensor_id = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq"
BY_ID = "WHERE id > ?4 AND id <= ?5 AND +sensor_id = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY id"
SELECT_IDS = "SELECT (SELECT min(id) FROM sensor_readings), (SELECT max(id) FROM sensor_readings)"

TIME_BYTES, DATE_BYTES = 32, 10
TIME_PATTERN = np.frombuffer(b"0000-00-00T00:00:00.000000+00:00", np.uint8)
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = np.timedelta64(1, "D")


class ForeignValue(Exception):
    """A value that no worker has stored. `str(error)` is one line."""


class RowReader:
    """Reads the readings of an epoch from the connection to a database, whose table has the columns `present`."""

    def __init__(self, connection: apsw.Connection, present: Sequence[str], epoch: Epoch, columns: Columns) -> None:
        self._connection, self._epoch = connection, epoch
        self._sensor_id = epoch.identity.sensor_id
        self._measured = varying_names(epoch.settings)
        further = {column.name: column.column_type for column in further_reading_columns(epoch.settings)}
        channels: dict[str, ColumnType] = {channel.name: "REAL" for channel in epoch.settings.channels}
        types = {
            name: kind
            for name, kind in {**channels, **further}.items()
            if name in present and (columns is None or name in columns)
        }
        self._reals = [name for name, kind in types.items() if kind == "REAL"]
        coded = [name for name, kind in types.items() if kind != "REAL"]
        self._labels = columns is None or not {*LABEL_COLUMNS}.isdisjoint(columns)
        self._coders = {name: Coder() for name in coded} | ({"": Coder(HEALTHY)} if self._labels else {})
        names = ["timestamp", "seq", *map(quote_identifier, (*self._reals, *coded)), *[LABEL_SQL] * self._labels]
        self._select = f"SELECT {', '.join(names)} FROM sensor_readings"

    def table(self, first: int, end: int, *, indexed: bool, keep_missing: bool) -> ReadingTable:
        """Return the readings `first` .. `end - 1`. Raises ForeignValue and apsw.Error."""
        times, seqs, *codes = (np.empty(end - first, dtype=np.int64) for _ in range(2 + len(self._coders)))
        reals = [np.empty(end - first) for _ in self._reals]
        count = 0
        for rows in self._by_seq(first, end) if indexed else self._by_id(first, end):
            if not rows:
                continue
            part = slice(count, count + len(rows))
            values = zip(*rows, strict=True)
            times[part], seqs[part] = parsed_times(next(values)), next(values)
            for name, numbers in zip(self._reals, reals, strict=True):
                numbers[part] = real_values(name, next(values))
            for coder, array in zip(self._coders.values(), codes, strict=True):
                array[part] = coder.codes(next(values))
            count += len(rows)
        columns: dict[str, TableColumn] = {"timestamp": times[:count], "seq": seqs[:count]}
        columns |= zip(self._reals, (numbers[:count] for numbers in reals), strict=True)
        for (name, coder), array in zip(self._coders.items(), codes, strict=True):
            columns |= (
                {name: AttributeColumn(coder.table, array[:count])} if name else label_columns(coder, array[:count])
            )
        table = ReadingTable({**columns, **constant_columns(self._epoch.identity, count)})
        return self._with_missing(table, first, end) if keep_missing and count < end - first else table

    def _by_seq(self, first: int, end: int) -> Iterator[list[Any]]:
        for begin in range(first, end, WINDOW_READINGS):
            bindings = (self._sensor_id, begin, min(end, begin + WINDOW_READINGS))
            yield self._connection.execute(f"{self._select} {BY_SEQ}", bindings).fetchall()

    def _by_id(self, first: int, end: int) -> Iterator[list[Any]]:
        """Yield the rows of a database of version 0.1.0, which has no index."""
        least, most = self._connection.execute(SELECT_IDS).fetchone() or (None, None)
        for after in range((least or 1) - 1, most or 0, WINDOW_READINGS):
            bindings = (self._sensor_id, first, end, after, after + WINDOW_READINGS)
            yield self._connection.execute(f"{self._select} {BY_ID}", bindings).fetchall()

    def _with_missing(self, table: ReadingTable, first: int, end: int) -> ReadingTable:
        """Return the table with rows for the readings between `first` and `end` that it lacks, due when they were due."""
        count = end - first
        missing = np.ones(count, dtype=np.bool_)
        places = table.seqs - first
        missing[places] = False
        times = self._epoch.schedule.times(first, count)
        times[places] = table.times
        columns: dict[str, TableColumn] = {"timestamp": times, "seq": np.arange(first, end, dtype=np.int64)}
        rows = np.full(count, len(table))
        rows[places] = np.arange(len(table))
        for name, values in table.columns.items():
            if name in LABEL_COLUMNS:
                columns[name] = spread(values, rows, MISSING_LABEL[LABEL_COLUMNS.index(name)])
            elif name in self._measured:
                columns[name] = spread(values, rows, None)
        return ReadingTable({**columns, **constant_columns(self._epoch.identity, count)}, missing)


def spread(values: TableColumn, rows: IntArray, other: Any) -> TableColumn:
    """Return values by their place, and `other` for the place behind the last one."""
    if isinstance(values, AttributeColumn):
        table = values.table if other in values.table else (*values.table, other)
        return AttributeColumn(table, np.append(values.codes, table.index(other))[rows])
    return np.append(values, np.nan if other is None else other)[rows]


def parsed_times(texts: Sequence[str]) -> IntArray:
    """Return times that are written as in a database, in microseconds since 1970. Raises ForeignValue."""
    count = len(texts)
    try:
        characters = np.frombuffer("".join(texts).encode(), np.uint8)
        lengths_fit = set(map(len, texts)) <= {TIME_BYTES} and len(characters) == TIME_BYTES * count
    except TypeError:
        lengths_fit = False
    if not lengths_fit:
        return np.array([parsed_time(text) for text in texts], dtype=np.int64)
    digits = (characters.reshape(count, TIME_BYTES).T - TIME_PATTERN[:, np.newaxis]).astype(np.int32)
    marks = np.not_equal(TIME_PATTERN, ord("0"))
    if digits[marks].any() or digits[26:].any() or digits.max(initial=0) > 9:
        return np.array([parsed_time(text) for text in texts], dtype=np.int64)
    d = digits[11:]
    seconds = ((d[0] * 10 + d[1]) * 60 + d[3] * 10 + d[4]) * 60 + d[6] * 10 + d[7]
    microseconds = ((((d[9] * 10 + d[10]) * 10 + d[11]) * 10 + d[12]) * 10 + d[13]) * 10 + d[14]
    times: IntArray = parsed_dates(characters.reshape(count, TIME_BYTES))
    times += seconds.astype(np.int64) * 1_000_000 + microseconds
    return times


def parsed_dates(characters: npt.NDArray[np.uint8]) -> IntArray:
    """Return the beginnings of days, whose dates the rows of characters begin with, in microseconds since 1970."""
    if not len(characters):
        return np.zeros(0, dtype=np.int64)
    dates = np.ascontiguousarray(characters[:, :DATE_BYTES]).view(f"S{DATE_BYTES}").ravel()
    first = dates[0]
    try:
        if (dates == first).all():
            return np.full(len(dates), first.astype("M8[us]").astype(np.int64))
        different, places = np.unique(dates, return_inverse=True)
        return different.astype("M8[us]").astype(np.int64)[places]
    except ValueError as error:
        raise ForeignValue(f"a timestamp that is no time: {error}") from error


def parsed_time(text: Any) -> int:
    try:
        return (datetime.fromisoformat(text).astimezone(UTC) - UNIX_EPOCH) // timedelta.resolution
    except (ValueError, TypeError, OverflowError) as error:
        raise ForeignValue(f"a timestamp that is no time: {text!r}"[:200]) from error


def label_columns(coder: Coder, codes: IntArray) -> dict[str, TableColumn]:
    """Return `status_code`, `anomaly_flag` and `anomaly_type` of labels as LABEL_SQL has them."""
    labels = [HEALTHY_LABEL if label is None else json.loads(str(label)) for label in coder.table]
    columns: dict[str, TableColumn] = {}
    for number, name in enumerate(LABEL_COLUMNS[:2]):
        table = tuple(label[number] for label in labels)
        whole = all(isinstance(value, int) for value in table)
        columns[name] = np.array(table, dtype=np.int64)[codes] if whole else AttributeColumn(table, codes)
    types = Coder(TYPE_TABLE)
    type_codes = np.array(types.codes([label[2] for label in labels]), dtype=np.int64)
    columns["anomaly_type"] = AttributeColumn(types.table, type_codes[codes])
    return columns


def real_values(name: str, values: Sequence[Any]) -> FloatArray:
    try:
        return np.array(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ForeignValue(f"a value of {name} that is no number: {error}"[:200]) from error

"""The readings of a database that stores none: a table `sensor_readings` of one connection, whose rows are computed when read.

A reading is a function of its epoch and its sequence number, so epochs and checkpoint stand for all readings before it. A
row has the columns and values that its worker would have stored; its id is the sequence number plus one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import apsw
import numpy as np

from worker.readings.generator import SignalGenerator
from worker.spec import Settings
from worker.storage.schema import (
    IDENTITY_COLUMNS,
    READING_COLUMNS,
    create_tables,
    epoch_from_row,
    further_columns,
    further_identity_columns,
    further_identity_values,
    further_reading_columns,
    identity_values,
    quote_identifier,
    stores_readings,
)
from worker.storage.sinks import Epoch
from worker.storage.transactions import reading_rows

Row = tuple[Any, ...]

MODULE_NAME = "computed_readings"

MIN_WINDOW_READINGS, MAX_WINDOW_READINGS = 64, 1024
"""Readings that are computed at once: few after a jump, then twice as many each time."""

MAX_CACHED_ROWS = 2048

MALFORMED_EPOCH_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors of a computation with an epoch that no worker has written."""

SELECT_NEXT_SEQS = "SELECT next_seq FROM main.checkpoints"
COUNT_EPOCHS = "SELECT count(*) FROM main.epochs"
SELECT_EPOCHS = "SELECT first_seq, start_us, reason, run, seed, identity, settings FROM main.epochs ORDER BY first_seq"

SEQ_INDEX = READING_COLUMNS.index("seq")
ROWID_COLUMN = -1

SEQS_BY_OPERATOR: dict[int, Callable[[int], tuple[int | None, int | None]]] = {
    apsw.SQLITE_INDEX_CONSTRAINT_EQ: lambda seq: (seq, seq + 1),
    apsw.SQLITE_INDEX_CONSTRAINT_GT: lambda seq: (seq + 1, None),
    apsw.SQLITE_INDEX_CONSTRAINT_GE: lambda seq: (seq, None),
    apsw.SQLITE_INDEX_CONSTRAINT_LT: lambda seq: (None, seq),
    apsw.SQLITE_INDEX_CONSTRAINT_LE: lambda seq: (None, seq + 1),
}
"""The first sequence number and the end, None for no limit, that a comparison leaves."""


def add_computed_readings(connection: apsw.Connection) -> ComputedReadings | None:
    """Give a connection to a database that stores no readings the table `sensor_readings`, and return what computes its rows.
    Other databases have the table. Raises apsw.Error."""
    if stores_readings(connection):
        return None
    connection.pragma("temp_store", 2)  # in memory
    readings = ComputedReadings(connection)
    module: Any = ComputedReadingsModule(readings)  # apsw declares the methods of writable tables as well
    connection.create_module(MODULE_NAME, module)
    connection.execute(f"CREATE VIRTUAL TABLE temp.sensor_readings USING {MODULE_NAME}")
    return readings


class ComputedReadingsModule:
    """The module of the virtual table, as apsw calls it."""

    def __init__(self, readings: ComputedReadings) -> None:
        self._readings = readings

    def Create(self, *_: Any) -> tuple[str, ComputedReadings]:  # noqa: N802 - apsw's name
        return self._readings.schema, self._readings

    Connect = Create


class CompiledEpoch(NamedTuple):
    """What computes the rows of an epoch. `arrange` takes a row of `reading_rows` followed by `constants`."""

    settings: Settings
    generator: SignalGenerator
    constants: Row
    arrange: Callable[[Row], Row]

    def rows(self, first: int, count: int) -> list[Row]:
        """Compute the readings from `first` on: their id, which is the sequence number plus one, and their other columns."""
        with np.errstate(all="ignore"):
            block = self.generator.block(first, count)
        constants, arrange = self.constants, self.arrange
        return [(row[SEQ_INDEX] + 1, *arrange(row + constants)) for row in reading_rows(self.settings, block)]


def compile_epoch(epoch: Epoch, columns: Mapping[str, str]) -> CompiledEpoch:
    """Return what computes the rows of an epoch, with these columns by their types."""
    identity, settings, schedule = epoch.identity, epoch.settings, epoch.schedule
    varying = (*READING_COLUMNS, *(column.name for column in further_reading_columns(settings)))
    constant = dict(zip(IDENTITY_COLUMNS, identity_values(identity), strict=True))
    further = (column.name for column in further_identity_columns(identity))
    constant |= zip(further, further_identity_values(identity), strict=True)
    values = {name: with_affinity(value, columns.get(name, "")) for name, value in constant.items()}
    names = [*varying, *values, "synced", None]  # None: a column of another kind of sensor
    chosen = [names.index(name if name in names else None) for name in columns if name != "id"]
    generator = SignalGenerator(epoch.seed, identity, settings, schedule.first_seq, schedule.start_us)
    return CompiledEpoch(settings, generator, (*values.values(), 0, None), itemgetter(*chosen))


class ComputedReadings:
    """The rows of the only sensor of a database. Each query sees the checkpoint and the epochs of its transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._epochs: list[Epoch] = []
        self._compiled: tuple[Epoch, CompiledEpoch] | None = None
        self._cached_first = self._cached_end = 0
        self._cached_rows: list[Row] = []
        self._read_epochs()
        self._columns = stored_columns() | further_column_types(self._epochs)
        self._seq_column = list(self._columns).index("seq")

    @property
    def schema(self) -> str:
        """The statement that declares the columns."""
        return f"CREATE TABLE readings ({', '.join(f'{quote_identifier(name)} {kind}' for name, kind in self._columns.items())})"

    # The interface of a virtual table

    def BestIndex(self, constraints: Sequence[tuple[int, int]], orders: Sequence[tuple[int, bool]]) -> Any:  # noqa: N802
        """Choose the comparisons of the id and of `seq`, and give the rows in the order that is asked for."""
        used: list[int | None] = []
        terms: list[str] = []
        for column, operator in constraints:
            known = column in (0, ROWID_COLUMN, self._seq_column) and operator in SEQS_BY_OPERATOR
            used.append(len(terms) if known else None)
            if known:
                terms.append(f"{operator}:{0 if column == self._seq_column else 1}")
        ordered = len(orders) == 1 and orders[0][0] in (0, ROWID_COLUMN, self._seq_column)
        cost = 1e6 / 10 ** min(len(terms), 2)
        return used, int(ordered and orders[0][1]), ",".join(terms), ordered, cost

    def Open(self) -> ComputedCursor:  # noqa: N802
        return ComputedCursor(self)

    def Disconnect(self) -> None:  # noqa: N802
        """Nothing is to be released."""

    Destroy = Disconnect

    # Rows

    def rows_of(self, ids: Sequence[int]) -> list[Row]:
        """Return the rows with these ascending ids. Faster than a query, which asks for each value by itself."""
        if not ids:
            return []
        wanted = set(ids)
        windows = self.rows(ids[0] - 1, ids[-1], descending=False)
        return [row for rows in windows for row in rows if row[0] in wanted]

    def rows(self, first: int, end: int | None, *, descending: bool) -> Iterator[list[Row]]:
        """Yield the rows of the readings `first` .. `end - 1`, at most up to the checkpoint. Raises apsw.CorruptError."""
        next_seq = self._next_seq()
        if self._connection.execute(COUNT_EPOCHS).get != len(self._epochs):
            self._read_epochs()
        end = next_seq if end is None else min(end, next_seq)
        first = max(first, self._epochs[0].schedule.first_seq) if self._epochs else end
        return self._descending(first, end) if descending else self._ascending(first, end)

    def _next_seq(self) -> int:
        positions = self._connection.execute(SELECT_NEXT_SEQS).fetchall()
        if not positions:
            return 0
        if len(positions) > 1 or not isinstance(positions[0][0], int):
            raise apsw.CorruptError("it stores no readings, and has not the checkpoint of one sensor")
        return positions[0][0]

    def _read_epochs(self) -> None:
        rows: list[Any] = self._connection.execute(SELECT_EPOCHS).fetchall()
        try:
            self._epochs = [epoch_from_row(*row) for row in rows]
        except MALFORMED_EPOCH_ERRORS as error:
            raise apsw.CorruptError(f"its epochs cannot be read: {type(error).__name__}: {error}") from error

    def _ascending(self, first: int, end: int) -> Iterator[list[Row]]:
        while first < end:
            rows, first = self._rows_from(first, end)
            yield rows

    def _descending(self, first: int, end: int) -> Iterator[list[Row]]:
        size = MIN_WINDOW_READINGS
        while first < end:
            begin = max(first, end - size)
            rows: list[Row] = []
            while begin < end:
                some, begin = self._computed(begin, end)
                rows += some
            yield rows[::-1]
            end, size = max(first, end - size), min(2 * size, MAX_WINDOW_READINGS)

    def _rows_from(self, first: int, end: int) -> tuple[list[Row], int]:
        """Return some rows from `first` on, and the sequence number after them. Those of the last calls are kept, because a
        collector reads first ids, then the rows."""
        if not self._cached_first <= first < self._cached_end:
            goes_on = first == self._cached_end and len(self._cached_rows) < MAX_CACHED_ROWS
            size = max(MIN_WINDOW_READINGS, min(len(self._cached_rows), MAX_WINDOW_READINGS))
            rows, until = self._computed(first, min(end, first + size))
            if not goes_on:
                self._cached_first, self._cached_rows = first, []
            self._cached_rows += rows
            self._cached_end = until
        until = min(end, self._cached_end)
        low, high = (bisect_left(self._cached_rows, (seq + 1,)) for seq in (first, until))
        return self._cached_rows[low:high], until

    def _computed(self, first: int, end: int) -> tuple[list[Row], int]:
        """Compute the rows from `first` up to `end` or the end of the epoch. Returns them and the number after them."""
        later = [epoch.schedule.first_seq for epoch in self._epochs if epoch.schedule.first_seq > first]
        epoch = self._epochs[len(self._epochs) - len(later) - 1]
        until = min([end, *later[:1]])
        try:
            if self._compiled is None or self._compiled[0] is not epoch:
                self._compiled = epoch, compile_epoch(epoch, self._columns)
            rows = self._compiled[1].rows(first, until - first)
        except MALFORMED_EPOCH_ERRORS as error:
            raise apsw.CorruptError(f"its epochs cannot be computed: {type(error).__name__}: {error}") from error
        return rows, until


class ComputedCursor:
    """The position of a query in the rows."""

    def __init__(self, readings: ComputedReadings) -> None:
        self._readings = readings
        self._windows: Iterator[list[Row]] = iter(())
        self._rows: list[Row] = []
        self._position = 0

    def Filter(self, descending: int, terms: str, values: Sequence[Any]) -> None:  # noqa: N802
        first, end = 0, None
        for term, value in zip(terms.split(",") if terms else (), values, strict=True):
            operator, shift = map(int, term.split(":"))
            if value is None:  # nothing compares with NULL
                end = 0
            elif isinstance(value, int):  # SQLite itself compares with other values
                low, high = SEQS_BY_OPERATOR[operator](value - shift)
                first = first if low is None else max(first, low)
                end = high if end is None else end if high is None else min(end, high)
        self._windows = self._readings.rows(first, end, descending=bool(descending))
        self._advance()

    def Next(self) -> None:  # noqa: N802
        self._position += 1
        if self._position == len(self._rows):
            self._advance()

    def Eof(self) -> bool:  # noqa: N802
        return self._position >= len(self._rows)

    def Column(self, number: int) -> Any:  # noqa: N802
        return self._rows[self._position][number if number != ROWID_COLUMN else 0]

    def Rowid(self) -> int:  # noqa: N802
        return int(self._rows[self._position][0])

    def Close(self) -> None:  # noqa: N802
        """Forget the rows."""
        self._windows, self._rows = iter(()), []

    def _advance(self) -> None:
        self._rows, self._position = next((rows for rows in self._windows if rows), []), 0


@lru_cache(maxsize=1)
def stored_columns() -> dict[str, str]:
    """Return the declarations of the columns that every database has, by name."""
    with closing(apsw.Connection(":memory:")) as connection:
        create_tables(connection)
        rows: Any = connection.execute("SELECT name, type, \"notnull\" OR pk FROM pragma_table_info('sensor_readings')")
        declared = {name: f"{kind} NOT NULL" if never_null else kind for name, kind, never_null in rows}
    return {**declared, "id": "INTEGER NOT NULL PRIMARY KEY"}


def further_column_types(epochs: Sequence[Epoch]) -> dict[str, str]:
    """Return the types of the columns behind `seq` by name, in the order in which the sensor has needed them."""
    types: dict[str, str] = {}
    for epoch in epochs:
        for column in further_columns(epoch.identity, epoch.settings):
            types.setdefault(column.name, column.column_type)
    return types


def with_affinity(value: Any, declared: str) -> Any:
    """Return the value as SQLite stores it in a column of that type."""
    return float(value) if declared == "REAL" and isinstance(value, int) else value

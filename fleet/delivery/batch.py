"""A batch of readings of one database, with the episodes and epochs that are delivered with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import overload

from fleet.delivery.faults.plan import Fault
from worker.storage.schema import FurtherColumn

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

FOREIGN_KEY_PREFIX = "foreign-"
"""The prefix of the key of a database without a generation: one that another simulator wrote."""

NAME_KEY_PREFIX = "path-"
"""The prefix of the key of a source that is known only by the name in an upload: its sender knows no generations."""


@dataclass(frozen=True, slots=True)
class SourceDatabase:
    """A database to sweep. `name` is its path below the swept directory, as it is sent to the target.

    `key` identifies its content everywhere: the generation, or FOREIGN_KEY_PREFIX and a fingerprint. `columns` are the
    columns of its `sensor_readings` in their order, `id` and `synced` included. `further` are those of them behind `seq`
    that belong to the kinds of its sensors.
    """

    path: Path
    name: str
    key: str
    columns: tuple[str, ...]
    further: tuple[FurtherColumn, ...] = ()

    @property
    def further_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.further)

    @property
    def foreign(self) -> bool:
        return self.key.startswith(FOREIGN_KEY_PREFIX)


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of a table of episodes or epochs, with the names of its columns."""

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()

    def documents(self) -> list[dict[str, Value]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def select(self, columns: Sequence[str]) -> list[Row]:
        """The rows with the given columns, in that order."""
        indexes = [self.columns.index(name) for name in columns]
        return [tuple(row[index] for index in indexes) for row in self.rows]

    def part(self, first: int, end: int) -> TableRows:
        return TableRows(self.columns, self.rows[first:end])


NO_ROWS = TableRows()


class Repeated(Sequence[Value]):
    """A column in which `count` rows have the same value."""

    def __init__(self, value: Value, count: int) -> None:
        self.value, self._count = value, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> Repeated: ...
    def __getitem__(self, index: int | slice) -> Value | Repeated:
        numbers = range(self._count)[index]
        return self.value if isinstance(numbers, int) else Repeated(self.value, len(numbers))

    def __iter__(self) -> Iterator[Value]:
        return repeat(self.value, self._count)


Columns = Mapping[str, Sequence[Value]]
"""Values by the name of their column, one for each row."""


class StoredRows(Sequence[Row]):
    """Rows of a database that are known by their ids and read on first use.

    A target that is a SQLite database itself copies them by id, so they are never read into memory.
    """

    def __init__(
        self,
        ids: tuple[int, ...],
        fetch: Callable[[tuple[int, ...]], list[Row]],
        fetch_columns: Callable[[tuple[int, ...]], Columns | None],
    ) -> None:
        """`fetch` returns one row for each id, `fetch_columns` the same by column, or None if only `fetch` can read them."""
        self.ids, self._fetch, self._fetch_columns = ids, fetch, fetch_columns
        self._rows: list[Row] | None = None

    def columns(self) -> Columns | None:
        """Read the values by column, without a row for each reading. None if the rows are needed or are read already."""
        return self._fetch_columns(self.ids) if self._rows is None else None

    def _read(self) -> list[Row]:
        if self._rows is None:
            self._rows = self._fetch(self.ids)
        return self._rows

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> StoredRows: ...
    def __getitem__(self, index: int | slice) -> Row | StoredRows:
        if isinstance(index, slice):
            return StoredRows(self.ids[index], self._fetch, self._fetch_columns)
        return self._read()[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._read())


@dataclass(frozen=True)
class Batch:
    """A batch. `rows` are in the order of their ids, each with a value for each of `source.columns`.

    `episodes` and `epochs` are new or have changed: a later one replaces an earlier one with the same (source, sensor,
    first_seq). A batch may have no rows: missing readings leave only an episode.

    `settles` is the id up to which all readings of the source are settled once this batch is stored, which becomes the
    cursor of a target that keeps one; None if that is unknown, as where others may have marked readings as delivered.
    """

    source: SourceDatabase
    rows: Sequence[Row]
    episodes: TableRows = NO_ROWS
    epochs: TableRows = NO_ROWS
    settles: int | None = None

    held: frozenset[int] = frozenset()
    """Readings that belong to this batch and come later, by their ids."""

    again: bool = False
    """The readings are copies on purpose: a target that knows them stores them again."""

    damages: Mapping[int, Fault] = field(default_factory=dict)
    """Readings whose record is damaged on purpose, by their ids."""

    @cached_property
    def ids(self) -> tuple[int, ...]:
        return self.rows.ids if isinstance(self.rows, StoredRows) else self._int_column("id")

    @cached_property
    def key_numbers(self) -> tuple[int | None, ...]:
        """The number of each reading: its seq, or its id in a source without seq. With source and sensor it is the key.

        None if the seq is missing, as in a database that another program has written to.
        """
        return self.ids if self.source.foreign else self._int_column("seq")

    def keys(self) -> Iterator[str]:
        """The key of each reading as text: GENERATION/SENSOR/SEQ."""
        sensor = self._column_index("sensor_id")
        for row, number in zip(self.rows, self.key_numbers, strict=True):
            yield f"{self.source.key}/{row[sensor]!s}/{number}"

    def columns(self) -> Columns:
        """The values by the columns of the source. Where rows can be read by column, none is made."""
        columns = self.rows.columns() if isinstance(self.rows, StoredRows) else None
        if columns is None:
            names = self.source.columns
            values = zip(*self.rows, strict=True) if self.rows else repeat((), len(names))
            columns = dict(zip(names, values, strict=True))
        return columns

    @property
    def token(self) -> str:
        """A digest of the batch, 32 hexadecimal digits: equal for the same readings, episodes and epochs of a database."""
        parts = (self.source.key, self.ids, self.episodes.rows, self.epochs.rows)
        return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()

    def documents(self) -> list[dict[str, Value]]:
        """The readings as JSON objects by column name, with `generation` and `key` added."""
        names = (*self.source.columns, "generation", "key")
        generation = self.source.key
        return [
            dict(zip(names, (*row, generation, key), strict=True))
            for row, key in zip(self.rows, self.keys(), strict=True)
        ]

    def part(self, first: int, end: int) -> Batch:
        """The readings at the indexes from `first` to before `end`; episodes and epochs go with the first part.
        A part settles nothing: parts may arrive in another order."""
        history = (self.episodes, self.epochs) if first == 0 else (NO_ROWS, NO_ROWS)
        return Batch(self.source, self.rows[first:end], *history)

    def without_history(self) -> Batch:
        return Batch(self.source, self.rows)

    def _column_index(self, column: str) -> int:
        return self.source.columns.index(column)

    def _int_column(self, column: str) -> tuple[int, ...]:
        index = self._column_index(column)
        return tuple(row[index] for row in self.rows)  # type: ignore[misc]  # the schema says INTEGER NOT NULL

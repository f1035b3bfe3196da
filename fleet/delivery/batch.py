"""A batch: readings of one database on their way to the target, with the episodes and epochs that go along."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

FOREIGN_KEY_PREFIX = "foreign-"
"""What the key of a database begins with that no generation names: one that another simulator wrote."""


@dataclass(frozen=True, slots=True)
class SourceDatabase:
    """A database that is swept. `name` is its path below the swept directory, as it is told to the target.

    `key` names its content in the world: the generation, or FOREIGN_KEY_PREFIX and a fingerprint. `columns` are those of its
    `sensor_readings`, in their order; `id` and `synced` are among them.
    """

    path: Path
    name: str
    key: str
    columns: tuple[str, ...]

    @property
    def foreign(self) -> bool:
        return self.key.startswith(FOREIGN_KEY_PREFIX)


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of one of a sensor database's other tables, the names of its columns beside them."""

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()

    def documents(self) -> list[dict[str, Value]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def part(self, first: int, end: int) -> TableRows:
        return TableRows(self.columns, self.rows[first:end])


NO_ROWS = TableRows()


class StoredRows(Sequence[Row]):
    """Rows of a database that are known by their ids, and read only when somebody looks at them: a target that is a
    database itself can fetch them without anybody holding them."""

    def __init__(self, ids: tuple[int, ...], fetch: Callable[[tuple[int, ...]], list[Row]]) -> None:
        """`fetch` returns the rows of ids, one each."""
        self.ids, self._fetch = ids, fetch
        self._rows: list[Row] | None = None

    def _read(self) -> list[Row]:
        if self._rows is None:
            self._rows = self._fetch(self.ids)
        return self._rows

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> StoredRows: ...
    def __getitem__(self, place: int | slice) -> Row | StoredRows:
        if isinstance(place, slice):
            return StoredRows(self.ids[place], self._fetch)
        return self._read()[place]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._read())


@dataclass(frozen=True)
class Batch:
    """`rows` in the order of their ids, each with a value for every one of `source.columns`.

    `episodes` and `epochs` are new or have changed; what arrives later replaces what was there under the same
    (source, sensor, first_seq). There may be no rows at all: missing readings have none, only an episode.
    """

    source: SourceDatabase
    rows: Sequence[Row]
    episodes: TableRows = NO_ROWS
    epochs: TableRows = NO_ROWS

    @cached_property
    def ids(self) -> tuple[int, ...]:
        return self.rows.ids if isinstance(self.rows, StoredRows) else self._int_column("id")

    @cached_property
    def key_numbers(self) -> tuple[int, ...]:
        """With the source's key and the sensor id, the key of each reading: its seq, or where there is none its id."""
        return self.ids if self.source.foreign else self._int_column("seq")

    def keys(self) -> Iterator[str]:
        """The key of each reading as text: GENERATION/SENSOR/SEQ."""
        place = self._column_index("sensor_id")
        for row, number in zip(self.rows, self.key_numbers, strict=True):
            yield f"{self.source.key}/{row[place]!s}/{number}"

    @property
    def last_id(self) -> int:
        return self.ids[-1] if self.ids else 0

    @property
    def token(self) -> str:
        """The same for the same readings, episodes and epochs of the same database; 32 hexadecimal digits."""
        parts = (self.source.key, self.ids, self.episodes.rows, self.epochs.rows)
        return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()

    def documents(self) -> list[dict[str, Value]]:
        """Each reading by column name, as other collectors send it, with `generation` and `key` added."""
        names = (*self.source.columns, "generation", "key")
        key = self.source.key
        return [
            dict(zip(names, (*row, key, own), strict=True)) for row, own in zip(self.rows, self.keys(), strict=True)
        ]

    def part(self, first: int, end: int) -> Batch:
        """The readings from number `first` up to `end` in this batch; episodes and epochs go with the beginning."""
        along = (self.episodes, self.epochs) if first == 0 else (NO_ROWS, NO_ROWS)
        return Batch(self.source, self.rows[first:end], *along)

    def without_history(self) -> Batch:
        return Batch(self.source, self.rows)

    def _column_index(self, column: str) -> int:
        return self.source.columns.index(column)

    def _int_column(self, column: str) -> tuple[int, ...]:
        place = self._column_index(column)
        return tuple(row[place] for row in self.rows)  # type: ignore[misc]  # the schema says INTEGER NOT NULL

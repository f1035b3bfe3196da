"""A table of the user's own in an SQLite database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from fleet.collection.batch import Row
from fleet.collection.source_database import quoted
from fleet.collection.sources import columns_of
from fleet.comparison.arrivals import CHUNK, PATIENCE_MS, pieces, unreadable
from fleet.errors import UserError
from fleet.storage.readings import Unreadable, connection
from fleet.verification.row_scan import LOWEST, RAW, readable


class SqliteTable:
    """A table, or a view: of that the order of arrival is not known, and it is read in one go."""

    def __init__(self, path: Path, table: str, sensor: str | None) -> None:
        """UserError if it cannot be read."""
        self.name = f"{path}: {table}"
        self._path, self._table, self._sensor = path, quoted(table), sensor
        self._door = connection(path)
        try:
            self._opened = self._door.__enter__()
            self._opened.set_busy_timeout(PATIENCE_MS)
            self.columns = columns_of(self._opened, table)
            if not self.columns:
                self.close()
                raise UserError(f"--against: {path} has no table {table}")
            self._last = self._last_row()
        except (Unreadable, apsw.Error) as error:
            raise unreadable(path, error) from error
        self.ordered = self._last is not None

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        try:
            yield from self._chunks(columns) if self.ordered else self._whole(columns)
        except apsw.Error as error:
            raise unreadable(self._path, error) from error

    def close(self) -> None:
        self._door.__exit__(None, None, None)

    def _last_row(self) -> int | None:
        """The last row id, 0 if there are none; None if it has no such ids."""
        try:
            found = self._opened.execute(f"SELECT max(rowid) FROM {self._table}").get
        except apsw.SQLError:
            return None
        return found if isinstance(found, int) else 0

    def _chunks(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        condition = f"AND rowid > ?2 AND rowid <= ?3 ORDER BY rowid LIMIT {CHUNK}"
        after = LOWEST
        while rows := self._fetch(("rowid", *map(quoted, columns)), condition, (self._sensor, after, self._last)):
            after = rows[-1][0]  # type: ignore[assignment]
            yield [row[1:] for row in rows]

    def _whole(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        yield from pieces(self._opened.execute(self._query(tuple(map(quoted, columns)), ""), (self._sensor,)))

    def _fetch(self, names: Sequence[str], condition: str, bindings: tuple[int | str | None, ...]) -> list[Row]:
        try:
            return self._opened.execute(self._query(names, condition), bindings).fetchall()
        except UnicodeDecodeError:
            raw = self._query([RAW.format(name) for name in names], condition)
            return [readable(row) for row in self._opened.execute(raw, bindings)]

    def _query(self, names: Sequence[str], condition: str) -> str:
        return f"SELECT {','.join(names)} FROM {self._table} WHERE (?1 IS NULL OR sensor_id = ?1) {condition}"

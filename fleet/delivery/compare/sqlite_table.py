"""A table of the user's own in an SQLite database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.delivery.batch import Row
from fleet.delivery.compare.delivered import BUSY_TIMEOUT_MS, CHUNK_ROWS, chunked, unreadable_error
from fleet.delivery.source_database import quote_identifier
from fleet.delivery.sources import table_columns
from fleet.errors import UserError
from fleet.verify.row_scan import MIN_ROW_ID, RAW_COLUMN_SQL, decode_row


class SqliteUserTable:
    """A table, or a view: of that the order of arrival is not known, and it is read in one go."""

    def __init__(self, path: Path, table: str, sensor: str | None) -> None:
        """UserError if it cannot be read."""
        self.name = f"{path}: {table}"
        self._path, self._table, self._sensor = path, quote_identifier(table), sensor
        self._context = read_only_connection(path)
        try:
            self._opened = self._context.__enter__()
            self._opened.set_busy_timeout(BUSY_TIMEOUT_MS)
            self.columns = table_columns(self._opened, table)
            if not self.columns:
                self.close()
                raise UserError(f"--against: {path} has no table {table}")
            self._last = self._last_row()
        except (DatabaseUnreadable, apsw.Error) as error:
            raise unreadable_error(path, error) from error
        self.ordered = self._last is not None

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        try:
            yield from self._chunks(columns) if self.ordered else self._whole(columns)
        except apsw.Error as error:
            raise unreadable_error(self._path, error) from error

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def _last_row(self) -> int | None:
        """The last row id, 0 if there are none; None if it has no such ids."""
        try:
            found = self._opened.execute(f"SELECT max(rowid) FROM {self._table}").get
        except apsw.SQLError:
            return None
        return found if isinstance(found, int) else 0

    def _chunks(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        condition = f"AND rowid > ?2 AND rowid <= ?3 ORDER BY rowid LIMIT {CHUNK_ROWS}"
        after = MIN_ROW_ID
        while rows := self._fetch(
            ("rowid", *map(quote_identifier, columns)), condition, (self._sensor, after, self._last)
        ):
            after = rows[-1][0]  # type: ignore[assignment]
            yield [row[1:] for row in rows]

    def _whole(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        yield from chunked(
            self._opened.execute(self._query(tuple(map(quote_identifier, columns)), ""), (self._sensor,))
        )

    def _fetch(self, names: Sequence[str], condition: str, bindings: tuple[int | str | None, ...]) -> list[Row]:
        try:
            return self._opened.execute(self._query(names, condition), bindings).fetchall()
        except UnicodeDecodeError:
            raw = self._query([RAW_COLUMN_SQL.format(name) for name in names], condition)
            return [decode_row(row) for row in self._opened.execute(raw, bindings)]

    def _query(self, names: Sequence[str], condition: str) -> str:
        return f"SELECT {','.join(names)} FROM {self._table} WHERE (?1 IS NULL OR sensor_id = ?1) {condition}"

"""Reading back a SQLite database: the tables of a collector, or a table of the user.

Normally all rows of a central database equal those of their sources, and SQLite can check that itself, three times as
fast as fetching the rows from both. Only rows that differ are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import apsw

from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.delivery.batch import Row
from fleet.delivery.columns import DELIVERED_COLUMNS, extra_columns
from fleet.delivery.compare.compared_columns import COMPARABLE_COLUMNS, IDENTITY_COLUMN, KEY_COLUMNS, identity_sql
from fleet.delivery.compare.delivered import (
    BATCH_INDEX,
    CENTRAL_ID_INDEX,
    CHUNK_ROWS,
    MAX_INTERLEAVED_SOURCES,
    UNKNOWN_TIME_US,
    DeliveredChunk,
    DeliveredReadings,
    chunked,
    group_by_source,
    unix_microseconds,
    unreadable_error,
)
from fleet.delivery.compare.documents import matched_table
from fleet.delivery.compare.generated import BUSY_TIMEOUT_MS, GeneratedReadings
from fleet.delivery.compare.id_set import consecutive
from fleet.delivery.compare.matching import DEFAULT_TABLE
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.sources import table_columns
from fleet.delivery.targets.central_schema import CENTRAL_ROLE
from fleet.errors import UserError
from fleet.verify.row_scan import MIN_ROW_ID, RAW_COLUMN_SQL, decode_row
from worker.storage.schema import quote_identifier

LOOKUP_COLUMNS = ("source_id", *KEY_COLUMNS)

MIN_ROWS_PER_RUN = 50
"""The mean number of consecutive rows from which the check in SQLite is faster."""

CACHE_KIB = 500
"""The cache for the target in each connection to a source; the target is read sequentially."""


@lru_cache(maxsize=64)
def count_equal_rows_sql(own: tuple[str, ...], of_others: tuple[str, ...]) -> str:
    """A SELECT that counts the rows which equal those of their source, and have NULL in the columns of other kinds."""
    names = (*DELIVERED_COLUMNS, *map(quote_identifier, own))
    conditions = [f"come.{name} IS here.{name}" for name in names]
    conditions += [f"come.{name} IS NULL" for name in map(quote_identifier, of_others)]
    return f"""
SELECT count(*) FROM central.sensor_readings AS come JOIN main.sensor_readings AS here ON here.id = come.source_id
WHERE come.id BETWEEN ? AND ? AND come.source = ? AND come.extra IS NULL AND {" AND ".join(conditions)}
"""


def open_sqlite_readings(path: Path, table: str | None, sensor: str | None, record: Record = ROW) -> DeliveredReadings:
    """Open a table of the user, or without one the tables of a collector if there are such. UserError if unreadable."""
    if path.is_dir():
        raise UserError(f"--against: {path} is a directory, not a database")
    if table is None and database_role(path) == CENTRAL_ROLE:
        return CentralSqliteReadings(path, sensor)
    return matched_table(SqliteUserTable(path, table or DEFAULT_TABLE, sensor), record, sensor)


def database_role(path: Path) -> str | None:
    """The role that a database has on record. UserError if it cannot be read."""
    try:
        with read_only_connection(path) as opened:
            columns = table_columns(opened, "database_info")
            return str(opened.execute("SELECT role FROM database_info").get) if "role" in columns else None
    except DatabaseUnreadable as error:
        raise unreadable_error(path, error) from error


class CentralSqliteReadings:
    """The tables of a collector, as they were when this was made."""

    has_reading_keys = ordered = True

    def __init__(self, path: Path, sensor: str | None) -> None:
        """UserError if it cannot be read."""
        self.name = str(path)
        self._path, self._sensor = path, sensor
        self._context = read_only_connection(path, held=True)
        self._received: dict[object, int] = {}
        self._further: tuple[str, ...] = ()
        try:
            self._opened = self._context.__enter__()
            self._opened.set_busy_timeout(BUSY_TIMEOUT_MS)
            self._present = table_columns(self._opened, "sensor_readings")
            self._last = self._opened.execute("SELECT max(id) FROM sensor_readings").get or 0
        except (DatabaseUnreadable, apsw.Error) as error:
            raise unreadable_error(path, error) from error

    def select_columns(self, further: tuple[str, ...]) -> tuple[str, ...]:
        self._further = further
        return (*further, *COMPARABLE_COLUMNS)

    @property
    def _all_columns(self) -> tuple[str, ...]:
        return (*LOOKUP_COLUMNS, *self._further, *COMPARABLE_COLUMNS)

    def read_chunks(self, generated: GeneratedReadings) -> Iterator[DeliveredChunk]:
        try:
            sources = {row[0]: row[1:] for row in self._execute("SELECT source, generation, name FROM sources")}
            many = len(sources) > MAX_INTERLEAVED_SOURCES
            for rows in self._by_source(sources) if many else self._by_arrival():
                for source, some in group_by_source(rows):
                    key, name = sources.get(source, (None, f"source {source}"))
                    times = self._times(some)
                    known_equal = not many and self._rows_are_equal(generated, key, source, some)
                    whole = some if many or known_equal else self._whole(source, some)
                    yield DeliveredChunk(key, name, whole, times, known_equal)
        except apsw.Error as error:
            raise unreadable_error(self._path, error) from error

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        query = (
            f"SELECT {','.join(columns)} FROM {table} JOIN sources USING (source) "
            "WHERE generation = ? AND sensor_id = ? ORDER BY first_seq"
        )
        try:
            return self._execute(query, (source, sensor)).fetchall()
        except apsw.Error as error:
            raise unreadable_error(self._path, error) from error

    def alarms(self) -> int:
        count = self._execute("SELECT count(*) FROM conflicts").get
        return count if isinstance(count, int) else 0

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def _execute(self, query: str, bindings: Sequence[Any] = ()) -> apsw.Cursor:
        return self._opened.execute(query, tuple(bindings))

    def _by_arrival(self) -> Iterator[list[Any]]:
        """Rows in their order of arrival, only with the columns that identify the reading."""
        return self._chunks(LOOKUP_COLUMNS, "id > ?2 AND id <= ?3", f"id LIMIT {CHUNK_ROWS}", limited=True)

    def _whole(self, source: int, rows: Sequence[Any]) -> list[Any]:
        """The same rows with all columns."""
        first, last = rows[0][CENTRAL_ID_INDEX], rows[-1][CENTRAL_ID_INDEX]
        condition = "source IS ?4 AND id > ?2 AND id <= ?3 AND id BETWEEN ?5 AND ?6"
        return list(chain.from_iterable(self._chunks(self._all_columns, condition, "id", source, first, last)))

    def _by_source(self, sources: Iterable[int]) -> Iterator[list[Any]]:
        """Rows source by source; those without an entry among the sources come last."""
        for source in sources:
            # Found by the index of keys, which begins with the source, then sorted.
            yield from self._chunks(self._all_columns, "source = ?4 AND id > ?2 AND id <= ?3", "+id", source)
        yield from self._chunks(
            self._all_columns, "source NOT IN (SELECT source FROM sources) AND id > ?2 AND id <= ?3", "id"
        )

    def _chunks(
        self, names: Sequence[str], condition: str, order: str, *bindings: int, limited: bool = False
    ) -> Iterator[list[Any]]:
        """Rows above the id ?2, in chunks. `limited`: the order has a LIMIT, and the query is repeated with a higher ?2."""
        after, shape = MIN_ROW_ID, column_sql_as_is
        while True:
            parameters = (self._sensor, after, self._last, *bindings)
            try:
                rows = None
                for rows in chunked(self._execute(self._select_sql(names, condition, order, shape), parameters)):
                    after = rows[-1][CENTRAL_ID_INDEX]
                    yield rows if shape is column_sql_as_is else [decode_row(row) for row in rows]
                if rows is None or not limited:
                    return
            except UnicodeDecodeError:
                shape = RAW_COLUMN_SQL.format

    def _select_sql(self, names: Sequence[str], condition: str, order: str, shape: Callable[[str], str]) -> str:
        """A SELECT of rows as in a DeliveredChunk, followed by their id, source and batch in this database."""
        columns = ",".join(shape(self._column_sql(name)) for name in names)
        return (
            f"SELECT {columns},id,source,batch FROM sensor_readings "
            f"WHERE (?1 IS NULL OR sensor_id = ?1) AND {condition} ORDER BY {order}"
        )

    def _column_sql(self, name: str) -> str:
        if name == IDENTITY_COLUMN:
            return identity_sql(quote_identifier)
        return quote_identifier(name) if name not in self._further or name in self._present else "NULL"

    def _rows_are_equal(self, generated: GeneratedReadings, key: str | None, source: int, rows: Sequence[Any]) -> bool:
        """Check in SQLite that the rows equal those of their source. False also if that is not possible or would be slow."""
        database = None if key is None else generated.databases.get(key)
        runs = list(consecutive_runs([row[CENTRAL_ID_INDEX] for row in rows]))
        if database is None or len(rows) < MIN_ROWS_PER_RUN * len(runs):
            return False
        columns, own = database.source.columns, database.source.further_names
        if database.source.foreign or extra_columns(database.source) or not set(DELIVERED_COLUMNS) <= set(columns):
            return False
        if not set(own) <= set(self._present):
            return False
        of_others = tuple(name for name in self._further if name not in own and name in self._present)
        statement = count_equal_rows_sql(own, of_others)
        try:
            opened = generated.connection(database)
            if "central" not in opened.db_names():
                opened.execute("ATTACH ? AS central", (f"{self._path.absolute().as_uri()}?mode=ro",))
                opened.execute(f"PRAGMA central.cache_size = -{CACHE_KIB}")
            counts = (opened.execute(statement, (first, last, source)).get for first, last in runs)
            return sum(count for count in counts if isinstance(count, int)) == len(rows)
        except (DatabaseUnreadable, apsw.Error):  # fetching the rows reports the reason
            return False

    def _times(self, rows: Sequence[Any]) -> Sequence[int]:
        """The time of arrival of each row; empty if one is unknown."""
        batches = list(map(itemgetter(BATCH_INDEX), rows))
        for batch in set(batches) - self._received.keys():
            received_at = self._execute("SELECT received_at FROM batches WHERE batch = ?", (batch,)).get
            self._received[batch] = unix_microseconds(received_at)
        times = list(map(self._received.__getitem__, batches))
        return () if UNKNOWN_TIME_US in times else times


def consecutive_runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive ids among ascending ids, as (first, last)."""
    if consecutive(ids):
        yield ids[0], ids[-1]
        return
    first = last = ids[0]
    for number in ids[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def column_sql_as_is(column: str) -> str:
    return column


class SqliteUserTable:
    """A table or a view of the user. The order of arrival in a view is unknown, and it is read by one query."""

    def __init__(self, path: Path, table: str, sensor: str | None) -> None:
        """UserError if it cannot be read."""
        self.name = f"{path}: {table}"
        self._path, self._table, self._sensor = path, quote_identifier(table), sensor
        self._context = read_only_connection(path, held=True)
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
        """The last row id, 0 for an empty table; None for a table or view without row ids."""
        try:
            last = self._opened.execute(f"SELECT max(rowid) FROM {self._table}").get
        except apsw.SQLError:
            return None
        return last if isinstance(last, int) else 0

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
        of_sensor = "sensor_id = ?1" if "sensor_id" in self.columns else "TRUE"
        return f"SELECT {','.join(names)} FROM {self._table} WHERE (?1 IS NULL OR {of_sensor}) {condition}"

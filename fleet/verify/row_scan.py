"""The rows of a database in the order of their insertion, in chunks; damaged pages are passed over.

The identity is compared by SQLite, because fetching its columns would take longer than all others together.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import apsw

from fleet.verify.expected import Row
from worker.storage.schema import IDENTITY_COLUMNS, READING_COLUMNS, READINGS_KEY, has_readings_key, quote_identifier

MIN_ROW_ID = -(1 << 63)
MAX_ROW_ID = (1 << 63) - 1

# A text that is not UTF-8 cannot be fetched as text, so the columns of such rows are fetched as bytes.
RAW_COLUMN_SQL = "CASE typeof({0}) WHEN 'text' THEN CAST({0} AS BLOB) WHEN 'blob' THEN 'blob ' || hex({0}) ELSE {0} END"

CREATE_IDENTITIES_TABLE = (
    f"CREATE TEMP TABLE IF NOT EXISTS who ({','.join(IDENTITY_COLUMNS)}, number, PRIMARY KEY (sensor_id)) WITHOUT ROWID"
)
DELETE_IDENTITIES = "DELETE FROM temp.who"
INSERT_IDENTITY = f"INSERT INTO temp.who VALUES ({','.join('?' * (len(IDENTITY_COLUMNS) + 1))})"
COUNT_BY_KEY = f"SELECT count(*) FROM sensor_readings INDEXED BY {READINGS_KEY}"
NEXT_ID = "SELECT id, seq FROM sensor_readings WHERE id > ? ORDER BY id LIMIT 1"
SELECT_COLUMN_NAMES = "SELECT name FROM pragma_table_xinfo('sensor_readings')"
LAST_ID = "SELECT max(id) FROM sensor_readings"
SELECT_IDENTITY = (
    f"SELECT {','.join(RAW_COLUMN_SQL.format(name) for name in IDENTITY_COLUMNS)} FROM sensor_readings WHERE id = ?"
)


@lru_cache(maxsize=64)
def scan_sql(*, many: bool, only: bool, raw: bool, further: tuple[str, ...] = ()) -> str:
    """Return the query of at most ?2 rows after the id ?1: id, READING_COLUMNS, `further` columns, and 1 if the identity
    matches.

    With `many` sensors the number of the row's sensor follows. Otherwise the identity of the one sensor is bound from ?3
    on, and `only` leaves out the rows of others. `raw` fetches text as bytes.
    """
    shape = RAW_COLUMN_SQL if raw else "{0}"
    names = (*READING_COLUMNS, *map(quote_identifier, further))
    columns = ",".join(shape.format(f"r.{name}") for name in names)
    wanted = [f"who.{name}" if many else f"?{number + 3}" for number, name in enumerate(IDENTITY_COLUMNS)]
    same = " AND ".join(f"r.{name} IS {value}" for name, value in zip(IDENTITY_COLUMNS, wanted, strict=True))
    # `+`: by id, as the index of (sensor_id, seq) would need a sort.
    join = "LEFT JOIN temp.who ON who.sensor_id = r.sensor_id" if many else ""
    return (
        f"SELECT r.id, {columns}, {same}{', who.number' if many else ''} FROM sensor_readings r {join}"
        f" WHERE r.id > ?1 {'AND +r.sensor_id = ?3' if only else ''} ORDER BY r.id LIMIT ?2"
    )


class RowChunk(NamedTuple):
    """Rows. `after` is the id to continue after, None at the end; `damage` describes the damage that ended the chunk."""

    rows: list[Row]
    after: int | None
    damage: str | None


class RowScanner:
    """Reads rows in the transaction of the caller."""

    def __init__(self, connection: apsw.Connection, *, only: bool) -> None:
        self._connection, self._only = connection, only
        self._identities: Sequence[Row] | None = None
        self._further: tuple[str, ...] = ()
        connection.pragma("temp_store", 2)  # in memory

    def last_id(self) -> int:
        """Return the largest row id, 0 if there are no rows."""
        last = self._connection.execute(LAST_ID).get
        return last if isinstance(last, int) else 0

    def set_identities(self, identities: Sequence[Row]) -> None:
        """Set the identities to compare with. If there are several, the position of the sensor is appended to each row."""
        if identities == self._identities:
            return
        self._identities = identities
        if len(identities) != 1:
            self._connection.execute(CREATE_IDENTITIES_TABLE)
            self._connection.execute(DELETE_IDENTITIES)
            numbered = [(*identity, number) for number, identity in enumerate(identities)]
            self._connection.executemany(INSERT_IDENTITY, numbered)

    def column_names(self) -> frozenset[str]:
        """Return the names of the columns of the table."""
        return frozenset(str(name) for (name,) in self._connection.execute(SELECT_COLUMN_NAMES))

    def set_further_columns(self, further: tuple[str, ...]) -> None:
        """Set the columns of the table that follow READING_COLUMNS in each row from now on."""
        self._further = further

    def read_chunk(self, after: int, limit: int) -> RowChunk:
        """Read at most `limit` rows after the id `after`."""
        damage = None
        try:
            rows = self._fetch(after, limit)
        except apsw.CorruptError as error:
            damage, rows = str(error), self._readable(after, limit)
        ids = [row[0] for row in rows]
        if ids and (ids[0] <= after or ids != sorted(ids)):
            damage, rows = "its rows are not in the order of their ids", rows[: count_ascending(after, ids)]
        last = rows[-1][0] if rows else after
        if damage is None:
            return RowChunk(rows, last if len(rows) == limit else None, None)
        return RowChunk(rows, self._next_readable(last), f"{damage}, after row {last}" if last > MIN_ROW_ID else damage)

    def read_other_tables(self) -> None:
        """Read the tables that nothing else reads, so that damage to them is detected."""
        for statement in ("SELECT * FROM database_info", "SELECT * FROM sqlite_sequence"):
            self._connection.execute(statement).fetchall()

    def index_damage(self) -> str | None:
        """Read the index of the readings, from which queries are answered, and describe damage to it."""
        if not has_readings_key(self._connection):
            return None
        try:
            self._connection.execute(COUNT_BY_KEY).fetchall()
        except apsw.CorruptError as error:
            return f"the index {READINGS_KEY}: {error}"
        return None

    def read_identity(self, row_id: int) -> Row:
        """Return the identity columns of a row."""
        row = self._connection.execute(SELECT_IDENTITY, (row_id,)).fetchone()
        return decode_row(row or ())

    def _execute(self, after: int, limit: int, *, raw: bool) -> apsw.Cursor:
        assert self._identities is not None
        many = len(self._identities) != 1
        bindings = (after, limit) if many else (after, limit, *self._identities[0])
        return self._connection.execute(scan_sql(many=many, only=self._only, raw=raw, further=self._further), bindings)

    def _fetch(self, after: int, limit: int) -> list[Row]:
        try:
            return self._execute(after, limit, raw=False).fetchall()
        except UnicodeDecodeError:
            return [decode_row(row) for row in self._execute(after, limit, raw=True)]

    def _readable(self, after: int, limit: int) -> list[Row]:
        """Return the rows before the damage."""
        rows: list[Row] = []
        with suppress(apsw.CorruptError):
            for row in self._execute(after, limit, raw=True):
                rows.append(decode_row(row))  # noqa: PERF401 - the rows before the damage are kept
        return rows

    def _next_readable(self, last: int) -> int | None:
        """Return the id after which rows can be read again, None if there are none."""
        failing, step = last, 1
        while last + step <= MAX_ROW_ID:
            try:
                row = self._connection.execute(NEXT_ID, (last + step,)).fetchone()
                return self._nearest_readable(failing, last + step) if row else None
            except apsw.CorruptError:
                failing, step = last + step, step * 2
        return None

    def _nearest_readable(self, failing: int, readable: int) -> int:
        """Return the smallest readable id between an id where reading fails and one where it succeeds."""
        while readable - failing > 1:
            middle = (failing + readable) // 2
            try:
                self._connection.execute(NEXT_ID, (middle,)).fetchone()
                readable = middle
            except apsw.CorruptError:
                failing = middle
        return readable


def count_ascending(after: int, ids: Sequence[int]) -> int:
    """Return the number of ids before the first that is not larger than its predecessor."""
    for number, row_id in enumerate(ids):
        if row_id <= after:
            return number
        after = row_id
    return len(ids)


def decode_row(row: Row) -> Row:
    """Decode the bytes of a row as UTF-8, invalid ones as escapes."""
    return tuple(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value for value in row)

"""A central SQLite database: batches go in, each in one transaction, every reading once whatever comes again."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path

import apsw

from fleet.delivery.batch import Batch, Row, StoredRows, TableRows, Value
from fleet.delivery.columns import (
    CENTRAL_COLUMNS,
    CONTENT_COLUMNS,
    DELIVERED_COLUMNS,
    SOURCE_ONLY_COLUMNS,
    json_value,
    typed_readings,
)
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.source_database import consecutive_ranges
from fleet.delivery.target import Receipt
from fleet.delivery.targets.central_schema import CENTRAL_ROLE, CENTRAL_SCHEMA_VERSION, central_schema
from fleet.errors import UserError
from worker.storage.connection import Transaction
from worker.storage.database_files import folder_lock

BUSY_MS = 5_000

CACHE_KIB = 16_384
"""The index of keys is written all over the place where many sensors take turns; this much of it stays in memory."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What a central database holds, in rows."""

    readings: int
    sources: int
    conflicts: int


class CentralDatabase:
    """The database at a path, made if need be. Safe for several threads; also several processes may have it open."""

    def __init__(self, path: Path) -> None:
        """UserError if there is something there that is no central database, or nothing can be made there."""
        self.path = path
        self._lock = threading.Lock()
        try:
            self._connection = open_central(path)
        except apsw.Error as error:
            raise UserError(f"{path}: cannot be the central database: {error}") from error

    def insert_batch(self, batch: Batch, received_at: datetime) -> Receipt:
        """Put a batch in. When this returns, it is on disk. apsw.Error if it could not be; then nothing of it is there."""
        with self._lock, attach_source(self._connection, batch) as beside, Transaction(self._connection):
            return SqliteDelivery(self._connection, batch, received_at, beside).run()

    def cursor(self, source: str) -> int:
        """The last row id of that source which has arrived, 0 for an unknown one. Raises apsw.Error."""
        with self._lock:
            found = self._connection.execute("SELECT cursor FROM sources WHERE generation = ?", (source,)).get
        return found if isinstance(found, int) else 0

    def counts(self) -> RowCounts:
        """Raises apsw.Error."""
        with self._lock:
            one = self._connection.execute
            readings = one("SELECT coalesce(max(id) - min(id) + 1, 0) FROM sensor_readings").get
            return RowCounts(
                readings, one("SELECT count(*) FROM sources").get, one("SELECT count(*) FROM conflicts").get
            )

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def open_central(path: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(str(path.absolute()), flags=flags)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("journal_mode", "WAL")
        # What was acknowledged is marked in the sensors' databases, and would not be sent again after a power failure.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        with Transaction(connection):
            check_is_sqlite(connection, path)
            connection.execute(central_schema("sqlite"))
            if not connection.execute("SELECT 1 FROM database_info").get:
                connection.execute(
                    "INSERT INTO database_info VALUES (?,?,?)",
                    (CENTRAL_ROLE, str(uuid.uuid4()), CENTRAL_SCHEMA_VERSION),
                )
    except (apsw.Error, UserError):
        connection.close(True)
        raise
    return connection


def check_is_sqlite(connection: apsw.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "database_info" in tables:
        role = connection.execute("SELECT role FROM database_info").get
        if role not in (None, CENTRAL_ROLE):
            raise UserError(f"{path}: is a sensor's database (role {role}): a central one is a file of its own")
    elif tables:
        raise UserError(f"{path}: has tables of something else ({', '.join(sorted(tables)[:3])}): give a new file")


@contextmanager
def attach_source(connection: apsw.Connection, batch: Batch) -> Iterator[bool]:
    """Whether the database that the batch's rows lie in can be read from here, as `source`: then SQLite copies them, which
    is twice as fast as carrying them through this program."""
    if not copyable(batch):
        yield False
        return
    path = batch.source.path.absolute()
    try:
        with folder_lock(path.parent):  # the database and its log are opened by name, one after the other
            # Read-only, or BEGIN IMMEDIATE would keep its writer waiting.
            connection.execute("ATTACH ? AS source", (f"{path.as_uri()}?mode=ro",))
            same = connection.execute("SELECT generation FROM source.database_info").get == batch.source.key
    except (apsw.Error, OSError):
        same = False
    if not same:
        detach(connection)
        yield False
        return
    try:
        yield True
    finally:
        detach(connection)


def detach(connection: apsw.Connection) -> None:
    if "source" in {name for _, name, _ in connection.execute("PRAGMA database_list")}:
        connection.execute("DETACH source")


ROWS_PER_STATEMENT = 50

SELECT_EXISTING = (
    f"SELECT batch, {','.join(CONTENT_COLUMNS)} FROM sensor_readings WHERE source = ? AND sensor_id = ? AND seq = ?"
)


COPY_READINGS = f"""
INSERT INTO sensor_readings (source, batch, source_id, {",".join(DELIVERED_COLUMNS)})
SELECT ?, ?, id, {",".join(DELIVERED_COLUMNS)} FROM source.sensor_readings WHERE id BETWEEN ? AND ? ORDER BY id
ON CONFLICT DO NOTHING
"""


@lru_cache(maxsize=64)
def insert_statement(names: tuple[str | None, ...], rows: int) -> str:
    """An INSERT of that many rows of a batch, of which ?1 is the source and ?2 the batch. `names` has the column for each
    value of a row, None for a value that is left out."""
    columns = [name for name in names if name is not None]
    first = 3
    values = []
    for row in range(rows):
        own = (f"?{first + row * len(names) + place}" for place, name in enumerate(names) if name is not None)
        values.append(f"(?1,?2,{','.join(own)})")
    return f"INSERT INTO sensor_readings (source,batch,{','.join(columns)}) VALUES {','.join(values)} ON CONFLICT DO NOTHING"


def upsert_statement(table: str, columns: tuple[str, ...]) -> str:
    names = ("source", *columns)
    return f"INSERT OR REPLACE INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"


UPSERT_EPISODE = upsert_statement("anomaly_episodes", EPISODE_COLUMNS)
UPSERT_EPOCH = upsert_statement("epochs", EPOCH_COLUMNS)


class SqliteDelivery:
    """One batch on its way in, inside a transaction."""

    def __init__(self, connection: apsw.Connection, batch: Batch, received_at: datetime, beside: bool) -> None:
        """`beside` is whether the database that the rows lie in is attached as `source`."""
        self._connection, self._batch, self._beside = connection, batch, beside
        self._received_at = received_at.astimezone(UTC).isoformat(timespec="microseconds")

    def run(self) -> Receipt:
        batch, connection = self._batch, self._connection
        source = self._source()
        values = (source, self._received_at, len(batch.rows), batch.token)
        connection.execute("INSERT INTO batches (source, received_at, readings, token) VALUES (?,?,?,?)", values)
        number = connection.last_insert_rowid()
        before = connection.total_changes()
        rejected = self._copy((source, number)) if self._beside else self._insert((source, number))
        come = connection.total_changes() - before
        duplicates = 0
        if come < len(batch.rows) - len(rejected):
            duplicates, others = self._compare((source, number))
            rejected |= others
        upsert_rows(connection, UPSERT_EPISODE, EPISODE_COLUMNS, batch.episodes, source)
        upsert_rows(connection, UPSERT_EPOCH, EPOCH_COLUMNS, batch.epochs, source)
        moved = "UPDATE sources SET cursor = max(cursor, ?) WHERE source = ?"
        connection.execute(moved, (batch.last_id, source))
        return Receipt(frozenset(batch.ids) - rejected.keys(), duplicates, rejected)

    def _source(self) -> int:
        source, execute = self._batch.source, self._connection.execute
        find = "SELECT source FROM sources WHERE generation = ?"
        found = execute(find, (source.key,)).get
        if not isinstance(found, int):
            execute("INSERT INTO sources (generation, name) VALUES (?,?)", (source.key, source.name))
            found = self._connection.last_insert_rowid()
        return found

    def _copy(self, same: tuple[int, int]) -> dict[int, str]:
        for first, last in consecutive_ranges(self._batch.ids, len(self._batch.ids)):
            self._connection.execute(COPY_READINGS, (*same, first, last))
        return {}

    def _insert(self, same: tuple[int, int]) -> dict[int, str]:
        """Returns what cannot be put in, and why."""
        names, rows, rejected = insertable_rows(self._batch)
        execute = self._connection.execute
        whole = len(rows) - len(rows) % ROWS_PER_STATEMENT
        for begin in range(0, whole, ROWS_PER_STATEMENT):
            some = rows[begin : begin + ROWS_PER_STATEMENT]
            execute(insert_statement(names, ROWS_PER_STATEMENT), (*same, *chain.from_iterable(some)))
        for row in rows[whole:]:
            execute(insert_statement(names, 1), (*same, *row))
        return rejected

    def _compare(self, same: tuple[int, int]) -> tuple[int, dict[int, str]]:
        """How many of the rows were here already, and of which ids with other content."""
        names, rows, unfit = insertable_rows(self._batch)
        duplicates, rejected = 0, dict[int, str]()
        source, number = same
        for own, row in zip((own for own in self._batch.ids if own not in unfit), rows, strict=True):
            came = dict.fromkeys(CENTRAL_COLUMNS) | {
                name: value for name, value in zip(names, row, strict=True) if name
            }
            key = (source, came["sensor_id"], came["seq"])
            batch, *values = self._connection.execute(SELECT_EXISTING, key).fetchall()[0]
            here = dict(zip(CONTENT_COLUMNS, values, strict=True))
            other = [name for name in CONTENT_COLUMNS if here[name] != came[name]]
            duplicates += not other and batch != number
            if other:
                rejected[own] = f"it is here already with another {', '.join(other)}"
                self._note_conflict(key, other, came)
        return duplicates, rejected

    def _note_conflict(self, key: tuple[Value, Value, Value], other: list[str], came: dict[str, Value]) -> None:
        document = json.dumps({name: json_value(value) for name, value in came.items()})
        values = (*key, self._received_at, ",".join(other), document)
        self._connection.execute("INSERT OR IGNORE INTO conflicts VALUES (?,?,?,?,?,?)", values)


def copyable(batch: Batch) -> bool:
    return isinstance(batch.rows, StoredRows) and has_own_columns(batch)


def has_own_columns(batch: Batch) -> bool:
    """Whether the source has our own columns, no more and no fewer."""
    columns = set(batch.source.columns)
    return (
        not batch.source.foreign
        and set(DELIVERED_COLUMNS) <= columns <= set(DELIVERED_COLUMNS) | SOURCE_ONLY_COLUMNS.keys()
    )


def insertable_rows(batch: Batch) -> tuple[tuple[str | None, ...], Sequence[Row], dict[int, str]]:
    """The rows of a batch, the column of the central table for each value in them, and the ids of those that cannot be put
    in, with the reason."""
    if has_own_columns(batch):
        return tuple(SOURCE_ONLY_COLUMNS.get(name, name) for name in batch.source.columns), batch.rows, {}
    readings = typed_readings(batch, nul=True)
    return (
        CENTRAL_COLUMNS,
        list(zip(*(readings.columns[name] for name in CENTRAL_COLUMNS), strict=True)),
        readings.rejected,
    )


def upsert_rows(
    connection: apsw.Connection, statement: str, columns: tuple[str, ...], table: TableRows, source: int
) -> None:
    if table.rows:
        places = [table.columns.index(name) for name in columns]
        connection.executemany(statement, [(source, *[row[place] for place in places]) for row in table.rows])

"""A central SQLite database: batches go in, each in one transaction, every reading once whatever comes again."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path

import apsw

from fleet.collection.batch import Batch, Row, Table, Value
from fleet.collection.central_schema import EPISODE, EPOCH, READING, ROLE, VERSION, schema
from fleet.collection.target import Receipt
from fleet.errors import UserError

BUSY_MS = 5_000

CACHE_KIB = 16_384
"""The index of keys is written all over the place where many sensors take turns; this much of it stays in memory."""

NOT_OURS = {"id": "source_id", "synced": None}
"""Columns of a source that say nothing of the reading: where the row lies, and whether it was fetched; and what becomes
of them here."""

COLUMNS = (*READING, "source_id", "extra")
"""What differs from row to row."""

ROWS_PER_STATEMENT = 50

COMPARED = (*READING, "extra")
EXISTING = f"SELECT batch, {','.join(COMPARED)} FROM sensor_readings WHERE source = ? AND sensor_id = ? AND seq = ?"


@lru_cache(maxsize=64)
def insert(names: tuple[str | None, ...], rows: int) -> str:
    """An INSERT of that many rows of a batch, of which ?1 is the source and ?2 the batch. `names` has the column for each
    value of a row, None for a value that is left out."""
    columns = [name for name in names if name is not None]
    first = 3
    values = []
    for row in range(rows):
        own = (f"?{first + row * len(names) + place}" for place, name in enumerate(names) if name is not None)
        values.append(f"(?1,?2,{','.join(own)})")
    return f"INSERT INTO sensor_readings (source,batch,{','.join(columns)}) VALUES {','.join(values)} ON CONFLICT DO NOTHING"


def upsert(table: str, columns: tuple[str, ...]) -> str:
    names = ("source", *columns)
    return f"INSERT OR REPLACE INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"


UPSERT_EPISODE = upsert("anomaly_episodes", EPISODE)
UPSERT_EPOCH = upsert("epochs", EPOCH)


@dataclass(frozen=True, slots=True)
class Counts:
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
            self._connection = opened(path)
        except apsw.Error as error:
            raise UserError(f"{path}: cannot be the central database: {error}") from error

    def take(self, batch: Batch, received_at: datetime) -> Receipt:
        """Put a batch in. When this returns, it is on disk. apsw.Error if it could not be; then nothing of it is there."""
        with self._lock, immediate(self._connection):
            return Delivery(self._connection, batch, received_at).run()

    def cursor(self, source: str) -> int:
        """The last row id of that source which has arrived, 0 for an unknown one. Raises apsw.Error."""
        with self._lock:
            found = self._connection.execute("SELECT cursor FROM sources WHERE generation = ?", (source,)).get
        return found if isinstance(found, int) else 0

    def counts(self) -> Counts:
        """Raises apsw.Error."""
        with self._lock:
            one = self._connection.execute
            readings = one("SELECT coalesce(max(id) - min(id) + 1, 0) FROM sensor_readings").get
            return Counts(readings, one("SELECT count(*) FROM sources").get, one("SELECT count(*) FROM conflicts").get)

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def opened(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("journal_mode", "WAL")
        # What was acknowledged is marked in the sensors' databases, and would not be sent again after a power failure.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        with immediate(connection):
            refuse_foreign(connection, path)
            connection.execute(schema("sqlite"))
            if not connection.execute("SELECT 1 FROM database_info").get:
                connection.execute("INSERT INTO database_info VALUES (?,?,?)", (ROLE, str(uuid.uuid4()), VERSION))
    except (apsw.Error, UserError):
        connection.close(True)
        raise
    return connection


def refuse_foreign(connection: apsw.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "database_info" in tables:
        role = connection.execute("SELECT role FROM database_info").get
        if role not in (None, ROLE):
            raise UserError(f"{path}: is a sensor's database (role {role}): a central one is a file of its own")
    elif tables:
        raise UserError(f"{path}: has tables of something else ({', '.join(sorted(tables)[:3])}): give a new file")


class immediate:  # noqa: N801 - used as contextlib's are
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when anything is raised."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class Delivery:
    """One batch on its way in, inside a transaction."""

    def __init__(self, connection: apsw.Connection, batch: Batch, received_at: datetime) -> None:
        self._connection, self._batch = connection, batch
        self._received_at = received_at.astimezone(UTC).isoformat(timespec="microseconds")

    def run(self) -> Receipt:
        batch, connection = self._batch, self._connection
        source = self._source()
        values = (source, self._received_at, len(batch.rows), batch.token)
        connection.execute("INSERT INTO batches (source, received_at, readings, token) VALUES (?,?,?,?)", values)
        number = connection.last_insert_rowid()
        names, rows = arranged(batch)
        before = connection.total_changes()
        self._insert(names, rows, (source, number))
        come = connection.total_changes() - before
        duplicates, rejected = (0, {}) if come == len(rows) else self._compare(names, rows, (source, number))
        along(connection, UPSERT_EPISODE, EPISODE, batch.episodes, source)
        along(connection, UPSERT_EPOCH, EPOCH, batch.epochs, source)
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

    def _insert(self, names: tuple[str | None, ...], rows: Sequence[Row], same: tuple[int, int]) -> None:
        execute = self._connection.execute
        whole = len(rows) - len(rows) % ROWS_PER_STATEMENT
        for begin in range(0, whole, ROWS_PER_STATEMENT):
            some = rows[begin : begin + ROWS_PER_STATEMENT]
            execute(insert(names, ROWS_PER_STATEMENT), (*same, *chain.from_iterable(some)))
        for row in rows[whole:]:
            execute(insert(names, 1), (*same, *row))

    def _compare(
        self, names: tuple[str | None, ...], rows: Sequence[Row], same: tuple[int, int]
    ) -> tuple[int, dict[int, str]]:
        """How many of the rows were here already, and of which ids with other content."""
        duplicates, rejected = 0, dict[int, str]()
        source, number = same
        for own, row in zip(self._batch.ids, rows, strict=True):
            came = dict.fromkeys(COLUMNS) | {name: value for name, value in zip(names, row, strict=True) if name}
            key = (source, came["sensor_id"], came["seq"])
            batch, *values = self._connection.execute(EXISTING, key).fetchall()[0]
            here = dict(zip(COMPARED, values, strict=True))
            other = [name for name in COMPARED if here[name] != came[name]]
            duplicates += not other and batch != number
            if other:
                rejected[own] = f"it is here already with another {', '.join(other)}"
                self._note_conflict(key, other, came)
        return duplicates, rejected

    def _note_conflict(self, key: tuple[Value, Value, Value], other: list[str], came: dict[str, Value]) -> None:
        document = json.dumps({name: shown(value) for name, value in came.items()})
        values = (*key, self._received_at, ",".join(other), document)
        self._connection.execute("INSERT OR IGNORE INTO conflicts VALUES (?,?,?,?,?,?)", values)


def arranged(batch: Batch) -> tuple[tuple[str | None, ...], Sequence[Row]]:
    """The rows of a batch, and the column of the central table for each value in them."""
    columns = batch.source.columns
    if set(READING) <= set(columns) <= set(READING) | NOT_OURS.keys() and not batch.source.foreign:
        return tuple(NOT_OURS.get(name, name) for name in columns), batch.rows
    known = {name: columns.index(name) for name in READING if name in columns and name != "seq"}
    rest = [(name, place) for place, name in enumerate(columns) if name not in known and name not in NOT_OURS]
    if not batch.source.foreign:
        rest = [(name, place) for name, place in rest if name != "seq"]
    rows = [
        (*(row[place] for place in known.values()), number, own, extra(row, rest))
        for row, number, own in zip(batch.rows, batch.numbers, batch.ids, strict=True)
    ]
    return (*known, "seq", "source_id", "extra"), rows


def extra(row: Row, rest: list[tuple[str, int]]) -> str | None:
    """As JSON what the central table has no column for."""
    found = {name: shown(row[place]) for name, place in rest if row[place] is not None}
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else None


def shown(value: Value) -> Value:
    """As JSON can say it."""
    return value.hex() if isinstance(value, bytes) else value


def along(connection: apsw.Connection, statement: str, columns: tuple[str, ...], table: Table, source: int) -> None:
    if table.rows:
        places = [table.columns.index(name) for name in columns]
        connection.executemany(statement, [(source, *[row[place] for place in places]) for row in table.rows])

"""A central SQLite database: each batch is inserted in one transaction, and a reading that comes again is stored once."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import apsw

from fleet.delivery.batch import NAME_KEY_PREFIX, Batch, Row, SourceDatabase, StoredRows, TableRows, Value
from fleet.delivery.columns import (
    DELIVERED_COLUMNS,
    ORIGINAL_COLUMNS,
    SOURCE_ONLY_COLUMNS,
    central_columns,
    content_columns,
    json_value,
    typed_readings,
)
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.source_database import consecutive_ranges
from fleet.delivery.target import Receipt
from fleet.delivery.targets.central_schema import CENTRAL_ROLE, CENTRAL_SCHEMA_VERSION, central_schema
from fleet.delivery.targets.sqlite.positions import Positions, load_positions
from fleet.delivery.targets.sqlite.statements import (
    ROWS_PER_STATEMENT,
    SELECT_NAMED_SOURCES,
    SELECT_TIMESTAMP,
    UPSERT_EPISODE,
    UPSERT_EPOCH,
    copy_readings_sql,
    insert_statement,
    select_existing_sql,
)
from fleet.errors import UserError
from worker.storage.connection import Transaction
from worker.storage.database_files import folder_lock
from worker.storage.insertion import SAME_NUMBERS, add_column_sql

CENTRAL_BUSY_TIMEOUT_MS = 5_000

SOURCE_ERRORS = (apsw.ConstraintError, apsw.CorruptError, apsw.IOError, UnicodeError)
"""The errors of a delivery that the source may have caused: a seq that is NULL, a damaged page."""

CACHE_KIB = 16_384
"""With many sensors the writes to the index of keys are scattered; this much of it stays in memory."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The numbers of rows in a central database."""

    readings: int
    sources: int
    conflicts: int


MAX_FURTHER_COLUMNS = 500
"""The columns beyond those of every fleet; SQLite has at most 2000 in a table."""

SELECT_COLUMN_TYPES = "SELECT name, upper(type) FROM pragma_table_xinfo('sensor_readings')"


class ColumnMismatch(Exception):
    """The central table cannot have a column that readings need. `str(error)` is one line."""


class CentralDatabase:
    """The central database at a path, created if absent. Thread-safe; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        """UserError if the path holds something else or cannot be created."""
        self.path = path
        self._lock = threading.Lock()
        self._columns: dict[str, str] = {}
        try:
            self._connection = open_central(path)
        except apsw.Error as error:
            raise UserError(f"{path}: cannot be the central database: {open_failure(path) or error}") from error

    def insert_batch(self, batch: Batch, received_at: datetime) -> Receipt:
        """Insert a batch; when this returns, it is on disk. After an apsw.Error nothing of it is stored.

        DatabaseUnreadable if the rows of the batch cannot be read, ColumnMismatch.
        """
        with self._lock:
            self._add_columns(batch.source)
            try:
                with attach_source(self._connection, batch) as attached, Transaction(self._connection):
                    return SqliteDelivery(self._connection, batch, received_at, attached=attached).run()
            except SOURCE_ERRORS:
                # Row by row the bad reading is found, or the source itself reports its damage.
                with Transaction(self._connection):
                    return SqliteDelivery(self._connection, batch, received_at, attached=False, checked=True).run()

    def insert_batches(
        self, batches: Sequence[Batch], received_at: datetime, positions: Positions | None = None
    ) -> list[Receipt]:
        """Insert batches, and the positions of their subscriber, in one transaction; when this returns, all is on disk.

        A batch for which the table cannot have a column is rejected as a whole. After an apsw.Error nothing is stored.
        """
        with self._lock:
            unfit = {index: reason for index, batch in enumerate(batches) if (reason := self._mismatch(batch.source))}
            with Transaction(self._connection):
                receipts = [
                    Receipt(frozenset(), rejected=dict.fromkeys(batch.ids, unfit[index]))
                    if index in unfit
                    else SqliteDelivery(self._connection, batch, received_at, attached=False, checked=True).run()
                    for index, batch in enumerate(batches)
                ]
                if positions is not None:
                    positions.save(self._connection)
            return receipts

    def positions(self, cluster: str) -> Positions:
        """The positions that were saved for a cluster of brokers. Raises apsw.Error."""
        with self._lock:
            return load_positions(self._connection, cluster)

    def _mismatch(self, source: SourceDatabase) -> str:
        try:
            self._add_columns(source)
        except ColumnMismatch as error:
            return str(error)
        return ""

    def _add_columns(self, source: SourceDatabase) -> None:
        """Add the columns that the kinds of a source's sensors need, in a transaction of their own."""
        if all(self._columns.get(column.name) == column.column_type for column in source.further):
            return
        with Transaction(self._connection):
            columns: Any = self._connection.execute(SELECT_COLUMN_TYPES).fetchall()
            present: dict[str, str] = dict(columns)
            for name, column_type in source.further:
                if name not in present:
                    if len(present) >= len(ORIGINAL_COLUMNS) + MAX_FURTHER_COLUMNS:
                        raise ColumnMismatch(f"{self.path}: sensor_readings has no room for the column {name}")
                    self._connection.execute(add_column_sql(name, column_type))
                    present[name] = column_type
                elif present[name] != column_type and not {present[name], column_type} <= SAME_NUMBERS:
                    raise ColumnMismatch(
                        f"{self.path}: sensor_readings.{name} has {type_noun(present[name])}, and {source.name} has "
                        f"{column_type} there: collect it into another database"
                    )
        self._columns |= dict(source.further)

    def cursor(self, source: str) -> int:
        """The row id up to which all readings of a source have arrived or were given up, 0 if unknown. Raises apsw.Error."""
        with self._lock:
            cursor = self._connection.execute("SELECT cursor FROM sources WHERE generation = ?", (source,)).get
        return cursor if isinstance(cursor, int) else 0

    def counts(self) -> RowCounts:
        """Raises apsw.Error."""
        with self._lock:
            one = self._connection.execute
            # Ids have gaps: a batch that was refused, a reading that came again.
            return RowCounts(
                one("SELECT count(*) FROM sensor_readings").get,
                one("SELECT count(*) FROM sources").get,
                one("SELECT count(*) FROM conflicts").get,
            )

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def open_failure(path: Path) -> str:
    """Explain why a database cannot be opened, empty if the path gives no reason: SQLite says the same of all of them."""
    folder = path.absolute().parent
    if path.is_dir():
        return "is a folder: name a file in it"
    if not folder.is_dir():
        return f"{folder} is no folder: create it, or name another one"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return "this user may not read and write it"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"this user may not write in {folder}"


def open_central(path: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(str(path.absolute()), flags=flags)
    try:
        connection.set_busy_timeout(CENTRAL_BUSY_TIMEOUT_MS)
        connection.pragma("journal_mode", "WAL")
        # Acknowledged readings are marked in their source, so they would not be sent again after a power failure.
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
    """Attach the database of the batch as `source`; yields False if that is not possible.

    SQLite then copies the rows itself, twice as fast as through this program.
    """
    if not copyable(batch):
        yield False
        return
    path = batch.source.path.absolute()
    try:
        with folder_lock(path.parent):  # SQLite opens the database and its log one after the other, by name
            # Read-only, or BEGIN IMMEDIATE would block its writer.
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


class SqliteDelivery:
    """The insertion of one batch, inside a transaction."""

    def __init__(
        self,
        connection: apsw.Connection,
        batch: Batch,
        received_at: datetime,
        *,
        attached: bool,
        checked: bool = False,
    ) -> None:
        """`attached`: the database of the batch is attached as `source`. `checked`: every value is checked first."""
        self._connection, self._batch, self._attached, self._checked = connection, batch, attached, checked
        self._received_at = received_at.astimezone(UTC).isoformat(timespec="microseconds")

    def run(self) -> Receipt:
        batch, connection = self._batch, self._connection
        source = self._source()
        values = (source, self._received_at, len(batch.rows), batch.token)
        connection.execute("INSERT INTO batches (source, received_at, readings, token) VALUES (?,?,?,?)", values)
        number = connection.last_insert_rowid()
        before = connection.total_changes()
        rejected = self._copy((source, number)) if self._attached else self._insert((source, number))
        inserted = connection.total_changes() - before
        duplicates = 0
        if inserted < len(batch.rows) - len(rejected):
            duplicates, conflicts = self._compare((source, number))
            rejected |= conflicts
        upsert_rows(connection, UPSERT_EPISODE, EPISODE_COLUMNS, batch.episodes, source)
        upsert_rows(connection, UPSERT_EPOCH, EPOCH_COLUMNS, batch.epochs, source)
        if batch.settles is not None:
            connection.execute("UPDATE sources SET cursor = max(cursor, ?) WHERE source = ?", (batch.settles, source))
        return Receipt(frozenset(batch.ids) - rejected.keys(), duplicates, rejected, note=self._stored_twice_note())

    def _stored_twice_note(self) -> str:
        """A note if the first reading of the batch is here from a sender that sends no generation; else an empty text."""
        source = self._batch.source
        if not self._batch.rows or source.key.startswith(NAME_KEY_PREFIX):
            return ""
        for number, name in self._connection.execute(SELECT_NAMED_SOURCES).fetchall():
            first = dict(zip(source.columns, next(iter(self._batch.rows[:1])), strict=True))
            key = (number, first["sensor_id"], first["id" if source.foreign else "seq"])
            if self._connection.execute(SELECT_TIMESTAMP, key).get == first["timestamp"]:
                return (
                    f"its readings are stored a second time: another program has sent them without their generation, as {name!r}; "
                    "collect into another place, or delete those in sensor_readings by that source"
                )
        return ""

    def _source(self) -> int:
        source, execute = self._batch.source, self._connection.execute
        number = execute("SELECT source FROM sources WHERE generation = ?", (source.key,)).get
        if not isinstance(number, int):
            execute("INSERT INTO sources (generation, name) VALUES (?,?)", (source.key, source.name))
            number = self._connection.last_insert_rowid()
        return number

    def _copy(self, source_and_batch: tuple[int, int]) -> dict[int, str]:
        statement = copy_readings_sql((*DELIVERED_COLUMNS, *self._batch.source.further_names))
        for first, last in consecutive_ranges(self._batch.ids, len(self._batch.ids)):
            self._connection.execute(statement, (*source_and_batch, first, last))
        return {}

    def _insert(self, source_and_batch: tuple[int, int]) -> dict[int, str]:
        """Insert the rows; returns the reasons for those that cannot be, by id."""
        names, rows, rejected = insertable_rows(self._batch, checked=self._checked)
        execute = self._connection.execute
        whole = len(rows) - len(rows) % ROWS_PER_STATEMENT
        for begin in range(0, whole, ROWS_PER_STATEMENT):
            some = rows[begin : begin + ROWS_PER_STATEMENT]
            execute(insert_statement(names, ROWS_PER_STATEMENT), (*source_and_batch, *chain.from_iterable(some)))
        for row in rows[whole:]:
            execute(insert_statement(names, 1), (*source_and_batch, *row))
        return rejected

    def _compare(self, source_and_batch: tuple[int, int]) -> tuple[int, dict[int, str]]:
        """Compare the batch with the stored rows. Returns the number of duplicates, and the reasons for conflicts by id."""
        names, rows, unfit = insertable_rows(self._batch, checked=self._checked)
        duplicates, rejected = 0, dict[int, str]()
        source, number = source_and_batch
        contents = content_columns(self._batch.source)
        select_existing = select_existing_sql(contents)
        for row_id, row in zip((row_id for row_id in self._batch.ids if row_id not in unfit), rows, strict=True):
            arrived = dict.fromkeys(central_columns(self._batch.source)) | {
                name: value for name, value in zip(names, row, strict=True) if name
            }
            key = (source, arrived["sensor_id"], arrived["seq"])
            batch, *values = self._connection.execute(select_existing, key).fetchall()[0]
            stored = dict(zip(contents, values, strict=True))
            differing = [name for name in contents if stored[name] != arrived[name]]
            duplicates += not differing and batch != number
            if differing:
                rejected[row_id] = f"it is here already with another {', '.join(differing)}"
                self._note_conflict(key, differing, arrived)
        return duplicates, rejected

    def _note_conflict(self, key: tuple[Value, Value, Value], differing: list[str], arrived: dict[str, Value]) -> None:
        document = json.dumps({name: json_value(value) for name, value in arrived.items()})
        values = (*key, self._received_at, ",".join(differing), document)
        self._connection.execute("INSERT OR IGNORE INTO conflicts VALUES (?,?,?,?,?,?)", values)


def copyable(batch: Batch) -> bool:
    return isinstance(batch.rows, StoredRows) and has_own_columns(batch)


def has_own_columns(batch: Batch) -> bool:
    """Check that the source has exactly the columns of a fleet's database of its kinds."""
    columns, wanted = set(batch.source.columns), {*DELIVERED_COLUMNS, *batch.source.further_names}
    return not batch.source.foreign and wanted <= columns <= wanted | SOURCE_ONLY_COLUMNS.keys()


def insertable_rows(batch: Batch, *, checked: bool) -> tuple[tuple[str | None, ...], Sequence[Row], dict[int, str]]:
    """The rows of a batch that can be inserted, after the column for each of their values (None: omit it), and the reasons
    for the others, by id."""
    if has_own_columns(batch) and not checked:
        return tuple(SOURCE_ONLY_COLUMNS.get(name, name) for name in batch.source.columns), batch.rows, {}
    readings, names = typed_readings(batch, nul=True), central_columns(batch.source)
    return names, list(zip(*(readings.columns[name] for name in names), strict=True)), readings.rejected


def type_noun(declared: str) -> str:
    return f"the type {declared}" if declared else "no type"


def upsert_rows(
    connection: apsw.Connection, statement: str, columns: tuple[str, ...], table: TableRows, source: int
) -> None:
    if table.rows:
        connection.executemany(statement, [(source, *row) for row in table.select(columns)])

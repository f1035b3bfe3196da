"""A central SQLite database: batches go in, each in one transaction, every reading once whatever comes again."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import apsw

from fleet.delivery.batch import Batch
from fleet.delivery.columns import CENTRAL_ROLE, CENTRAL_SCHEMA_VERSION, central_schema
from fleet.delivery.target import Receipt
from fleet.delivery.targets.central_writer import SqliteDelivery, copyable
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

"""Connections to one SQLite database: opening, transactions, integrity checks."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from pathlib import Path

import apsw

from worker.spec import Synchronous
from worker.storage.database_files import is_sqlite_file
from worker.storage.schema import SCHEMA_VERSION, create_tables, stores_readings
from worker.storage.wal_index import is_wal_truncated

BUSY_TIMEOUT_MS = 500
"""The time that one attempt waits for a lock; the worker retries for longer, and its retries can be interrupted."""

MAX_QUICK_CHECK_BYTES = 64 << 20
"""The largest database that is checked before it is used; the check takes 0.1 s (measured)."""

JOURNAL_SIZE_LIMIT_BYTES = 8 << 20
"""The size to which a write-ahead log is truncated after it has grown because of a long reader. Usually it has half of
that (a checkpoint every 1000 pages), and is not truncated."""

CHECKPOINT_PAGES_WITHOUT_READINGS = 100
"""Pages of a write-ahead log at which a database without readings is checkpointed. It has few pages, written again and again;
SQLite's 1000 would make the logs of a thousand sensors 4 GB."""

SELECT_BEYOND_CHECKPOINT = """
SELECT sensor_id FROM sensor_readings JOIN checkpoints USING (sensor_id) WHERE sensor_readings.seq >= next_seq AND next_seq >= 0
LIMIT 1
"""
"""Rows of a later state, in pages that a truncated write-ahead log no longer covers."""

UPDATE_RESTORED = "UPDATE database_info SET role = 'live', generation = ? WHERE role = 'backup'"


def describe_sqlite_error(error: apsw.Error) -> str:
    """Return SQLite's message, with the extended result code of an I/O error."""
    if isinstance(error, apsw.IOError):
        code: int = error.extendedresult  # type: ignore[attr-defined]
        return f"{error} ({apsw.mapping_extended_result_codes.get(code, code)})"
    return str(error)


def checkpoint_wal(path: Path) -> None:
    """Checkpoint the write-ahead log of a database and remove it, if no other process has the database open.

    Errors are ignored: the next process that opens the database will do it.
    """
    with (
        contextlib.suppress(apsw.Error),
        contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection,
    ):
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()


def finish_shared(path: Path, committed: Mapping[str, int]) -> str:
    """Checkpoint a database whose writers have ended, and describe what it lacks, "" if nothing.

    `committed` is the next sequence number of each sensor as its writer reported it.
    """
    if not is_sqlite_file(path):
        return "its first page was overwritten"
    if is_wal_truncated(path):
        return "its write-ahead log was cut short"
    checkpoint_wal(path)
    try:
        with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            stored = dict(connection.execute("SELECT sensor_id, next_seq FROM checkpoints"))
            check_integrity(connection)
    except (apsw.BusyError, apsw.LockedError):  # another program has it
        return ""
    except apsw.Error as error:
        return describe_sqlite_error(error)
    lacking = [sensor_id for sensor_id, next_seq in committed.items() if stored.get(sensor_id, 0) < next_seq]
    return f"it lacks committed readings of {len(lacking)} sensors, first {lacking[0]}" if lacking else ""


class Transaction:
    """A context manager: BEGIN IMMEDIATE ... COMMIT, or ROLLBACK after an exception.

    apsw's own `with connection` begins deferred, which in WAL mode fails at the first write if another connection has
    written since the first read.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
            except apsw.Error:
                self._rollback()
                raise
        else:
            self._rollback()

    def _rollback(self) -> None:
        # SQLite has already rolled back after some errors (disk full, I/O).
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def connect(
    path: Path, *, wal: bool = True, synchronous: Synchronous = "normal", readings: bool = True
) -> apsw.Connection:
    """Open the database at `path`; create it and its tables if necessary. Raises apsw.Error."""
    connection = apsw.Connection(str(path))
    try:
        configure_connection(connection, wal=wal, synchronous=synchronous, readings=readings)
    except apsw.Error:
        connection.close(True)
        raise
    return connection


def configure_connection(
    connection: apsw.Connection, *, wal: bool, synchronous: Synchronous, readings: bool = True
) -> None:
    """Set the pragmas of a connection, create missing tables, and make a restored backup the live database."""
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    # A fleet has thousands of connections, and each appends to the end of a table: a small cache is enough.
    connection.execute("PRAGMA cache_size = -256")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_BYTES}")
    mode = "WAL" if wal else "DELETE"
    if connection.pragma("journal_mode") != mode.lower():
        connection.pragma("journal_mode", mode)
    if connection.pragma("user_version") != SCHEMA_VERSION:
        with Transaction(connection):
            create_tables(connection, readings=readings)
            if not connection.execute("SELECT 1 FROM database_info").fetchone():
                write_database_info(connection, uuid.uuid4())
            connection.pragma("user_version", SCHEMA_VERSION)
    if not stores_readings(connection):
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES_WITHOUT_READINGS}")
    if connection.execute("SELECT role FROM database_info").get == "backup":
        # A restored backup: from here on its content differs from that of the database it replaces.
        with Transaction(connection):
            connection.execute(UPDATE_RESTORED, (str(uuid.uuid4()),))


def write_database_info(connection: apsw.Connection, generation: uuid.UUID) -> None:
    """Give a new database its role and its generation."""
    connection.execute("INSERT INTO database_info VALUES (?,?,?)", ("live", str(generation), SCHEMA_VERSION))


def check_integrity(connection: apsw.Connection) -> None:
    """Raise apsw.CorruptError if the database is damaged. One of more than MAX_QUICK_CHECK_BYTES is not checked."""
    if connection.pragma("page_count") * connection.pragma("page_size") > MAX_QUICK_CHECK_BYTES:
        return
    verdict = connection.execute("PRAGMA quick_check(1)").get
    if verdict != "ok":
        raise apsw.CorruptError(str(verdict).replace("\n", " "))
    if beyond := connection.execute(SELECT_BEYOND_CHECKPOINT).get:
        raise apsw.CorruptError(f"readings of {beyond} lie beyond its checkpoint")

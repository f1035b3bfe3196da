"""A connection to one SQLite database: how it is opened, how a transaction begins, and whether the file is sound."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

import apsw

from worker.spec import Synchronous
from worker.storage.schema import SCHEMA, SCHEMA_VERSION

BUSY_TIMEOUT_MS = 500
"""How long one attempt waits for a lock; the retries around it go on for longer, and can be interrupted."""

MAX_QUICK_CHECK_BYTES = 64 << 20
"""Bytes up to which a database is checked before it is used: measured 0.1 s."""

JOURNAL_SIZE_LIMIT_BYTES = 8 << 20
"""Bytes to which the log is cut when it is begun anew after it had to grow for a reader that stayed. Usually it has half
as much (a checkpoint every 1000 pages), and is not cut."""

SELECT_BEYOND_CHECKPOINT = """
SELECT sensor_id FROM sensor_readings JOIN checkpoints USING (sensor_id) WHERE sensor_readings.seq >= next_seq LIMIT 1
"""
"""What a log that was cut short can leave behind: rows of a later state in pages that it no longer covers."""

UPDATE_RESTORED = "UPDATE database_info SET role = 'live', generation = ? WHERE role = 'backup'"


def describe_sqlite_error(error: apsw.Error) -> str:
    """What SQLite says, and of an I/O error which one it is."""
    if isinstance(error, apsw.IOError):
        code: int = error.extendedresult  # type: ignore[attr-defined]
        return f"{error} ({apsw.mapping_extended_result_codes.get(code, code)})"
    return str(error)


def checkpoint_wal(path: Path) -> None:
    """Put what is in the log of a database into it, and remove the log, if nobody has it open; else that is left to who
    opens it next."""
    with (
        contextlib.suppress(apsw.Error),
        contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection,
    ):
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()


class Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when anything is raised.

    apsw's own `with connection` begins deferred, which in WAL fails at the first write if somebody wrote since the
    first read.
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


def connect(path: Path, *, wal: bool = True, synchronous: Synchronous = "normal") -> apsw.Connection:
    """Open or create the database at `path` with its tables. Raises apsw.Error."""
    connection = apsw.Connection(str(path))
    try:
        configure_connection(connection, wal=wal, synchronous=synchronous)
    except apsw.Error:
        connection.close(True)
        raise
    return connection


def configure_connection(connection: apsw.Connection, *, wal: bool, synchronous: Synchronous) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    # A fleet has thousands of connections; each appends to the end of a table, for which little cache is enough.
    connection.execute("PRAGMA cache_size = -256")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_BYTES}")
    mode = "WAL" if wal else "DELETE"
    if connection.pragma("journal_mode") != mode.lower():
        connection.pragma("journal_mode", mode)
    if connection.pragma("user_version") != SCHEMA_VERSION:
        with Transaction(connection):
            connection.execute(SCHEMA)
            if not connection.execute("SELECT 1 FROM database_info").fetchone():
                values = ("live", str(uuid.uuid4()), SCHEMA_VERSION)
                connection.execute("INSERT INTO database_info VALUES (?,?,?)", values)
            connection.pragma("user_version", SCHEMA_VERSION)
    if connection.execute("SELECT role FROM database_info").get == "backup":
        # Put back in place of a lost one: what it will hold from here on is not what that one held.
        with Transaction(connection):
            connection.execute(UPDATE_RESTORED, (str(uuid.uuid4()),))


def check_integrity(connection: apsw.Connection) -> None:
    """Raise apsw.CorruptError if the database is damaged; one that is too large for a quick look is believed."""
    if connection.pragma("page_count") * connection.pragma("page_size") > MAX_QUICK_CHECK_BYTES:
        return
    verdict = connection.execute("PRAGMA quick_check(1)").get
    if verdict != "ok":
        raise apsw.CorruptError(str(verdict).replace("\n", " "))
    if beyond := connection.execute(SELECT_BEYOND_CHECKPOINT).get:
        raise apsw.CorruptError(f"readings of {beyond} lie beyond its checkpoint")

"""The SQLite sink: one database, one connection, one transaction for readings, checkpoint, epochs and episodes.

A killed process loses nothing that was committed. What a power failure may take is decided by `synchronous`: with
NORMAL the last commits, as a whole, with FULL nothing. A damaged database is moved aside and begun anew, and so is one
that was deleted or replaced while it was written to.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from pathlib import Path

import apsw

from worker.database_files import Inode, alone, inode, inodes, make_room, quarantine, recognised, set_log_aside
from worker.ledger import claim, write
from worker.schema import SCHEMA, VERSION
from worker.sinks import Portion, Position, Unavailable
from worker.spec import Identity, StoreSpec, Synchronous
from worker.wal_index import cut_short

BUSY_MS = 500
"""How long one attempt waits for a lock; the retries around it go on for longer, and can be interrupted."""

MEMORY = ":memory:"
"""The path of a database that is no file."""

DAMAGE = (apsw.CorruptError, apsw.NotADBError)

LARGEST_CHECK = 64 << 20
"""Bytes up to which a database is checked before it is used: measured 0.1 s."""

LARGEST_LOG = 8 << 20
"""Bytes to which the log is cut when it is begun anew after it had to grow for a reader that stayed. Usually it has half
as much (a checkpoint every 1000 pages), and is not cut."""

BEYOND = """
SELECT sensor_id FROM sensor_readings JOIN checkpoints USING (sensor_id) WHERE sensor_readings.seq >= next_seq LIMIT 1
"""
"""What a log that was cut short can leave behind: rows of a later state in pages that it no longer covers."""


class Database:
    """A sink. It opens itself when claimed, and again when claimed after it was unavailable."""

    def __init__(self, store: StoreSpec) -> None:
        self._store, self._path = store, store.path
        self._connection: apsw.Connection | None = None
        self._opened: Inode = None
        self._inodes: tuple[Inode, Inode] = (None, None)
        self._incarnation = 0
        self._mistrusted = False

    def claim(self, sensors: Sequence[Identity], incarnation: int) -> list[Position]:
        self._incarnation = incarnation
        try:
            connection = self._connection or self._open()
            with Transaction(connection):
                positions = [claim(connection, sensor.sensor_id, incarnation) for sensor in sensors]
        except apsw.Error as error:
            raise self._refused(error) from error
        self._check_place()
        return positions

    def deliver(self, portions: Sequence[Portion]) -> None:
        if self._connection is None:
            raise Unavailable(f"{self._path.name} is not open", lost=True)
        try:
            with Transaction(self._connection):
                for portion in portions:
                    write(self._connection, portion, self._incarnation)
        except apsw.Error as error:
            raise self._refused(error) from error
        self._check_place()

    def close(self) -> None:
        """In good order: what is in the log goes into the database, and the log goes. Not where others may have it open,
        or another by its name: SQLite would delete that one."""
        self._let_go(tidy=not self._store.shared and self._in_place())

    def _let_go(self, *, tidy: bool = False) -> None:
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        if not tidy:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close(True)

    def _in_place(self) -> bool:
        try:
            return inode(self._path) == self._opened
        except OSError:
            return False

    def _open(self) -> apsw.Connection:
        # Where many write, the fleet has looked before they began, and those look again that have met an error.
        doubtful = self._mistrusted or not self._store.shared
        try:
            if self._path.name == MEMORY:
                self._connection = self._connect(doubtful=False)
            elif self._store.shared:
                # The database and its log are opened one after the other, by name: nobody may move them in between.
                with alone(self._path.parent):
                    make_room(self._path)
                    self._connection = self._connect(doubtful=doubtful)
            else:
                if not self._path.exists():
                    with alone(self._path.parent):
                        make_room(self._path)
                self._connection = self._connect(doubtful=doubtful)
        except OSError as error:
            raise apsw.CantOpenError(f"unable to open database file: {error.strerror}") from error
        if doubtful:
            check(self._connection)
        self._mistrusted = False
        return self._connection

    def _connect(self, *, doubtful: bool) -> apsw.Connection:
        self._opened = inode(self._path)
        if not recognised(self._path):  # SQLite would find out as well, but first delete a log that does not fit
            raise apsw.NotADBError("file is not a database")
        if doubtful and cut_short(self._path):
            raise apsw.CorruptError("its write-ahead log was cut short")
        connection = connect(self._path, wal=self._store.wal, synchronous=self._store.synchronous)
        self._inodes = inodes(self._path)
        return connection

    def _check_place(self) -> None:
        """Raise Unavailable if what was just written went into a file that is no longer the one by that name."""
        now = self._seen()
        if now == self._inodes and now[0] == self._opened:
            return
        if now[0] == self._opened and self._store.shared:
            # Only the log is gone. Some write into the lost one while others begin a new one: a mixture.
            raise self._quarantine(f"the log of {self._path.name} was deleted while it was written to")
        self._let_go()
        try:
            set_log_aside(self._path, self._opened, self._inodes[1])
        except OSError as error:
            raise Unavailable(f"{self._path.name}: {error.strerror}", lost=True) from error
        reason = f"{self._path.name} was deleted or replaced while it was written to; it is begun anew"
        raise Unavailable(reason, lost=True, renewed=True)

    def _seen(self) -> tuple[Inode, Inode]:
        """The files that are there. Raises Unavailable where one may not look: what is in them will be read later."""
        try:
            return inodes(self._path)
        except OSError as error:
            self._let_go()
            raise Unavailable(f"{self._path.name}: {error.strerror}", lost=True) from error

    def _refused(self, error: apsw.Error) -> Unavailable:
        """What to make of an error of SQLite. Raises MemoryError where only another process can help."""
        reason = f"{self._path.name}: {meaning(error)}"
        if isinstance(error, apsw.NoMemError):
            raise MemoryError(reason) from error
        if isinstance(error, (apsw.BusyError, apsw.LockedError)):
            return Unavailable(reason, lost=False)
        # After an I/O error it is unknown what the commit did: start over from what the file says.
        self._mistrusted = True
        if isinstance(error, DAMAGE):
            return self._quarantine(reason)
        self._let_go()
        return Unavailable(reason, lost=True)

    def _quarantine(self, reason: str) -> Unavailable:
        try:
            aside = quarantine(self._path, self._opened)
        except OSError as error:
            return Unavailable(f"{reason}; it cannot be moved aside: {error.strerror}", lost=True)
        finally:
            self._let_go()
        where = f"moved aside as {aside.name}" if aside else "replaced by another worker"
        return Unavailable(f"{reason}; the damaged database was {where} and is begun anew", lost=True, renewed=True)


def meaning(error: apsw.Error) -> str:
    """What SQLite says, and of an I/O error which one it is."""
    if isinstance(error, apsw.IOError):
        code: int = error.extendedresult  # type: ignore[attr-defined]
        return f"{error} ({apsw.mapping_extended_result_codes.get(code, code)})"
    return str(error)


def tidy(path: Path) -> None:
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
        prepare(connection, wal=wal, synchronous=synchronous)
    except apsw.Error:
        connection.close(True)
        raise
    return connection


def prepare(connection: apsw.Connection, *, wal: bool, synchronous: Synchronous) -> None:
    connection.set_busy_timeout(BUSY_MS)
    # A fleet has thousands of connections; each appends to the end of a table, for which little cache is enough.
    connection.execute("PRAGMA cache_size = -256")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
    mode = "WAL" if wal else "DELETE"
    if connection.pragma("journal_mode") != mode.lower():
        connection.pragma("journal_mode", mode)
    if connection.pragma("user_version") != VERSION:
        with Transaction(connection):
            connection.execute(SCHEMA)
            if not connection.execute("SELECT 1 FROM database_info").fetchone():
                values = ("live", str(uuid.uuid4()), VERSION)
                connection.execute("INSERT INTO database_info VALUES (?,?,?)", values)
            connection.pragma("user_version", VERSION)


def check(connection: apsw.Connection) -> None:
    """Raise apsw.CorruptError if the database is damaged; one that is too large for a quick look is believed."""
    if connection.pragma("page_count") * connection.pragma("page_size") > LARGEST_CHECK:
        return
    verdict = connection.execute("PRAGMA quick_check(1)").get
    if verdict != "ok":
        raise apsw.CorruptError(str(verdict).replace("\n", " "))
    if beyond := connection.execute(BEYOND).get:
        raise apsw.CorruptError(f"readings of {beyond} lie beyond its checkpoint")

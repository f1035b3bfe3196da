"""The SQLite sink: one database, one connection, one transaction for readings, checkpoint, epochs and episodes.

A killed process loses no committed reading. A power failure may take the last commits, each as a whole, if `synchronous`
is NORMAL, and none if it is FULL. A damaged database is quarantined and a new one is begun; the same happens if the file
is deleted or replaced while it is open, and if the file or its log is cut or overwritten.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import apsw

from worker.spec import Identity, StoreSpec
from worker.storage.connection import Transaction, check_integrity, configure_connection, connect, describe_sqlite_error
from worker.storage.database_debug import debug_lines
from worker.storage.database_files import (
    Inode,
    ensure_database_file,
    folder_lock,
    inode,
    inodes,
    is_sqlite_file,
    move_orphaned_wal,
    quarantine,
)
from worker.storage.insertion import ColumnConflict, ReadingsTable
from worker.storage.live_files import LiveFiles
from worker.storage.retention import Retention
from worker.storage.rotated_removal import RotatedRemoval
from worker.storage.rotation import NO_RETRY, RotationLimit, finish_rotation, is_marked_rotated, mark_rotated
from worker.storage.sinks import Portion, Position, Unavailable
from worker.storage.transactions import claim_sensor, write_portion
from worker.storage.wal_index import is_wal_truncated

log = logging.getLogger("database")

IN_MEMORY_PATH = ":memory:"
"""The path of a database without a file."""

DAMAGE_ERRORS = (apsw.CorruptError, apsw.NotADBError)


class Database:
    """The sink of one database. `claim` opens it, also again after it was unavailable."""

    def __init__(self, store: StoreSpec) -> None:
        self._store, self._path = store, store.path
        self._connection: apsw.Connection | None = None
        self._table: ReadingsTable | None = None
        self._files: LiveFiles | None = None
        self._opened_inode: Inode = None
        self._inodes: tuple[Inode, Inode] = (None, None)
        self._incarnation = 0
        self._suspect = False
        self._limit = RotationLimit(None if store.shared else store.max_bytes)
        self._retention = None if store.keep_us is None else Retention(store.keep_us, store.targets)
        self._removal = RotatedRemoval(self._path, self._retention) if self._retention and not store.shared else None

    def claim(self, sensors: Sequence[Identity], incarnation: int) -> list[Position]:
        self._incarnation = incarnation
        try:
            connection = self._connection or self._open()
            with Transaction(connection):
                self._check_files()
                positions = [claim_sensor(connection, sensor.sensor_id, incarnation) for sensor in sensors]
        except apsw.Error as error:
            raise self._translate_error(error) from error
        self._check_still_in_place()
        return positions

    def deliver(self, portions: Sequence[Portion]) -> None:
        if self._connection is None:
            raise Unavailable(f"{self._path.name} is not open", outcome_unknown=True)
        # Without a table until the commit: a rollback takes the columns away that it knows.
        table, self._table = self._table or ReadingsTable(self._connection), None
        try:
            with Transaction(self._connection):
                self._check_files()
                for portion in portions:
                    write_portion(table, portion, self._incarnation)
                if self._retention:
                    self._retention.remove(self._connection, portions)
            self._table = table
            self._check_files()  # the log may have been cut while it was written
        except ColumnConflict as error:
            raise Unavailable(f"{self._path.name}: {error}", outcome_unknown=False) from error
        except apsw.Error as error:
            if self._retention:
                self._retention.postpone()
            raise self._translate_error(error) from error
        self._check_still_in_place()
        self._remove_rotated()
        self._rotate()

    def check(self) -> None:
        if self._connection is None:
            raise Unavailable(f"{self._path.name} is not open", outcome_unknown=True)
        try:
            with Transaction(self._connection):
                self._check_files()
            if not self._store.shared:
                self._connection.release_memory()  # read the pages from the file
                check_integrity(self._connection)
        except apsw.Error as error:
            raise self._translate_error(error) from error
        self._check_still_in_place()

    def close(self) -> None:
        """Close the database; checkpoint and remove its write-ahead log unless others may use it.

        SQLite removes the log by its name, which may belong to another database by now.
        """
        self._disconnect(tidy=not self._store.shared and self._in_place())

    def _disconnect(self, *, tidy: bool = False) -> None:
        if self._connection is None:
            return
        connection, self._connection, self._table = self._connection, None, None
        if not tidy:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close(True)
        self._close_files()

    def _close_files(self) -> None:
        if self._files is not None:
            files, self._files = self._files, None
            files.close()

    def _check_files(self) -> None:
        """Raise CorruptError if the files were cut or overwritten since the last look."""
        if self._files is not None and (damage := self._files.damage()):
            raise apsw.CorruptError(damage)

    def _watch_files(self) -> None:
        """Look at the files of the connection from now on."""
        before, self._inodes = self._inodes, inodes(self._path)
        if self._files is not None and self._inodes[1] is not None and self._inodes != before:
            self._files.open_log()

    def _in_place(self) -> bool:
        try:
            return inode(self._path) == self._opened_inode
        except OSError:
            return False

    def _open(self) -> apsw.Connection:
        # A shared database was checked before its writers started; a writer that met an error checks it again.
        check = self._suspect or not self._store.shared
        try:
            if self._path.name == IN_MEMORY_PATH:
                self._connection = self._connect(check=False)
            elif self._store.shared:
                # The database and its log are opened by name, one after the other: they must not be moved in between.
                with folder_lock(self._path.parent):
                    ensure_database_file(self._path)
                    self._connection = self._connect(check=check)
            else:
                if not self._path.exists():
                    with folder_lock(self._path.parent):
                        ensure_database_file(self._path)
                self._connection = self._connect(check=check)
        except OSError as error:
            raise apsw.CantOpenError(f"unable to open database file: {error.strerror}") from error
        if check:
            check_integrity(self._connection)
        if log.isEnabledFor(logging.DEBUG) and self._path.name != IN_MEMORY_PATH:
            for line in debug_lines(self._path, self._connection, os.environ):
                log.debug("%s: %s", self._path.stem, line)
        self._suspect = False
        if self._retention:
            self._retention.forget()
        return self._connection

    def _connect(self, *, check: bool) -> apsw.Connection:
        self._opened_inode = inode(self._path)
        if not is_sqlite_file(self._path):  # SQLite would notice too, but delete a log that does not match first
            raise apsw.NotADBError("file is not a database")
        if check and is_wal_truncated(self._path):
            raise apsw.CorruptError("its write-ahead log was cut short")
        self._connection = self._connect_to_live()
        if self._path.name != IN_MEMORY_PATH:
            self._files, self._inodes = LiveFiles(self._path), (None, None)
            self._watch_files()
        return self._connection

    def _connect_to_live(self) -> apsw.Connection:
        """Connect to the live database; finish an interrupted rotation first."""
        store = self._store
        connection = connect(self._path, wal=store.wal, synchronous=store.synchronous, readings=store.readings)
        if not is_marked_rotated(connection):
            return connection
        try:
            if self._store.shared:  # the caller holds the folder's lock
                finish_rotation(connection, self._path)
            else:
                with folder_lock(self._path.parent):
                    finish_rotation(connection, self._path)
            self._opened_inode = inode(self._path)
        except OSError as error:
            raise apsw.CantOpenError(f"it cannot be rotated: {error.strerror}") from error
        finally:
            connection.close(True)
        return connect(self._path, wal=store.wal, synchronous=store.synchronous, readings=store.readings)

    def _rotate(self) -> None:
        """Rotate the database if it has reached its limit.

        Errors are logged: the readings are committed already, and the next opening finishes an interrupted rotation.
        """
        connection = self._connection
        assert connection
        try:
            if not self._limit.reached(connection):
                return
            if mark_rotated(connection, self._incarnation):
                with folder_lock(self._path.parent):
                    aside = finish_rotation(connection, self._path)
                self._disconnect()
                self._open()
                log.info("%s: %s", self._path.stem, f"kept as {aside.name}" if aside else "cannot be rotated here")
                self._limit.postpone(0.0 if aside else NO_RETRY)
            else:
                log.debug("%s: full, but open in another process: rotated later", self._path.stem)
                self._limit.postpone()
                configure_connection(connection, wal=self._store.wal, synchronous=self._store.synchronous)
                self._watch_files()
        except (apsw.Error, OSError) as error:
            log.warning("%s: not rotated yet: %s", self._path.stem, error)
            self._limit.postpone()
            self._disconnect()

    def _remove_rotated(self) -> None:
        """Remove a rotated database that is old. Errors are logged: the readings are committed already."""
        if self._removal is None or self._connection is None:
            return
        try:
            self._removal.remove(self._connection, self._incarnation)
        except (apsw.Error, OSError) as error:
            log.warning("%s: no rotated database is removed: %s", self._path.stem, error)

    def _check_still_in_place(self) -> None:
        """Raise Unavailable if the last transaction was written to a file that no longer has the database's name."""
        now = self._current_inodes()
        if now == self._inodes and now[0] == self._opened_inode:
            return
        if now[0] == self._opened_inode and self._store.shared:
            # Only the log is gone: some writers use the lost one while others begin a new one, and the two would mix.
            raise self._quarantine(f"the log of {self._path.name} was deleted while it was written to")
        self._disconnect()
        try:
            move_orphaned_wal(self._path, self._opened_inode, self._inodes[1])
        except OSError as error:
            raise Unavailable(f"{self._path.name}: {error.strerror}", outcome_unknown=True) from error
        reason = f"{self._path.name} was deleted or replaced while it was written to; a new one is begun"
        raise Unavailable(reason, outcome_unknown=True, recreated=True)

    def _current_inodes(self) -> tuple[Inode, Inode]:
        """Return the inodes of the files by their names. Raises Unavailable if they cannot be read."""
        try:
            return inodes(self._path)
        except OSError as error:
            self._disconnect()
            raise Unavailable(f"{self._path.name}: {error.strerror}", outcome_unknown=True) from error

    def _translate_error(self, error: apsw.Error) -> Unavailable:
        """Translate an error of SQLite. Raises MemoryError if SQLite is out of memory: only a new process can help."""
        reason = f"{self._path.name}: {describe_sqlite_error(error)}"
        if isinstance(error, apsw.NoMemError):
            raise MemoryError(reason) from error
        if isinstance(error, (apsw.BusyError, apsw.LockedError)):
            return Unavailable(reason, outcome_unknown=False)
        # After an I/O error the state of the commit is unknown: claim again, from the content of the file.
        self._suspect = True
        if isinstance(error, DAMAGE_ERRORS):
            return self._quarantine(reason)
        self._disconnect()
        return Unavailable(reason, outcome_unknown=True)

    def _quarantine(self, reason: str) -> Unavailable:
        """Move the damaged database aside. Returns the error to raise."""
        try:
            aside = quarantine(self._path, self._opened_inode)
        except OSError as error:
            return Unavailable(f"{reason}; it cannot be moved aside: {error.strerror}", outcome_unknown=True)
        finally:
            self._disconnect()
        where = f"moved aside as {aside.name}" if aside else "replaced by another worker"
        return Unavailable(
            f"{reason}; the damaged database was {where} and a new one is begun", outcome_unknown=True, recreated=True
        )

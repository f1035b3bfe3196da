"""The store of a receiver: batches are written to the central database one at a time, while its file is in place."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import apsw

from fleet.delivery.batch import Batch
from fleet.delivery.receiver.uploads import RejectedReading
from fleet.delivery.target import Receipt
from fleet.delivery.targets.sqlite.central_database import CentralDatabase, ColumnMismatch
from fleet.delivery.targets.sqlite.positions import Positions
from worker.storage.connection import describe_sqlite_error
from worker.storage.database_files import inode

LOCK_TIMEOUT_SECONDS = 10.0
"""The wait of a batch for those before it."""

PROBE_BUSY_TIMEOUT_MS = 2_000
"""The wait of a health check for a locked database."""


class StoreUnavailable(Exception):
    """The central database cannot be written at present. `str(error)` is one line."""


class CentralStore:
    """Access to the central database for requests, one at a time. It fails once the file is deleted or replaced."""

    def __init__(self, central: CentralDatabase) -> None:
        self.central = central
        self._inode = inode(central.path)
        self._lock = threading.Lock()

    @contextmanager
    def _open(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            raise StoreUnavailable("the central database is busy")
        try:
            if inode(self.central.path) != self._inode:
                raise StoreUnavailable("the central database was deleted or replaced; start the receiver again")
            yield
        except apsw.Error as error:
            raise StoreUnavailable(f"the central database: {describe_sqlite_error(error)}") from error
        except OSError as error:
            raise StoreUnavailable(f"the central database: {error.strerror}") from error
        finally:
            self._lock.release()

    def store(self, batch: Batch) -> tuple[int, list[RejectedReading], str]:
        """Store a batch; returns the number of duplicates, the readings that conflict with stored ones, and a note.

        Raises StoreUnavailable; then nothing is stored.
        """
        try:
            with self._open():
                receipt = self.central.insert_batch(batch, datetime.now(UTC))
        except ColumnMismatch as error:
            # The sender need not know the path.
            reason = str(error).removeprefix(f"{self.central.path}: ")
            raise StoreUnavailable(f"the central database: {reason}") from error
        if not receipt.rejected:
            return receipt.duplicates, [], receipt.note
        keyed = zip(batch.ids, batch.keys(), strict=True)
        rejected = [
            RejectedReading(key, row_id, receipt.rejected[row_id])
            for row_id, key in keyed
            if row_id in receipt.rejected
        ]
        return receipt.duplicates, rejected, receipt.note

    def store_all(self, batches: Sequence[Batch], positions: Positions | None) -> list[Receipt]:
        """Store batches, and the positions of their subscriber, all or nothing. Raises StoreUnavailable."""
        with self._open():
            return self.central.insert_batches(batches, datetime.now(UTC), positions)

    def probe(self) -> None:
        """Check that the database can be written, by a write without effect. Raises StoreUnavailable."""
        path, flags = str(self.central.path), apsw.SQLITE_OPEN_READWRITE
        with self._open(), closing(apsw.Connection(path, flags=flags)) as connection:
            connection.set_busy_timeout(PROBE_BUSY_TIMEOUT_MS)
            connection.pragma("user_version", connection.pragma("user_version"))

    def counts(self) -> dict[str, int]:
        """The numbers of rows. Raises StoreUnavailable."""
        with self._open():
            counts = self.central.counts()
        return {"readings": counts.readings, "sources": counts.sources, "conflicts": counts.conflicts}

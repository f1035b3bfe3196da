"""The desk where batches are handed in: one at a time, into the central database, as long as that is where it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import apsw

from fleet.delivery.batch import Batch
from fleet.delivery.receiver.uploads import RejectedReading
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from worker.storage.connection import describe_sqlite_error
from worker.storage.database_files import inode

LOCK_TIMEOUT_SECONDS = 10.0
"""How long a batch waits for those before it."""

PROBE_BUSY_TIMEOUT_MS = 2_000


class StoreUnavailable(Exception):
    """The central database takes nothing now. `str(error)` is one line."""


class CentralStore:
    """The central database as requests meet it: one at a time, and only while it is where it was."""

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

    def store(self, batch: Batch) -> tuple[int, list[RejectedReading]]:
        """How many of the readings were there already, and those that are there with other content. Raises StoreUnavailable;
        then nothing was taken."""
        with self._open():
            receipt = self.central.insert_batch(batch, datetime.now(UTC))
        if not receipt.rejected:
            return receipt.duplicates, []
        named = zip(batch.ids, batch.keys(), strict=True)
        rejected = [RejectedReading(key, own, receipt.rejected[own]) for own, key in named if own in receipt.rejected]
        return receipt.duplicates, rejected

    def probe(self) -> None:
        """Write something that changes nothing. Raises StoreUnavailable."""
        path, flags = str(self.central.path), apsw.SQLITE_OPEN_READWRITE
        with self._open(), closing(apsw.Connection(path, flags=flags)) as connection:
            connection.set_busy_timeout(PROBE_BUSY_TIMEOUT_MS)
            connection.pragma("user_version", connection.pragma("user_version"))

    def counts(self) -> dict[str, int]:
        """Raises StoreUnavailable."""
        with self._open():
            counts = self.central.counts()
        return {"readings": counts.readings, "sources": counts.sources, "conflicts": counts.conflicts}

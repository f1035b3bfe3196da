"""The desk where batches are handed in: one at a time, into the central database, as long as that is where it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import apsw

from fleet.central.database import CentralDatabase
from fleet.collection.batch import Batch
from fleet.reception.sent_readings import Refused
from worker.connection import meaning
from worker.database_files import inode

TURN_SECONDS = 10.0
"""How long a batch waits for those before it."""

PROBE_MS = 2_000


class Unwritable(Exception):
    """The central database takes nothing now. `str(error)` is one line."""


class Desk:
    """The central database as requests meet it: one at a time, and only while it is where it was."""

    def __init__(self, central: CentralDatabase) -> None:
        self.central = central
        self._inode = inode(central.path)
        self._turn = threading.Lock()

    @contextmanager
    def _open(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=TURN_SECONDS):
            raise Unwritable("the central database is busy")
        try:
            if inode(self.central.path) != self._inode:
                raise Unwritable("the central database was deleted or replaced; start the receiver again")
            yield
        except apsw.Error as error:
            raise Unwritable(f"the central database: {meaning(error)}") from error
        except OSError as error:
            raise Unwritable(f"the central database: {error.strerror}") from error
        finally:
            self._turn.release()

    def take(self, batch: Batch) -> tuple[int, list[Refused]]:
        """How many of the readings were there already, and those that are there with other content. Raises Unwritable;
        then nothing was taken."""
        with self._open():
            receipt = self.central.take(batch, datetime.now(UTC))
        if not receipt.rejected:
            return receipt.duplicates, []
        named = zip(batch.ids, batch.keys(), strict=True)
        refused = [Refused(key, own, receipt.rejected[own]) for own, key in named if own in receipt.rejected]
        return receipt.duplicates, refused

    def probe(self) -> None:
        """Write something that changes nothing. Raises Unwritable."""
        path, flags = str(self.central.path), apsw.SQLITE_OPEN_READWRITE
        with self._open(), closing(apsw.Connection(path, flags=flags)) as connection:
            connection.set_busy_timeout(PROBE_MS)
            connection.pragma("user_version", connection.pragma("user_version"))

    def holds(self) -> dict[str, int]:
        """Raises Unwritable."""
        with self._open():
            counts = self.central.counts()
        return {"readings": counts.readings, "sources": counts.sources, "conflicts": counts.conflicts}

"""A central SQLite database as a target: `sqlite:///central.db`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import apsw

from fleet.delivery.batch import Batch
from fleet.delivery.target import Receipt, TargetUnavailable
from fleet.delivery.targets.central_database import CentralDatabase
from worker.storage.connection import describe_sqlite_error


class SqliteTarget:
    """Rows and cursor in one transaction, so that each reading is there exactly once."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        """UserError if no central database can be there."""
        self._database, self._now = CentralDatabase(path), now
        self.name = f"sqlite:///{path.absolute()}"

    def deliver(self, batch: Batch) -> Receipt:
        try:
            return self._database.insert_batch(batch, self._now())
        except apsw.Error as error:  # full, locked by somebody, gone
            raise TargetUnavailable(f"{self._database.path}: {describe_sqlite_error(error)}") from error

    def cursor(self, source: str) -> int:
        try:
            return self._database.cursor(source)
        except apsw.Error as error:
            raise TargetUnavailable(f"{self._database.path}: {describe_sqlite_error(error)}") from error

    def close(self) -> None:
        self._database.close()

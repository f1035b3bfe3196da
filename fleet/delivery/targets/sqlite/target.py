"""A SQLite database as a target: `sqlite:///central.db`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

import apsw

from fleet.delivery.batch import Batch
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.target import Receipt, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.sqlite.central_database import CentralDatabase, ColumnMismatch
from fleet.errors import UserError
from fleet.escaping import escape_short
from worker.storage.connection import describe_sqlite_error

EXAMPLES = "sqlite:///central.db, or sqlite:////srv/central.db"


class SqliteTarget:
    """A central SQLite database. Readings and cursor are written in one transaction, so each reading is stored once."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        """UserError if there can be no central database at the path."""
        self._database, self._now = CentralDatabase(path), now
        self.name = f"sqlite:///{path.absolute()}"

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        return cls(required_path(url, "--to"), options.now)

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        from fleet.delivery.targets.sqlite.readings import open_sqlite_readings

        return open_sqlite_readings(required_path(url, "--against"), options.table, options.sensor, options.record)

    def deliver(self, batch: Batch) -> Receipt:
        try:
            with self._translate_errors():
                return self._database.insert_batch(batch, self._now())
        except ColumnMismatch as error:
            raise TargetMisconfigured(str(error)) from error

    def cursor(self, source: str) -> int:
        with self._translate_errors():
            return self._database.cursor(source)

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:  # the disk is full, the database locked or deleted
            raise TargetUnavailable(f"{self._database.path}: {describe_sqlite_error(error)}") from error


def sqlite_path(url: str) -> Path | None:
    """The file that a URL names: three slashes, then the path; a fourth makes it absolute. None if it names none."""
    path = url.removeprefix("sqlite:///")
    return Path(path) if path != url and path.strip("/") else None


def required_path(url: str, option: str) -> Path:
    path = sqlite_path(url)
    if path is None:
        raise UserError(f"{option}: {escape_short(url)!r} names no file: {EXAMPLES}")
    if "?" in url:
        raise UserError(f"{option}: {escape_short(url)!r} has options after the ?, of which there are none: {EXAMPLES}")
    return path

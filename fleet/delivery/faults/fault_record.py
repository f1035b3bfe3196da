"""The record of the faults, `.collector/faults.sqlite` in a data directory: which reading got which fault on its way to a target.

A reading is on record, on disk, before the batch that it belongs to is delivered. Readings that are sent later are kept in
it until they are: a delivery process that is killed loses none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import orjson

from fleet.delivery.batch import Row, SourceDatabase, Value
from fleet.delivery.faults.plan import Fault
from fleet.delivery.target import DeliveryFailed
from fleet.errors import UserError
from worker.storage.connection import describe_sqlite_error
from worker.storage.schema import FurtherColumn

FAULT_FILE = "faults.sqlite"
BUSY_TIMEOUT_MS = 10_000

SCHEMA = """
-- A reading with a fault. `held` is 1 as long as it, or its copy, is still to be sent; `row` has its values until then.
-- `apart` is 1 if it was not sent in its own place; `refused` is the reason of a target that refuses it there.
CREATE TABLE IF NOT EXISTS faults (
    target TEXT NOT NULL, source TEXT NOT NULL, id INTEGER NOT NULL, sensor_id TEXT NOT NULL, seq INTEGER NOT NULL,
    timestamp TEXT NOT NULL, kind TEXT NOT NULL, size REAL NOT NULL, field TEXT, due INTEGER NOT NULL, held INTEGER NOT NULL,
    apart INTEGER NOT NULL, refused TEXT, row BLOB, PRIMARY KEY (target, source, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS held_readings ON faults (target, source) WHERE held;
-- The sources of which readings are held, and the id up to which each is settled at a target that keeps a cursor.
CREATE TABLE IF NOT EXISTS sources (
    target TEXT NOT NULL, source TEXT NOT NULL, description BLOB NOT NULL, settled INTEGER NOT NULL,
    PRIMARY KEY (target, source)
) WITHOUT ROWID;
"""

# What was sent apart from its batch stays so, should the batch come again.
ADD_FAULT = """
INSERT INTO faults VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL,?)
ON CONFLICT DO UPDATE SET kind = excluded.kind, size = excluded.size, field = excluded.field, due = excluded.due,
    held = excluded.held, apart = excluded.apart, row = excluded.row WHERE apart = 0
"""


@dataclass(frozen=True, slots=True)
class FaultyReading:
    """A reading with a fault. `field` is the damaged field. A `held` one is still to be sent, or its copy is."""

    id: int
    sensor_id: str
    seq: int
    timestamp: str
    fault: Fault
    values: dict[str, Value]
    held: bool = False
    field: str | None = None

    def row(self, columns: Sequence[str]) -> Row:
        """Return its row in a source that has these columns by now."""
        return tuple(self.values.get(name) for name in columns)


class FaultRecord:
    """The record of one target. Safe for several threads, and for other processes beside this one.

    All methods raise DeliveryFailed if the record cannot be read or written.
    """

    def __init__(self, folder: Path, target: str, *, create: bool = True) -> None:
        """Without `create`, a record that does not exist is created with the first fault. UserError if the folder cannot have one."""
        self.path, self._target = folder / FAULT_FILE, target
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        if create or self.path.exists():
            try:
                self._connection = open_record(self.path)
            except (OSError, apsw.Error) as error:
                raise UserError(f"delivery.faults: {unusable_record(self.path, error)}") from error

    @contextmanager
    def _opened(self) -> Iterator[apsw.Connection]:
        with self._lock:
            try:
                self._connection = self._connection or open_record(self.path)
                with self._connection:
                    yield self._connection
            except OSError as error:
                raise DeliveryFailed(unusable_record(self.path, error)) from error
            except apsw.Error as error:
                raise DeliveryFailed(f"{self.path}: {describe_sqlite_error(error)}") from error

    def add(self, source: SourceDatabase, readings: Iterable[FaultyReading]) -> None:
        """Add readings, and those that are held with their values. When this returns, they are on disk."""
        rows = [
            (
                *(self._target, source.key, reading.id, reading.sensor_id, reading.seq, reading.timestamp),
                *(reading.fault.kind, reading.fault.size, reading.field, reading.fault.due),
                *(reading.held, reading.held, orjson.dumps(reading.values) if reading.held else None),
            )
            for reading in readings
        ]
        with self._opened() as opened:
            opened.executemany(ADD_FAULT, rows)
            opened.execute(
                "INSERT INTO sources VALUES (?1, ?2, ?3, 0) ON CONFLICT DO UPDATE SET description = ?3",
                (self._target, source.key, describe_source(source)),
            )

    def forget(self, source: str, first_id: int) -> None:
        """Remove what is on record of readings from this id on: it was planned by a process that has not delivered them."""
        if self._connection is None:
            return
        with self._opened() as opened:
            opened.execute(
                "DELETE FROM faults WHERE target = ? AND source = ? AND id >= ?", (self._target, source, first_id)
            )

    def held(self) -> dict[str, dict[int, FaultyReading]]:
        """Return the readings that are still to be sent, by source and id."""
        query = "SELECT source, id, sensor_id, seq, timestamp, kind, size, due, row, field FROM faults WHERE held AND target = ?"
        found: dict[str, dict[int, FaultyReading]] = {}
        if self._connection is None:
            return found
        with self._opened() as opened:
            rows: list[Any] = opened.execute(query, (self._target,)).fetchall()
        for source, number, sensor, seq, timestamp, kind, size, due, row, field in rows:
            reading = FaultyReading(
                number, sensor, seq, timestamp, Fault(kind, size, due), orjson.loads(row), True, field
            )
            found.setdefault(source, {})[number] = reading
        return found

    def settle(self, source: str, ids: Iterable[int], refused: dict[int, str]) -> None:
        """Record that held readings were sent, or refused for a reason."""
        rows = [(refused.get(number), self._target, source, number) for number in ids]
        with self._opened() as opened:
            opened.executemany(
                "UPDATE faults SET held = 0, row = NULL, refused = ? WHERE target = ? AND source = ? AND id = ?", rows
            )

    def sources(self) -> dict[str, SourceDatabase]:
        """Return the sources by their key."""
        if self._connection is None:
            return {}
        query = "SELECT source, description FROM sources WHERE target = ?"
        with self._opened() as opened:
            rows: list[Any] = opened.execute(query, (self._target,)).fetchall()
        return {key: described_source(key, description) for key, description in rows}

    def settled_id(self, source: str) -> int:
        """Return the id up to which the readings of a source are on record as settled, 0 if none are."""
        if self._connection is None:
            return 0
        query = "SELECT settled FROM sources WHERE target = ? AND source = ?"
        with self._opened() as opened:
            settled = opened.execute(query, (self._target, source)).get
        return settled if isinstance(settled, int) else 0

    def set_settled_id(self, source: str, settled: int) -> None:
        with self._opened() as opened:
            opened.execute(
                "UPDATE sources SET settled = ? WHERE target = ? AND source = ?", (settled, self._target, source)
            )

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()


def open_record(path: Path) -> apsw.Connection:
    """Open a record, which is created if there is none. Raises OSError or apsw.Error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("journal_mode", "WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(SCHEMA)
    return connection


def unusable_record(path: Path, error: OSError | apsw.Error) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"{path} cannot hold the record of the faults: {reason}"


def describe_source(source: SourceDatabase) -> bytes:
    return orjson.dumps([str(source.path), source.name, source.columns, [list(column) for column in source.further]])


def described_source(key: str, description: bytes) -> SourceDatabase:
    path, name, columns, further = orjson.loads(description)
    return SourceDatabase(Path(path), name, key, tuple(columns), tuple(FurtherColumn(*column) for column in further))

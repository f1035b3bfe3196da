"""A database with the history of its sensors, written in one go: byte for byte the same whenever it is written.

It is written under a temporary name without a journal, and renamed when it is whole. What a killed process leaves is written
again from the start.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import apsw

from fleet.history.computed import END_OF_TIME_US, UncomputedSensor, portions_until, scheduled_readings
from worker.metrics import MetricsWriter
from worker.scoreboard import Scoreboard
from worker.sensor import Sensor
from worker.spec import RunSpec, SensorSpec
from worker.storage.connection import Transaction, write_database_info
from worker.storage.insertion import ReadingsTable
from worker.storage.schema import CREATE_READINGS_KEY, SCHEMA_VERSION, create_tables
from worker.storage.transactions import claim_sensor, write_portion

INCARNATION = 1 << 24
"""The incarnation of the writers of a history: the first of run 1. That of any worker is larger."""

CACHE_KIB = 16 * 1024
UNFINISHED = ".unfinished"


def database_generation(content: str, name: str) -> uuid.UUID:
    """Return the generation of a database of a history: the same history has the same keys of readings."""
    digest = blake2b(f"{content}/{name}".encode(), digest_size=16, person=b"fleet-history").digest()
    return uuid.UUID(bytes=digest, version=4)


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """A database to be written. Unless it `stores_readings` it has all but its readings, which are computed when they are read."""

    path: Path
    sensors: tuple[SensorSpec, ...]
    run: RunSpec
    content: str
    scoreboard: Path
    stores_readings: bool = True

    @property
    def readings(self) -> int:
        return sum(scheduled_readings(sensor, self.run) for sensor in self.sensors)

    @property
    def max_rate(self) -> Fraction:
        return max(sensor.max_rate for sensor in self.sensors)

    def open(self) -> DatabaseWriter:
        """Begin to write. Raises OSError or apsw.Error."""
        return DatabaseWriter(self)


class DatabaseWriter:
    """Writes one database: `advance` in steps of time, then `finish`."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._temporary = file.path.with_name(file.path.name + UNFINISHED)
        for suffix in ("", "-wal", "-shm"):
            self._temporary.with_name(self._temporary.name + suffix).unlink(missing_ok=True)
        self._connection = connection = apsw.Connection(str(self._temporary))
        connection.pragma("journal_mode", "off")
        connection.pragma("synchronous", "off")
        connection.pragma("cache_size", -CACHE_KIB)
        self._transaction = Transaction(connection)
        self._transaction.__enter__()
        create_tables(connection, readings=file.stores_readings, key=False)
        write_database_info(connection, database_generation(file.content, file.path.stem))
        self._table = ReadingsTable(connection)
        kind = Sensor if file.stores_readings else UncomputedSensor
        self._sensors = [
            kind(spec, file.run, claim_sensor(connection, spec.identity.sensor_id, INCARNATION))
            for spec in file.sensors
        ]
        self._metrics = new_metrics(file.scoreboard, [spec.row for spec in file.sensors])

    def advance(self, until_us: int) -> int:
        """Write the readings that are due before a time. Returns how many scheduled readings these are."""
        count = 0
        for index, sensor in enumerate(self._sensors):
            for portion in portions_until(sensor, until_us):
                write_portion(self._table, portion, INCARNATION)
                self._metrics.count_portion(index, portion)
                count += portion.end - portion.next_seq
        return count

    def finish(self) -> None:
        """Write what is left, and give the file its name."""
        self.advance(END_OF_TIME_US)
        connection = self._connection
        if self._file.stores_readings:
            connection.execute(CREATE_READINGS_KEY)
        self._transaction.__exit__(None)
        connection.pragma("user_version", SCHEMA_VERSION)
        connection.pragma("journal_mode", "wal")
        connection.close(True)
        self._metrics.set_state("done")
        os.replace(self._temporary, self._file.path)


def new_metrics(scoreboard: Path, rows: Sequence[int]) -> MetricsWriter:
    """Return the writer of some rows of a scoreboard, which have counted nothing yet."""
    board = Scoreboard(scoreboard, writable=True)
    board.rows[list(rows)] = 0
    return MetricsWriter(board, rows)

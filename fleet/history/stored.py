"""The readings that the databases of a data directory have, also while a fleet writes to them, in the order of their numbers.

A sensor's readings may lie in several databases: those that were rotated, and the live one. The readings of a database that
stores none are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw

from fleet.datadir.backups import is_backup
from fleet.datadir.computed_readings import MALFORMED_EPOCH_ERRORS
from fleet.datadir.directory import database_folder
from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.errors import UserError
from fleet.history.source import Columns, RecordedEpisode, computed_tables, epoch_parts
from fleet.history.stored_values import WINDOW_READINGS, ForeignValue, RowReader
from fleet.history.table import ReadingTable
from fleet.verify.recorded_sensors import read_records
from fleet.verify.verification import find_databases, is_moved_aside
from worker.storage.database_files import Inode, inode
from worker.storage.schema import epoch_from_row, has_readings_key, stores_readings
from worker.storage.sinks import Epoch

READINGS_PER_CONNECTION = 1 << 17
"""Readings after which a database is opened again: a worker cannot rotate one that another process has open."""

READINGS_PER_TABLE = 8 * WINDOW_READINGS

BUSY_TIMEOUT_MS = 10_000

FLEET_TABLES = {"sensor_readings", "anomaly_episodes", "epochs", "checkpoints", "database_info"}
SELECT_TABLES = "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')"
SELECT_ROLE = "SELECT role FROM database_info"
SELECT_CHECKPOINTS = "SELECT sensor_id, next_seq FROM checkpoints"
SELECT_ORIGINS = "SELECT sensor_id, first_seq FROM origins"
SELECT_EPOCHS = """
    SELECT sensor_id, first_seq, start_us, reason, run, seed, identity, settings FROM epochs ORDER BY sensor_id, first_seq
"""
SELECT_EPISODES = """
    SELECT type, channel, first_seq, last_seq, parameters FROM anomaly_episodes
    WHERE sensor_id = ?1 AND last_seq >= ?2 AND first_seq < ?3
"""
SELECT_COLUMN_NAMES = "SELECT name FROM pragma_table_xinfo('sensor_readings')"


@dataclass(frozen=True, slots=True)
class DatabasePart:
    """The readings `first` .. `end - 1` of a sensor in one database, which is `file` by whatever name."""

    path: Path
    file: Inode
    first: int
    end: int
    stored: bool


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """The history of one sensor of a data directory. `parts` are in order and do not overlap."""

    sensor_id: str
    epochs: tuple[Epoch, ...]
    parts: tuple[DatabasePart, ...]

    @property
    def first(self) -> int:
        return self.parts[0].first

    @property
    def end(self) -> int:
        return self.parts[-1].end

    def tables(self, first: int, end: int, columns: Columns, *, keep_missing: bool) -> Iterator[ReadingTable]:
        for part in self.parts:
            low, high = max(first, part.first), min(end, part.end)
            if low >= high:
                continue
            if not part.stored:
                yield from computed_tables(self.epochs, low, high, keep_missing=keep_missing, where=str(part.path))
                continue
            for begin in range(low, high, READINGS_PER_CONNECTION):
                until = min(high, begin + READINGS_PER_CONNECTION)
                yield from self._read(part, begin, until, columns, keep_missing=keep_missing)

    def _read(
        self, part: DatabasePart, first: int, end: int, columns: Columns, *, keep_missing: bool
    ) -> Iterator[ReadingTable]:
        with opened(current_path(part)) as connection:
            present = [str(name) for (name,) in connection.execute(SELECT_COLUMN_NAMES)]
            indexed = has_readings_key(connection)
            for epoch_part in epoch_parts(self.epochs, first, end):
                reader = RowReader(connection, present, epoch_part.epoch, columns)
                step = READINGS_PER_TABLE if indexed else end - first
                for begin in range(epoch_part.first, epoch_part.end, step):
                    until = min(epoch_part.end, begin + step)
                    yield reader.table(begin, until, indexed=indexed, keep_missing=keep_missing)

    def episodes(self, first: int, end: int) -> list[RecordedEpisode]:
        found: dict[int, RecordedEpisode] = {}
        for part in self.parts:
            if part.first < end and first < part.end:
                with opened(current_path(part)) as connection:
                    rows: list[Any] = connection.execute(SELECT_EPISODES, (self.sensor_id, first, end)).fetchall()
                # A rotated database has the episodes that ran at its end; its successor knows how they ended.
                found |= {episode.first_seq: episode for episode in (RecordedEpisode(*row) for row in rows)}
        return [found[first_seq] for first_seq in sorted(found)]


@contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    """Open a database for reading. UserError, which names it, if that or what is done with it fails."""
    try:
        with read_only_connection(path) as connection:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            yield connection
    except (DatabaseUnreadable, ForeignValue) as error:
        place = f"{path}: " if isinstance(error, ForeignValue) else ""
        raise UserError(f"{place}{error}; fleet verify --data {path.parent} says more") from error


def current_path(part: DatabasePart) -> Path:
    """Return the path of a database, which may have been rotated since it was found. UserError if it is not there."""
    if inode(part.path) == part.file:
        return part.path
    for path in part.path.parent.glob("*.db"):
        if inode(path) == part.file:
            return path
    raise UserError(f"{part.path}: it was moved or replaced meanwhile; try again")


@dataclass(slots=True)
class FoundDatabase:
    """What a database says of its sensors: `next_seqs`, the `first_seqs` of those that continue a rotated one, `epochs`."""

    path: Path
    file: Inode
    stored: bool
    next_seqs: dict[str, int]
    first_seqs: dict[str, int]
    epochs: dict[str, list[Epoch]]


def read_histories(data: Path) -> list[StoredHistory]:
    """Return the sensors of a data directory that have readings, in the order of `fleet.json`, then others by their ids.
    UserError if there is no database of a fleet, or one that cannot be read."""
    if not data.is_dir():
        raise UserError(f"{data}: there is no such data directory")
    records = read_records(data)
    found = [
        database
        for path in find_databases(data, database_folder(data), records.database_names)
        if not is_moved_aside(path) and not is_backup(path) and (database := read_database(path))
    ]
    if not found:
        raise UserError(f"{data}: there is no database of a fleet in it")
    order = {sensor.sensor_id: number for number, sensor in enumerate(records.sensors)}
    ids = sorted(
        {sensor_id for database in found for sensor_id in database.next_seqs},
        key=lambda sensor_id: (order.get(sensor_id, len(order)), sensor_id),
    )
    return [history for sensor_id in ids if (history := joined_history(sensor_id, found)) is not None]


def read_database(path: Path) -> FoundDatabase | None:
    """Read what a database says of its sensors, None for one that is not of a fleet, or of its collector."""
    file = inode(path)
    with opened(path) as connection:
        tables = {str(name) for (name,) in connection.execute(SELECT_TABLES)}
        if not tables >= FLEET_TABLES or connection.execute(SELECT_ROLE).get not in ("live", "rotated"):
            return None
        checkpoints: list[Any] = connection.execute(SELECT_CHECKPOINTS).fetchall()
        origins: list[Any] = connection.execute(SELECT_ORIGINS).fetchall() if "origins" in tables else []
        epochs: dict[str, list[Epoch]] = {}
        rows: list[Any] = connection.execute(SELECT_EPOCHS).fetchall()
        try:
            for sensor_id, *row in rows:
                epochs.setdefault(sensor_id, []).append(epoch_from_row(*row))
        except MALFORMED_EPOCH_ERRORS as error:
            raise DatabaseUnreadable(path, f"its epochs cannot be read: {type(error).__name__}: {error}") from error
        return FoundDatabase(path, file, stores_readings(connection), dict(checkpoints), dict(origins), epochs)


def joined_history(sensor_id: str, found: Sequence[FoundDatabase]) -> StoredHistory | None:
    """Return the history of a sensor from all databases that have some of it, None if it has no reading."""
    parts, epochs = [], {}
    for database in found:
        end = database.next_seqs.get(sensor_id, 0)
        for epoch in database.epochs.get(sensor_id, ()):
            epochs[epoch.schedule.first_seq] = epoch
        first = database.first_seqs.get(sensor_id, 0)
        if first < end:
            parts.append(DatabasePart(database.path, database.file, first, end, database.stored))
    parts.sort(key=lambda part: part.first)
    for before, after in pairwise(parts):
        if after.first < before.end:
            raise UserError(f"{sensor_id} is in {before.path.name} and in {after.path.name}: move one of them away")
    if not parts or not epochs:
        return None
    ordered = tuple(epochs[first_seq] for first_seq in sorted(epochs))
    return StoredHistory(sensor_id, ordered, tuple(parts))

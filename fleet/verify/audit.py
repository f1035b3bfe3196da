"""One database checked, from its first row to its last, in short read transactions that no writer has to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import apsw

from fleet.datadir.backups import is_backup
from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.verify.episode_check import ExpectedSpan, compare_episodes, unknown_sensors
from fleet.verify.expected import EPISODE_SEARCH_READINGS, EpochRange, ExpectedSensorData, Row
from fleet.verify.findings import Finding, FindingLog
from fleet.verify.recorded_state import RecordedState
from fleet.verify.row_checker import RowChecker, describe_difference
from fleet.verify.row_scan import MIN_ROW_ID, RowScanner
from worker.schedule import Schedule
from worker.storage.schema import IDENTITY_COLUMNS, identity_values

FLEET_TABLES = ("sensor_readings", "anomaly_episodes", "epochs", "checkpoints", "database_info")
SELECT_TABLE_NAMES = (
    f"SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ({','.join('?' * len(FLEET_TABLES))})"
)

BUSY_TIMEOUT_MS = 10_000
"""How long to wait for a lock."""

MIN_CHUNK_ROWS, MAX_CHUNK_ROWS, CHUNK_ROWS_PER_SENSOR = 20_000, 200_000, 1_000
"""Rows that are read at once: enough for each sensor that blocks of its readings are worth computing."""

MAX_CACHED_GENERATORS = 2_000
"""Sensors of one database whose compiled plans are kept."""

EPISODE_TRANSACTION_SECONDS = 0.2
MAX_DAMAGED_CHUNKS = 1_000


@dataclass(frozen=True, slots=True)
class AuditScope:
    """What to check: one sensor or (None) all. `seed` is what every epoch must have, None if nobody knows."""

    sensor: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class SensorPosition:
    """Where a sensor stands: its checkpoint and the schedule it is in, None if it has none that can be read."""

    next_seq: int
    schedule: Schedule | None


class PreviousDatabase(NamedTuple):
    """A sensor's readings before `first_seq` are in the database `file`, which was rotated."""

    first_seq: int
    file: str


@dataclass(slots=True)
class AuditResult:
    """What was found in one database. `skipped` says why there was nothing to check."""

    readings: int = 0
    episodes: int = 0
    sensors: dict[str, SensorPosition] = field(default_factory=dict)
    previous_databases: dict[str, PreviousDatabase] = field(default_factory=dict)
    skipped: str | None = None


def audit_database(
    path: Path, scope: AuditScope, finding_log: FindingLog, on_progress: Callable[[float], None]
) -> AuditResult:
    """Check the database at `path`; `on_progress` hears the share that is done. Whatever is wrong goes into the finding_log."""
    result = AuditResult()
    try:
        with read_only_connection(path) as opened:
            opened.set_busy_timeout(BUSY_TIMEOUT_MS)
            found = {name for (name,) in opened.execute(SELECT_TABLE_NAMES, FLEET_TABLES)}
            if not found - {"sensor_readings"}:
                result.skipped = "no database of a fleet"
            elif "database_info" in found and opened.execute("SELECT role FROM database_info").get == "central":
                result.skipped = "a central database"
            elif len(found) < len(FLEET_TABLES):
                missing = ", ".join(name for name in FLEET_TABLES if name not in found)
                finding_log.add(Finding("unreadable", None, path.name, None, None, f"it has no table {missing}"))
            elif is_backup(path):
                result.skipped = "a backup"
            else:
                DatabaseAuditor(opened, path.name, scope, finding_log, result).run(on_progress)
    except DatabaseUnreadable as error:
        reason = str(error).removeprefix(f"{path}: ")
        finding_log.add(Finding("unreadable", None, path.name, None, None, reason))
    return result


class DatabaseAuditor:
    """One database under examination. Everything it reads in one snapshot is judged by that snapshot's checkpoints."""

    def __init__(
        self, opened: apsw.Connection, name: str, scope: AuditScope, finding_log: FindingLog, result: AuditResult
    ) -> None:
        self._connection, self._name, self._finding_log, self._result = opened, name, finding_log, result
        self._recorded = RecordedState(self._note_sensor, scope.seed, scope.sensor)
        self._scanner = RowScanner(opened, only=scope.sensor is not None)
        self._all = scope.sensor is None
        self._checkers: dict[str, RowChecker] = {}

    def run(self, on_progress: Callable[[float], None]) -> None:
        self._scanner.read_other_tables()
        self._result.previous_databases = previous_databases(self._connection)
        after: int | None = MIN_ROW_ID
        damages = 0
        while after is not None:
            with snapshot(self._connection):
                self._read_recorded_state()
                size = self._scanner.last_id() or 1
                after, damaged = self._check_rows(after)
                damages += damaged
                after = after if damages < MAX_DAMAGED_CHUNKS else None
                if after is None:
                    self._finish_rows()
            on_progress(1.0 if after is None else after / size)
        if self._checkers or self._all:
            self._check_episodes()
        for sensor_id, next_seq in self._recorded.checkpoints.items():
            epoch = self._recorded.epoch_ranges[sensor_id][-1].epoch
            self._result.sensors[sensor_id] = SensorPosition(next_seq, epoch.schedule if epoch else None)

    # Readings

    def _read_recorded_state(self) -> None:
        recorded = self._recorded
        changed = recorded.read(self._connection)
        for sensor_id in recorded.checkpoints:
            checker = self._checkers.get(sensor_id)
            if checker is None:
                expected = self._expected_data(sensor_id, recorded.epoch_ranges[sensor_id])
                self._checkers[sensor_id] = RowChecker(expected, partial(self._note, sensor_id), self._begin(sensor_id))
            elif changed:
                checker.expected = self._expected_data(sensor_id, recorded.epoch_ranges[sensor_id])

    def _begin(self, sensor_id: str) -> int:
        """The first reading of a sensor that is to be here."""
        previous = self._result.previous_databases.get(sensor_id)
        return previous.first_seq if previous else 0

    def _expected_data(self, sensor_id: str, epoch_ranges: tuple[EpochRange, ...]) -> ExpectedSensorData:
        return ExpectedSensorData(epoch_ranges, partial(self._recorded.report_once, "epoch", sensor_id))

    def _check_rows(self, after: int) -> tuple[int | None, bool]:
        """Check a chunk. Returns the id after which to go on, None after the last, and whether there was damage."""
        checkers = list(self._checkers.items())
        if not checkers and not self._all:
            return None, False
        identities = [self._identity(sensor_id, checker) for sensor_id, checker in checkers]
        self._scanner.set_identities(identities)
        limit = min(MAX_CHUNK_ROWS, max(MIN_CHUNK_ROWS, len(checkers) * CHUNK_ROWS_PER_SENSOR))
        rows, next_after, damage = self._scanner.read_chunk(after, limit)
        self._result.readings += len(rows)
        if damage:
            self._finding_log.add(Finding("unreadable", None, self._name, None, None, damage))
        if len(checkers) == 1:
            self._check_sensor_rows(*checkers[0], rows, identities[0], (1,))
        else:
            for number, some in group_by_number(rows).items():
                if number is None:
                    self._note_unknown_sensor_rows(some)
                else:
                    self._check_sensor_rows(*checkers[number], some, identities[number], (1, number))
        if len(checkers) > MAX_CACHED_GENERATORS:
            for _, checker in checkers:
                checker.expected.drop_cache()
        return next_after, damage is not None

    def _identity(self, sensor_id: str, checker: RowChecker) -> Row:
        """That of the readings to come."""
        epoch = checker.expected.epoch_range(checker.next_seq).epoch
        return identity_values(epoch.identity) if epoch else (sensor_id, *[None] * (len(IDENTITY_COLUMNS) - 1))

    def _check_sensor_rows(
        self, sensor_id: str, checker: RowChecker, rows: list[Row], identity: Row, constants: tuple[int, ...]
    ) -> None:
        checker.check(rows, self._recorded.checkpoints[sensor_id], identity, constants, self._differing)

    def _differing(self, row_id: int, right: Row) -> str:
        found = self._scanner.read_identity(row_id)
        pairs = zip(IDENTITY_COLUMNS, found, right, strict=True)
        return "; ".join(describe_difference(name, value, must) for name, value, must in pairs if value != must)

    def _note_unknown_sensor_rows(self, rows: list[Row]) -> None:
        for row in rows:
            sensor_id = None if self._finding_log.is_full("stray") else str(self._scanner.read_identity(row[0])[0])
            detail = f"row {row[0]} is of a sensor that has no checkpoint"
            self._finding_log.add(Finding("stray", sensor_id, self._name, None, None, detail))

    def _finish_rows(self) -> None:
        for sensor_id, checker in self._checkers.items():
            checker.finish(self._recorded.checkpoints[sensor_id])

    # Episodes

    def _check_episodes(self) -> None:
        waiting = [(sensor_id, MIN_ROW_ID) for sensor_id in sorted(self._checkers, reverse=True)]
        while waiting:
            with snapshot(self._connection):
                self._read_recorded_state()
                until = time.monotonic() + EPISODE_TRANSACTION_SECONDS
                while waiting and time.monotonic() < until:
                    sensor_id, low = waiting.pop()
                    more = self._compare_episodes(sensor_id, low)
                    if more is not None:
                        waiting.append((sensor_id, more))
        if self._all:
            for sensor_id, detail in unknown_sensors(self._connection):
                self._note(sensor_id, "episode extra", None, None, detail)

    def _compare_episodes(self, sensor_id: str, low: int) -> int | None:
        expected, end = self._checkers[sensor_id].expected, self._recorded.checkpoints[sensor_id]
        note = partial(self._note, sensor_id)
        span = ExpectedSpan(
            self._begin(sensor_id), end, min(end, self._checkers[sensor_id].rows_end + EPISODE_SEARCH_READINGS)
        )
        looked_at, more = compare_episodes(self._connection, sensor_id, expected, low, span, note)
        self._result.episodes += looked_at
        if len(self._checkers) > MAX_CACHED_GENERATORS:
            expected.drop_cache()
        return more

    # Findings

    def _note(self, sensor_id: str, kind: str, first: int | None, last: int | None, detail: str) -> None:
        self._finding_log.add(Finding(kind, sensor_id, self._name, first, last, detail))

    def _note_sensor(self, kind: str, sensor_id: str, first_seq: int | None, detail: str) -> None:
        self._finding_log.add(Finding(kind, sensor_id, self._name, first_seq, None, detail))


def previous_databases(opened: apsw.Connection) -> dict[str, PreviousDatabase]:
    """Where the readings before those of a database are; only one that follows on a rotated one has that on record."""
    if not opened.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'origins'").get:
        return {}
    found = opened.execute("SELECT sensor_id, first_seq, file FROM origins").fetchall()
    return {
        str(sensor): PreviousDatabase(first, str(file))
        for sensor, first, file in found
        if isinstance(first, int) and first > 0
    }


def group_by_number(rows: list[Row]) -> dict[int | None, list[Row]]:
    """Rows by what stands last in each."""
    buckets: dict[int | None, list[Row]] = {}
    for row in rows:
        number = row[-1]
        if number in buckets:
            buckets[number].append(row)
        else:
            buckets[number] = [row]
    return buckets


@contextmanager
def snapshot(opened: apsw.Connection) -> Iterator[None]:
    """A read transaction: everything in it sees the same state."""
    opened.execute("BEGIN")
    try:
        yield
    finally:
        if opened.in_transaction:
            opened.execute("COMMIT")  # of what went into temporary tables

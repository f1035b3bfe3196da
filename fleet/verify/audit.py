"""The check of one database from its first row to its last, in read transactions short enough not to delay a writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from fleet.datadir.backups import is_backup
from fleet.datadir.readings import DatabaseChanged, DatabaseUnreadable, read_only_connection
from fleet.verify.database_info import PreviousDatabase, info_errors, previous_databases
from fleet.verify.episode_check import ExpectedSpan, compare_episodes, unknown_sensors
from fleet.verify.expected import EPISODE_SEARCH_READINGS, EpochRange, ExpectedSensorData, Row, further_column_names
from fleet.verify.findings import Finding, FindingLog
from fleet.verify.recorded_state import RecordedState
from fleet.verify.removals import Removals, check_removals, own_ranges, read_removals
from fleet.verify.row_checker import RowChecker, describe_difference
from fleet.verify.row_scan import MIN_ROW_ID, RowScanner
from worker.schedule import Schedule
from worker.storage.database_files import Inode, inode
from worker.storage.schema import IDENTITY_COLUMNS, identity_values, stores_readings

FLEET_TABLES = ("sensor_readings", "anomaly_episodes", "epochs", "checkpoints", "database_info")
SELECT_TABLE_NAMES = (
    f"SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ({','.join('?' * len(FLEET_TABLES))})"
)

SELECT_LAST_EPISODES = "SELECT sensor_id, max(last_seq) FROM anomaly_episodes GROUP BY sensor_id"

BUSY_TIMEOUT_MS = 10_000

MIN_CHUNK_ROWS, MAX_CHUNK_ROWS, CHUNK_ROWS_PER_SENSOR = 20_000, 200_000, 1_000
"""Rows per chunk: enough readings of each sensor to compute them in blocks."""

MAX_CACHED_GENERATORS = 2_000
"""Sensors of one database up to which their compiled generators are kept between chunks."""

EPISODE_TRANSACTION_SECONDS = 0.2
MAX_DAMAGED_CHUNKS = 1_000

MAX_AUDIT_ATTEMPTS, AUDIT_RETRY_SECONDS = 6, 0.1
TRANSIENT_ERRORS = (
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.ProtocolError,
    apsw.IOError,
)
"""The errors of an opening in the middle of a rotation, or of a worker's start. A lock has been waited for already."""


@dataclass(frozen=True, slots=True)
class AuditScope:
    """The scope of a check: one sensor, or all if it is None. `seeds` has the seed that the epochs of a sensor must have, if
    it is known."""

    sensor: str | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SensorPosition:
    """The checkpoint of a sensor, and the schedule and (name, unit) of each channel of its last epoch, None and () if that
    cannot be read. `run` is the number of the last run that has claimed it, 0 if that is unknown, `epoch_run` that of the
    run which has begun the epoch."""

    next_seq: int
    schedule: Schedule | None
    channels: tuple[tuple[str, str], ...] = ()
    run: int = 0
    epoch_run: int = 0


@dataclass(slots=True)
class AuditResult:
    """The contents of one database. `skipped` is the reason if it was not checked. `computed` counts the scheduled readings of
    a database that stores none: nothing in it can be compared with them. `removals` are the removed readings on record, by
    sensor."""

    readings: int = 0
    computed: int = 0
    episodes: int = 0
    sensors: dict[str, SensorPosition] = field(default_factory=dict)
    previous_databases: dict[str, PreviousDatabase] = field(default_factory=dict)
    skipped: str | None = None
    removals: Removals = field(default_factory=dict)


def audit_database(
    path: Path, scope: AuditScope, finding_log: FindingLog, on_progress: Callable[[float], None]
) -> AuditResult:
    """Check the database at `path` and add the differences to `finding_log`; `on_progress` takes the share that is done.

    It is checked again if it was replaced meanwhile, as by a rotation, or if it could not be opened for a reason that may
    pass. Only findings of a check that saw one database from beginning to end count.
    """
    for attempt in range(MAX_AUDIT_ATTEMPTS):
        if attempt:
            time.sleep(AUDIT_RETRY_SECONDS)
        found, result, error = FindingLog(), AuditResult(), None
        before = file_inode(path)
        try:
            result = audit_once(path, scope, found, on_progress)
        except DatabaseUnreadable as unreadable:
            error = unreadable
        if before == file_inode(path) and not may_pass(error):
            break
    else:
        found, error = FindingLog(), error or DatabaseUnreadable(path, "it is replaced again and again")
    if error is not None:
        found.add(Finding("unreadable", None, path.name, None, None, str(error).removeprefix(f"{path}: ")))
    finding_log.extend(found)
    return result


def may_pass(error: DatabaseUnreadable | None) -> bool:
    """Return whether an error may be over at the next attempt: the worker opens, rotates or replaces its database."""
    if error is None:
        return False
    cause = error.__cause__
    return isinstance(error, DatabaseChanged) or cause is None or isinstance(cause, TRANSIENT_ERRORS)


def file_inode(path: Path) -> Inode:
    try:
        return inode(path)
    except OSError:
        return None


def audit_once(
    path: Path, scope: AuditScope, finding_log: FindingLog, on_progress: Callable[[float], None]
) -> AuditResult:
    """Check the database once. Raises DatabaseUnreadable."""
    result = AuditResult()
    with read_only_connection(path) as opened:
        opened.set_busy_timeout(BUSY_TIMEOUT_MS)
        tables = {name for (name,) in opened.execute(SELECT_TABLE_NAMES, FLEET_TABLES)}
        if not stores_readings(opened):
            tables.add("sensor_readings")
        if not tables - {"sensor_readings"}:
            result.skipped = "no database of a fleet"
        elif "database_info" in tables and opened.execute("SELECT role FROM database_info").get == "central":
            result.skipped = "a central database"
        elif len(tables) < len(FLEET_TABLES):
            missing = ", ".join(name for name in FLEET_TABLES if name not in tables)
            finding_log.add(Finding("unreadable", None, path.name, None, None, f"it has no table {missing}"))
        elif is_backup(path):
            result.skipped = "a backup"
        else:
            DatabaseAuditor(opened, path.name, scope, finding_log, result).run(on_progress)
    return result


class DatabaseAuditor:
    """Checks one database. Rows that are read in a snapshot are compared with the checkpoints of the same snapshot."""

    def __init__(
        self, opened: apsw.Connection, name: str, scope: AuditScope, finding_log: FindingLog, result: AuditResult
    ) -> None:
        self._connection, self._name, self._finding_log, self._result = opened, name, finding_log, result
        self._recorded = RecordedState(self._note, scope.seeds, scope.sensor)
        self._scanner = RowScanner(opened, only=scope.sensor is not None)
        self._all = scope.sensor is None
        self._stored = stores_readings(opened)
        self._checkers: dict[str, RowChecker] = {}
        self._further: tuple[str, ...] = ()
        self._missing_columns: set[str] = set()

    def run(self, on_progress: Callable[[float], None]) -> None:
        """Check readings and episodes, and set the positions of the sensors in the result."""
        if self._all:
            self._check_database_info()
        self._result.previous_databases = previous_databases(self._connection)
        if self._stored:
            self._scanner.read_other_tables()
            self._check_all_rows(on_progress)
        else:
            self._note_computed()
            on_progress(1.0)
        if self._checkers or self._all:
            self._check_episodes()
        for sensor_id, next_seq in self._recorded.checkpoints.items():
            epoch = self._recorded.epoch_ranges[sensor_id][-1].epoch
            self._result.sensors[sensor_id] = SensorPosition(
                next_seq,
                epoch.schedule if epoch else None,
                tuple((channel.name, channel.unit) for channel in epoch.settings.channels) if epoch else (),
                self._recorded.runs.get(sensor_id, 0),
                epoch.run if epoch and isinstance(epoch.run, int) else 0,
            )

    def _check_all_rows(self, on_progress: Callable[[float], None]) -> None:
        after: int | None = MIN_ROW_ID
        damaged_chunks = 0
        while after is not None:
            with snapshot(self._connection):
                self._read_recorded_state()
                size = self._scanner.last_id() or 1
                after, damaged = self._check_rows(after)
                damaged_chunks += damaged
                after = after if damaged_chunks < MAX_DAMAGED_CHUNKS else None
                if after is None:
                    self._finish_rows()
            on_progress(1.0 if after is None else after / size)
        if damage := self._scanner.index_damage():
            self._finding_log.add(Finding("unreadable", None, self._name, None, None, damage))

    def _note_computed(self) -> None:
        """Count the readings that are not stored. Episodes are searched for up to some time after the last one on record."""
        with snapshot(self._connection):
            self._read_recorded_state()
            last_seqs: Any = self._connection.execute(SELECT_LAST_EPISODES).fetchall()
        last_episodes = dict(last_seqs)
        for sensor_id, checker in self._checkers.items():
            self._result.computed += self._recorded.checkpoints[sensor_id]
            last = last_episodes.get(sensor_id)
            checker.rows_end = last if isinstance(last, int) else 0

    def _check_database_info(self) -> None:
        rows = self._connection.execute("SELECT role, generation, schema_version FROM database_info").fetchall()
        details = (detail for row in rows for detail in info_errors(self._name, *row))
        for detail in details if len(rows) == 1 else [f"it has {len(rows)} rows"]:
            self._finding_log.add(Finding("record", None, self._name, None, None, f"database_info: {detail}"))

    # Readings

    def _read_recorded_state(self) -> None:
        recorded = self._recorded
        changed = recorded.read(self._connection)
        self._result.removals = read_removals(self._connection, recorded.sensor, self._report_removal)
        for sensor_id in recorded.checkpoints:
            checker = self._checkers.get(sensor_id)
            if checker is None:
                expected = self._expected_data(sensor_id, recorded.epoch_ranges[sensor_id])
                self._checkers[sensor_id] = RowChecker(
                    expected, partial(self._note, sensor_id), self._first_seq(sensor_id)
                )
            elif changed:
                checker.expected = self._expected_data(sensor_id, recorded.epoch_ranges[sensor_id])
            self._checkers[sensor_id].set_removed(own_ranges(self._result.removals.get(sensor_id, ())))
        if changed and self._stored:
            self._find_further_columns()

    def _report_removal(self, sensor_id: str, detail: str) -> None:
        self._recorded.report_once("record", sensor_id, None, detail)

    def _find_further_columns(self) -> None:
        """Find the columns behind `seq` that the epochs name; foreign ones are left alone."""
        known: dict[str, None] = {}
        needed: dict[str, str] = {}
        for sensor_id, epoch_ranges in self._recorded.epoch_ranges.items():
            first, end = self._first_seq(sensor_id), self._recorded.checkpoints[sensor_id]
            for epoch_range in epoch_ranges:
                names = further_column_names(epoch_range)
                known |= dict.fromkeys(names)
                if max(first, epoch_range.first) < min(end, epoch_range.end):
                    needed |= dict.fromkeys(names, sensor_id)
        present = self._scanner.column_names()
        self._further = tuple(name for name in known if name in present)
        self._scanner.set_further_columns(self._further)
        for name, sensor_id in needed.items():
            if name not in present and name not in self._missing_columns:
                self._missing_columns.add(name)
                self._note(sensor_id, "record", None, None, f"sensor_readings has no column {name}, as its epochs say")

    def _first_seq(self, sensor_id: str) -> int:
        """Return the first reading of a sensor that this database must have."""
        previous = self._result.previous_databases.get(sensor_id)
        return previous.first_seq if previous else 0

    def _expected_data(self, sensor_id: str, epoch_ranges: tuple[EpochRange, ...]) -> ExpectedSensorData:
        return ExpectedSensorData(epoch_ranges, partial(self._recorded.report_once, "epoch", sensor_id))

    def _check_rows(self, after: int) -> tuple[int | None, bool]:
        """Check a chunk. Returns the id to continue after, None after the last, and True if the chunk was damaged."""
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
            for number, sensor_rows in group_by_number(rows).items():
                if number is None:
                    self._note_unknown_sensor_rows(sensor_rows)
                else:
                    self._check_sensor_rows(*checkers[number], sensor_rows, identities[number], (1, number))
        if len(checkers) > MAX_CACHED_GENERATORS:
            for _, checker in checkers:
                checker.expected.drop_cache()
        return next_after, damage is not None

    def _identity(self, sensor_id: str, checker: RowChecker) -> Row:
        """Return the identity columns that the next rows of a sensor must have."""
        epoch = checker.expected.epoch_range(checker.next_seq).epoch
        return identity_values(epoch.identity) if epoch else (sensor_id, *[None] * (len(IDENTITY_COLUMNS) - 1))

    def _check_sensor_rows(
        self, sensor_id: str, checker: RowChecker, rows: list[Row], identity: Row, constants: tuple[int, ...]
    ) -> None:
        checker.check(
            rows, self._recorded.checkpoints[sensor_id], identity, self._further, constants, self._describe_identity
        )

    def _describe_identity(self, row_id: int, identity: Row) -> str:
        """Return the differences between the identity of a row and another one."""
        columns = zip(IDENTITY_COLUMNS, self._scanner.read_identity(row_id), identity, strict=True)
        return "; ".join(describe_difference(name, value, must) for name, value, must in columns if value != must)

    def _note_unknown_sensor_rows(self, rows: list[Row]) -> None:
        for row in rows:
            sensor_id = None if self._finding_log.is_full("stray") else str(self._scanner.read_identity(row[0])[0])
            detail = f"row {row[0]} is of a sensor that has no checkpoint"
            self._finding_log.add(Finding("stray", sensor_id, self._name, None, None, detail))

    def _finish_rows(self) -> None:
        for sensor_id, checker in self._checkers.items():
            checker.finish(self._recorded.checkpoints[sensor_id])
        self._check_removals()

    def _check_removals(self) -> None:
        generation = self._connection.execute("SELECT generation FROM database_info").get
        newest_us = self._recorded.newest_us() if self._all else None
        for sensor_id, removals in self._result.removals.items():
            checker = self._checkers.get(sensor_id)
            if checker is None:
                self._note(sensor_id, "record", None, None, "removals: it has no checkpoint")
                continue
            span = self._first_seq(sensor_id), self._recorded.checkpoints[sensor_id]
            check_removals(removals, checker.expected, span, newest_us, generation, partial(self._note, sensor_id))

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
            self._first_seq(sensor_id), end, min(end, self._checkers[sensor_id].rows_end + EPISODE_SEARCH_READINGS)
        )
        compared, more = compare_episodes(self._connection, sensor_id, expected, low, span, note)
        self._result.episodes += compared
        if len(self._checkers) > MAX_CACHED_GENERATORS:
            expected.drop_cache()
        return more

    # Findings

    def _note(self, sensor_id: str, kind: str, first: int | None, last: int | None, detail: str) -> None:
        self._finding_log.add(Finding(kind, sensor_id, self._name, first, last, detail))


def group_by_number(rows: list[Row]) -> dict[int | None, list[Row]]:
    """Group rows by their last column."""
    groups: dict[int | None, list[Row]] = {}
    for row in rows:
        number = row[-1]
        if number in groups:
            groups[number].append(row)
        else:
            groups[number] = [row]
    return groups


@contextmanager
def snapshot(opened: apsw.Connection) -> Iterator[None]:
    """Open a read transaction, in which all queries see the same state."""
    opened.execute("BEGIN")
    try:
        yield
    finally:
        if opened.in_transaction:
            opened.execute("COMMIT")  # COMMIT, because temporary tables were written

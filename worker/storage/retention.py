"""Retention: a worker removes the old readings of its own sensors, on record, in ordinary commits.

A reading is old if it was due more than `keep` of simulated time before the last reading that is committed; `timestamp`
does not matter. It is removed only if it is marked as delivered (`synced`). In a fleet with targets of its own they must
also have noted that they are past it (table `deliveries`): a mark may be older than a target.

A commit removes about as many readings as it adds, and some more while there is a backlog. The record (table `removals`) is
written in the same transaction. Free pages of the database are used again, so its file stops growing. Epochs and
episodes stay, so whatever was removed can be computed again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from worker.schedule import SECOND_US, Schedule, format_time
from worker.storage.schema import has_readings_key, stores_readings
from worker.storage.sinks import Portion

log = logging.getLogger("database")

SURPLUS_READINGS_PER_COMMIT = 500
"""Readings that a commit removes beyond the number that it adds, all sensors together; they take some milliseconds."""

RESCAN_SECONDS = 60.0
"""Seconds until readings that were old but not delivered are looked at again."""

FRUITLESS_SECONDS = 5.0
"""Seconds until the next look at a sensor of which a look has found nothing to remove, and after a failed commit."""

CREATE_REMOVALS = """
CREATE TABLE IF NOT EXISTS removals (
    sensor_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    first_id INTEGER,
    removed_at TEXT NOT NULL,
    keep_seconds REAL NOT NULL,
    file TEXT,
    generation TEXT NOT NULL,
    PRIMARY KEY (sensor_id, first_seq)
) WITHOUT ROWID
"""
"""The readings of a sensor from first_seq to last_seq that are not there any more, `readings` in number. `removed_at` is
simulated time. `file` is the rotated database that had them, NULL for this one, and `generation` that of the database."""

CREATE_DELIVERIES = """
CREATE TABLE IF NOT EXISTS deliveries (
    targets TEXT PRIMARY KEY,
    last_id INTEGER NOT NULL,
    refused INTEGER NOT NULL
) WITHOUT ROWID
"""
"""The row id up to which all targets of a fleet have each reading, but for those that one has `refused`. `targets` is a
digest of their names. There is one row."""

HAS_TABLE = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?"
SELECT_DELIVERED = "SELECT last_id, refused FROM deliveries WHERE targets = ?"
SELECT_FIRST_SEQ = "SELECT min(seq) FROM sensor_readings WHERE sensor_id = ? AND typeof(seq) = 'integer'"
SELECT_SCHEDULE = """
SELECT first_seq, start_us, json_extract(settings, '$.rate'),
    (SELECT min(first_seq) FROM epochs later WHERE later.sensor_id = ?1 AND later.first_seq > ?2)
FROM epochs WHERE sensor_id = ?1 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1
"""
SELECT_OLD = """
SELECT seq, id, synced IS 1 FROM sensor_readings
WHERE sensor_id = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?
"""
DELETE_READINGS = "DELETE FROM sensor_readings WHERE sensor_id = ? AND seq BETWEEN ? AND ?"
SELECT_REMOVAL_BEFORE = """
SELECT first_seq, last_seq FROM removals
WHERE sensor_id = ? AND first_seq < ? AND file IS NULL ORDER BY first_seq DESC LIMIT 1
"""
SELECT_BETWEEN = "SELECT 1 FROM sensor_readings WHERE sensor_id = ? AND seq > ? AND seq < ? LIMIT 1"
SELECT_JOINED = """
SELECT count(*), min(first_seq), max(last_seq), total(readings), min(first_id) FROM removals
WHERE sensor_id = ? AND first_seq BETWEEN ? AND ? AND file IS NULL
"""
DELETE_JOINED = "DELETE FROM removals WHERE sensor_id = ? AND first_seq BETWEEN ? AND ? AND file IS NULL"
INSERT_REMOVAL = """
INSERT OR REPLACE INTO removals VALUES (?, ?, ?, ?, ?, ?, ?, NULL, (SELECT generation FROM database_info))
"""


class Delivered(NamedTuple):
    """The row id up to which all targets have each reading, and the number of those that one has refused."""

    last_id: int
    refused: int


class EpochSchedule(NamedTuple):
    """The schedule of an epoch, and the sequence number at which the next one begins, None if it is the last."""

    schedule: Schedule
    end: int | None


@dataclass(slots=True)
class SensorProgress:
    """How far a worker has looked for old readings of a sensor: all before `position` are removed or kept, the first of these
    is `kept`. `blocked_id` is the row id that the targets have to reach first; times are those of `time.monotonic`."""

    position: int
    epoch: EpochSchedule | None = None
    kept: int | None = None
    blocked_id: int | None = None
    not_before: float = 0.0
    rescan_at: float = 0.0


class Retention:
    """The removal of old readings from one database, `keep_us` microseconds after they were due. `targets` is the digest of
    the fleet's targets, "" if it has none. `now_us` is the simulated time of the last committed reading."""

    def __init__(self, keep_us: int, targets: str = "") -> None:
        self.keep_us, self.targets = keep_us, targets
        self.now_us: int | None = None
        self._progress: dict[str, SensorProgress] = {}
        self._possible: bool | None = None
        self._not_before = 0.0

    @property
    def cutoff_us(self) -> int | None:
        """The simulated time up to which readings are old, None if it is unknown."""
        return None if self.now_us is None else self.now_us - self.keep_us

    def forget(self) -> None:
        """Forget what was seen of the database: it was opened again, and may be another one."""
        self._progress.clear()
        self._possible = None

    def postpone(self) -> None:
        """Remove nothing for FRUITLESS_SECONDS after a commit has failed: on a full disk one that only adds may succeed."""
        self.forget()  # what the commit had removed is there again
        self._not_before = time.monotonic() + FRUITLESS_SECONDS

    def remove(self, connection: apsw.Connection, portions: Sequence[Portion]) -> None:
        """Remove old readings of the sensors of the portions, in the transaction that has written these."""
        written = [portion for portion in portions if portion.block]
        if not written:
            return
        self.now_us = max(portion.schedule.time(portion.end - 1) for portion in written)
        if time.monotonic() < self._not_before or not self._is_possible(connection):
            return
        delivered = read_delivered(connection, self.targets) if self.targets else None
        if self.targets and delivered is None:
            return
        surplus = SURPLUS_READINGS_PER_COMMIT
        for portion in written:
            sensor_id, added = portion.identity.sensor_id, portion.end - portion.next_seq
            progress = self._progress.get(sensor_id)
            if progress is None:
                first = connection.execute(SELECT_FIRST_SEQ, (sensor_id,)).get
                progress = self._progress[sensor_id] = SensorProgress(first if isinstance(first, int) else portion.end)
            if portion.epoch:
                progress.epoch = None  # it may have been the last one, which has an end now
            used = self._remove_of(connection, sensor_id, progress, delivered, added + surplus)
            surplus -= max(0, used - added)

    def _is_possible(self, connection: apsw.Connection) -> bool:
        """Return whether the readings of a sensor are found without a search of the whole table."""
        if self._possible is None:
            self._possible = stores_readings(connection) and has_readings_key(connection)
            if not self._possible:
                log.warning(
                    "%s has no index of readings: nothing is removed from it (keep)", Path(connection.filename).name
                )
        return self._possible

    def _remove_of(
        self,
        connection: apsw.Connection,
        sensor_id: str,
        progress: SensorProgress,
        delivered: Delivered | None,
        most: int,
    ) -> int:
        """Look at the next old readings of one sensor, at most `most`. Returns how many those were."""
        now = time.monotonic()
        if now < progress.not_before:
            return 0
        if progress.kept is not None and now >= progress.rescan_at:
            progress.position, progress.kept, progress.epoch = progress.kept, None, None
        end = self._end_of_old(connection, sensor_id, progress)
        if end <= progress.position:
            return 0
        if delivered and progress.blocked_id is not None and delivered.last_id < progress.blocked_id:
            return 0
        progress.blocked_id = None
        rows: list[Any] = connection.execute(SELECT_OLD, (sensor_id, progress.position, end, most)).fetchall()
        complete = len(rows) < most
        if delivered and (blocked := next((row for row in rows if row[1] > delivered.last_id), None)):
            progress.blocked_id, end, complete = blocked[1], blocked[0], True
            rows = [row for row in rows if row[0] < end]
        removed = 0
        for synced, run in groupby(rows, lambda row: bool(row[2])):
            group = list(run)
            if synced:
                self._remove_run(connection, sensor_id, group)
                removed += len(group)
            elif progress.kept is None:
                progress.kept, progress.rescan_at = group[0][0], now + RESCAN_SECONDS
        if rows and not removed:
            progress.not_before = now + FRUITLESS_SECONDS
        progress.position = end if complete else rows[-1][0] + 1
        return len(rows)

    def _end_of_old(self, connection: apsw.Connection, sensor_id: str, progress: SensorProgress) -> int:
        """Return the sequence number up to which readings of the epoch at the position, or of the next ones, are old."""
        cutoff_us = self.cutoff_us
        assert cutoff_us is not None
        while True:
            if progress.epoch is None:
                progress.epoch = read_schedule(connection, sensor_id, progress.position)
                if progress.epoch is None:
                    return progress.position
            schedule, end = progress.epoch
            old = schedule.due(cutoff_us)
            if end is None or old < end:
                return old
            if progress.position < end:
                return end
            progress.epoch = None

    def _remove_run(self, connection: apsw.Connection, sensor_id: str, rows: list[Any]) -> None:
        """Remove consecutive rows, each of them a sequence number and an id, and record it. Records between which no reading is
        left become one."""
        assert self.now_us is not None
        first, last, readings, lowest = rows[0][0], rows[-1][0], len(rows), min(row[1] for row in rows)
        connection.execute(DELETE_READINGS, (sensor_id, first, last))
        connection.execute(CREATE_REMOVALS)
        before: Any = connection.execute(SELECT_REMOVAL_BEFORE, (sensor_id, first)).fetchone()
        joins = before and not connection.execute(SELECT_BETWEEN, (sensor_id, before[1], first)).get
        joined: Any = (sensor_id, before[0] if joins else first, last)
        count, *record = connection.execute(SELECT_JOINED, joined).fetchone() or (0,)
        if count:
            connection.execute(DELETE_JOINED, joined)
            first, last = min(first, record[0]), max(last, record[1])
            readings, lowest = readings + int(record[2]), min(lowest, record[3])
        removed_at, keep = format_time(self.now_us), self.keep_us / SECOND_US
        connection.execute(INSERT_REMOVAL, (sensor_id, first, last, readings, lowest, removed_at, keep))


def has_removals(connection: apsw.Connection) -> bool:
    """Return whether anything was ever removed from the database, or from one before it."""
    return bool(connection.execute(HAS_TABLE, ("removals",)).get)


def read_delivered(connection: apsw.Connection, targets: str) -> Delivered | None:
    """Return how far the targets have got with a database, None if they have not noted it."""
    if not connection.execute(HAS_TABLE, ("deliveries",)).get:
        return None
    row: Any = connection.execute(SELECT_DELIVERED, (targets,)).fetchone()
    return Delivered(*row) if row and all(isinstance(value, int) for value in row) else None


def write_delivered(connection: apsw.Connection, targets: str, delivered: Delivered) -> None:
    """Note how far the targets have got. To be called in a transaction. Raises apsw.Error."""
    connection.execute(CREATE_DELIVERIES)
    connection.execute("DELETE FROM deliveries WHERE targets <> ?", (targets,))
    connection.execute("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?)", (targets, *delivered))


def read_schedule(connection: apsw.Connection, sensor_id: str, seq: int) -> EpochSchedule | None:
    """Return the schedule of the epoch of a reading, None if it cannot be read: nothing is removed then."""
    row: Any = connection.execute(SELECT_SCHEDULE, (sensor_id, seq)).fetchone()
    try:
        first, start_us, rate, end = row
        schedule = Schedule(int(first), int(start_us), Fraction(rate))
    except (ValueError, TypeError, ZeroDivisionError):
        return None
    return EpochSchedule(schedule, end) if schedule.rate > 0 else None

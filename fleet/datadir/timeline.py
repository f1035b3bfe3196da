"""All readings of one sensor in order: when each is due, and in which database it is.

A database that was rotated names the one with the readings before its own. The live one has the epochs of all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from fleet.datadir.readings import DatabaseChanged, DatabaseUnreadable, path_exists, read_only_connection
from fleet.datadir.series import MALFORMED_EPOCH_ERRORS
from worker.schedule import Schedule
from worker.storage.rotation import ROTATED_SUFFIX
from worker.storage.schema import epoch_from_row, has_readings_key, stores_readings
from worker.storage.sinks import Epoch

SELECT_NEXT_SEQ = "SELECT next_seq FROM checkpoints WHERE sensor_id = ?1"
SELECT_GENERATION = "SELECT generation FROM database_info"
SELECT_HAS_ORIGINS = "SELECT 1 FROM sqlite_schema WHERE name = 'origins'"
SELECT_ORIGIN = "SELECT first_seq, file FROM origins WHERE sensor_id = ?1"

SELECT_SCHEDULES = """
    SELECT first_seq, start_us, json_extract(settings, '$.rate') FROM epochs
    WHERE sensor_id = ?1 AND first_seq < ?2 ORDER BY first_seq
"""

SELECT_EPOCHS_BETWEEN = """
    SELECT first_seq, start_us, reason, run, seed, identity, settings FROM epochs
    WHERE sensor_id = ?1 AND first_seq < ?3
      AND first_seq >= coalesce((SELECT max(first_seq) FROM epochs WHERE sensor_id = ?1 AND first_seq <= ?2), 0)
    ORDER BY first_seq
"""

EpochPart = tuple[Epoch, int, int]
"""An epoch, and the readings `first` .. `end - 1` of it that are meant."""


class SensorFile(NamedTuple):
    """A database with the readings of a sensor from `first_seq` up to those of the next one. `generation` is its identity."""

    path: Path
    first_seq: int
    generation: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The readings of a sensor that are on record: `first_seq` .. `next_seq - 1`, in `files`, oldest first. `schedules` are
    those of the epochs with a reading, oldest first."""

    sensor_id: str
    files: tuple[SensorFile, ...]
    schedules: tuple[Schedule, ...]
    next_seq: int

    @property
    def first_seq(self) -> int:
        least = self.schedules[0].first_seq if self.schedules else self.next_seq
        return max(self.files[0].first_seq, least)

    @property
    def last_us(self) -> int:
        """When the last reading was due."""
        return self.time(self.next_seq - 1)

    def time(self, seq: int) -> int:
        """Return when a reading is due, in microseconds since 1970."""
        number = bisect_right(self.schedules, seq, key=lambda schedule: schedule.first_seq) - 1
        return self.schedules[max(number, 0)].time(seq)

    def seq_from(self, time_us: int) -> int:
        """Return the number of the first reading on record that is due at `time_us` or later."""
        number = bisect_right(self.schedules, time_us, key=lambda schedule: schedule.start_us) - 1
        if number < 0:
            return self.first_seq
        schedule = self.schedules[number]
        seq = max(schedule.first_seq, schedule.seq_after(time_us - 1))
        ends = [later.first_seq for later in self.schedules[number + 1 : number + 2]]
        return max(min([seq, self.next_seq, *ends]), self.first_seq)

    def files_between(self, first: int, end: int) -> Iterator[tuple[SensorFile, int, int]]:
        """Yield the databases with readings of `first` .. `end - 1`, each with the first and the end of those that it has."""
        ends = [*(file.first_seq for file in self.files[1:]), self.next_seq]
        for file, file_end in zip(self.files, ends, strict=True):
            begin, until = max(first, file.first_seq), min(end, file_end)
            if begin < until:
                yield file, begin, until


def read_timeline(path: Path, sensor_id: str) -> Timeline | None:
    """Return the timeline of a sensor whose live database is at `path`, None if it has no reading. Raises
    DatabaseUnreadable."""
    with read_only_connection(path) as opened, opened:
        next_seq = opened.execute(SELECT_NEXT_SEQ, (sensor_id,)).get
        rows: list[Any] = opened.execute(SELECT_SCHEDULES, (sensor_id, next_seq)).fetchall()
        files = [sensor_file(opened, path, sensor_id)]
        origin = origin_of(opened, sensor_id)
    if not isinstance(next_seq, int) or not rows:
        return None
    try:
        schedules = tuple(Schedule(first, start_us, Fraction(rate)) for first, start_us, rate in rows)
    except MALFORMED_EPOCH_ERRORS as error:
        raise DatabaseUnreadable(path, f"its epochs cannot be read: {type(error).__name__}: {error}") from None
    while origin is not None and path_exists(path.with_name(origin[1])):
        with read_only_connection(path.with_name(origin[1])) as opened, opened:
            older = sensor_file(opened, path.with_name(origin[1]), sensor_id)
            origin = origin_of(opened, sensor_id)
        if older.first_seq >= files[-1].first_seq:
            raise DatabaseUnreadable(older.path, f"it begins after {files[-1].path.name}, which continues it")
        files.append(older)
    return Timeline(sensor_id, tuple(reversed(files)), schedules, next_seq)


def sensor_file(opened: apsw.Connection, path: Path, sensor_id: str) -> SensorFile:
    origin = origin_of(opened, sensor_id)
    generation = opened.execute(SELECT_GENERATION).get
    return SensorFile(path, 0 if origin is None else origin[0], str(generation))


def origin_of(opened: apsw.Connection, sensor_id: str) -> tuple[int, str] | None:
    """Return the first number of a sensor in a database that continues another, and the name of that one."""
    if not opened.execute(SELECT_HAS_ORIGINS).get:
        return None
    row: Any = opened.execute(SELECT_ORIGIN, (sensor_id,)).fetchone()
    if row is None or not isinstance(row[0], int) or Path(str(row[1])).name != row[1]:
        return None
    return (row[0], row[1]) if ROTATED_SUFFIX.search(Path(row[1]).stem) else None


@contextmanager
def opened_file(file: SensorFile) -> Iterator[apsw.Connection]:
    """Open one database of a timeline in a transaction. Raises DatabaseChanged if another has its name by now, and
    DatabaseUnreadable if its readings have no index."""
    with read_only_connection(file.path) as opened, opened:
        if opened.execute(SELECT_GENERATION).get != file.generation:
            raise DatabaseChanged(file.path)
        if stores_readings(opened) and not has_readings_key(opened):
            reason = "written by version 0.1.0, its readings have no index: only the last minutes can be shown"
            raise DatabaseUnreadable(file.path, reason)
        yield opened


def read_epoch_parts(path: Path, sensor_id: str, first: int, end: int) -> list[EpochPart]:
    """Return the epochs of the readings `first` .. `end - 1` from the live database. Raises DatabaseUnreadable."""
    with read_only_connection(path) as opened:
        rows: list[Any] = opened.execute(SELECT_EPOCHS_BETWEEN, (sensor_id, first, end)).fetchall()
    try:
        epochs = [cached_epoch(*row) for row in rows]
    except MALFORMED_EPOCH_ERRORS as error:
        raise DatabaseUnreadable(path, f"its epochs cannot be read: {type(error).__name__}: {error}") from None
    return split_at_epochs(epochs, first, end)


def split_at_epochs(epochs: Sequence[Epoch], first: int, end: int) -> list[EpochPart]:
    ends = [epoch.schedule.first_seq for epoch in epochs[1:]] + [end] * bool(epochs)
    return [
        (epoch, max(first, epoch.schedule.first_seq), min(end, until))
        for epoch, until in zip(epochs, ends, strict=True)
        if max(first, epoch.schedule.first_seq) < min(end, until)
    ]


@lru_cache(maxsize=512)
def cached_epoch(
    first_seq: int, start_us: int, reason: str, run: int, seed: str, identity: str, settings: str
) -> Epoch:
    """Return the epoch of a row, which is parsed once: many ranges have the same epochs."""
    return epoch_from_row(first_seq, start_us, reason, run, seed, identity, settings)

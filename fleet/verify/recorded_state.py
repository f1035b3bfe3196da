"""What a database has on record of its sensors, as of one snapshot: checkpoints and epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import apsw

from fleet.verify.expected import COMPUTE_ERRORS, END_OF_SEQS, EpochRange
from worker.schedule import SECOND_US, format_time
from worker.spec import Settings
from worker.storage.schema import epoch_from_row
from worker.storage.sinks import Epoch

MAX_RATE_HZ = 100_000
MIN_EPOCH_START_US, MAX_EPOCH_START_US = -62_135_596_800 * SECOND_US, 253_402_300_800 * SECOND_US
"""The years 1 to 9999."""

SELECT_NEXT_SEQS = "SELECT sensor_id, next_seq FROM checkpoints WHERE ?1 IS NULL OR sensor_id = ?1"
COUNT_EPOCHS = "SELECT count(*) FROM epochs WHERE ?1 IS NULL OR sensor_id = ?1"
SELECT_EPOCH_ROWS = """
    SELECT sensor_id, first_seq, start_time, start_us, reason, run, seed, identity, settings FROM epochs
    WHERE ?1 IS NULL OR sensor_id = ?1 ORDER BY sensor_id, first_seq
"""

NoteSensorFinding = Callable[[str, str, int | None, str], None]
"""Told of a finding: kind, sensor, first seq, detail."""


@dataclass(slots=True)
class RecordedState:
    """`checkpoints` and `epoch_ranges` by sensor. `seed` is what every epoch must have, None if nobody knows.

    A finding is told once, however often the same is read.
    """

    note: NoteSensorFinding
    seed: int | None
    sensor: str | None
    checkpoints: dict[str, int] = field(default_factory=dict)
    epoch_ranges: dict[str, tuple[EpochRange, ...]] = field(default_factory=dict)
    _epochs: int = -1
    _reported: set[tuple[str, str, int | None, str]] = field(default_factory=set)
    _settings: dict[Settings, Settings] = field(default_factory=dict)

    def read(self, connection: apsw.Connection) -> bool:
        """Read them in the snapshot of the connection's transaction. Returns whether the epochs are others now."""
        self.checkpoints = {}
        for sensor_id, next_seq in connection.execute(SELECT_NEXT_SEQS, (self.sensor,)):
            if isinstance(next_seq, int) and next_seq >= 0:
                self.checkpoints[sensor_id] = next_seq
            else:
                self.checkpoints[sensor_id] = 0
                self.report_once("checkpoint", sensor_id, None, f"it is {next_seq!r}")
        count = connection.execute(COUNT_EPOCHS, (self.sensor,)).get
        if count == self._epochs:
            self._check_consistency()
            return False
        self._epochs = count
        rows = connection.execute(SELECT_EPOCH_ROWS, (self.sensor,))
        self.epoch_ranges = {sensor_id: self._epoch_ranges(sensor_id, some) for sensor_id, some in groupby(rows, first)}
        self._settings.clear()
        self._check_consistency()
        return True

    def report_once(self, kind: str, sensor_id: str, first_seq: int | None, detail: str) -> None:
        finding = (kind, sensor_id, first_seq, detail)
        if finding not in self._reported:
            self._reported.add(finding)
            self.note(*finding)

    def _check_consistency(self) -> None:
        """Every sensor has both a checkpoint and, once it has settled anything, epochs that lie before it."""
        for sensor_id, next_seq in self.checkpoints.items():
            if next_seq and sensor_id not in self.epoch_ranges:
                self.report_once("epoch", sensor_id, None, f"there is none, and the checkpoint is at {next_seq}")
            self.epoch_ranges.setdefault(sensor_id, (EpochRange(0, END_OF_SEQS, None),))
        for sensor_id, epoch_ranges in self.epoch_ranges.items():
            if sensor_id not in self.checkpoints:
                self.checkpoints[sensor_id] = 0
                self.report_once("checkpoint", sensor_id, None, "there is none, but epochs")
            elif epoch_ranges[-1].epoch and epoch_ranges[-1].first >= self.checkpoints[sensor_id]:
                where = f"it begins beyond the checkpoint, which is at {self.checkpoints[sensor_id]}"
                self.report_once("epoch", sensor_id, epoch_ranges[-1].first, where)

    def _epoch_ranges(self, sensor_id: str, rows: Iterable[tuple[Any, ...]]) -> tuple[EpochRange, ...]:
        begun: list[tuple[int, Epoch | None]] = []
        before: Epoch | None = None
        for _, first_seq, *row in rows:
            if not isinstance(first_seq, int) or first_seq < 0:
                self.report_once("epoch", sensor_id, None, f"its first_seq is {first_seq!r}")
                continue
            if not begun and first_seq > 0:
                self.report_once("epoch", sensor_id, first_seq, "it is the first, and does not begin with reading 0")
                begun.append((0, None))
            try:
                epoch = self._epoch(sensor_id, first_seq, before, *row)
            except COMPUTE_ERRORS as error:
                self.report_once("epoch", sensor_id, first_seq, f"it cannot be read: {type(error).__name__}: {error}")
                epoch = None
            begun.append((first_seq, epoch))
            before = epoch or before
        ends = [*(first_seq for first_seq, _ in begun[1:]), END_OF_SEQS]
        return (
            tuple(EpochRange(*pair, None) for pair in [(0, END_OF_SEQS)])
            if not begun
            else tuple(EpochRange(first_seq, end, epoch) for (first_seq, epoch), end in zip(begun, ends, strict=True))
        )

    def _epoch(
        self, sensor_id: str, first_seq: int, before: Epoch | None, start_time: str, start_us: int, *row: Any
    ) -> Epoch:
        epoch = epoch_from_row(first_seq, start_us, *row)
        settings = self._settings.setdefault(epoch.settings, epoch.settings)
        epoch = replace(epoch, settings=settings)  # the sensors of a database share theirs
        for detail in epoch_errors(epoch, sensor_id, start_time, before, self.seed):
            self.report_once("epoch", sensor_id, first_seq, detail)
        return epoch


def epoch_errors(
    epoch: Epoch, sensor_id: str, start_time: str, before: Epoch | None, seed: int | None
) -> Iterable[str]:
    """What cannot be right with an epoch. Raises one of COMPUTE_ERRORS where it cannot even be judged."""
    schedule = epoch.schedule
    if not 0 < schedule.rate <= MAX_RATE_HZ:
        raise ValueError(f"its rate is {epoch.settings.rate}")
    if not MIN_EPOCH_START_US <= schedule.start_us < MAX_EPOCH_START_US:
        raise ValueError(f"its start_us is {schedule.start_us}")
    if start_time != format_time(schedule.start_us):
        yield f"its start_time is {start_time}, must be {format_time(schedule.start_us)}"
    if epoch.identity.sensor_id != sensor_id:
        yield f"its identity is that of {epoch.identity.sensor_id}"
    if seed is not None and epoch.seed != seed:
        yield f"its seed is {epoch.seed}, that of the fleet is {seed}"
    if before and schedule.start_us < before.schedule.time(schedule.first_seq):
        ended = format_time(before.schedule.time(schedule.first_seq))
        yield f"it starts at {format_time(schedule.start_us)}, before the one before it ends at {ended}"


def first(row: tuple[Any, ...]) -> str:
    return str(row[0])

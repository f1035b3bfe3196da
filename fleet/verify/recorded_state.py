"""The checkpoints and epochs that a database has of its sensors, read in one snapshot and checked for consistency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import apsw

from fleet.verify.expected import COMPUTE_ERRORS, END_OF_SEQS, EpochRange
from fleet.verify.findings import NoteSensorFinding
from worker.schedule import SECOND_US, format_time
from worker.sensor import injection_reason
from worker.spec import Settings
from worker.storage.schema import epoch_from_row
from worker.storage.sinks import Epoch

MAX_RATE_HZ = 100_000
MAX_RUN = 1 << 38
INCARNATION_BITS = 24
"""A run numbers the incarnations of its workers from `run << INCARNATION_BITS` on."""

MAX_INCARNATION = (MAX_RUN + 1) << INCARNATION_BITS
MIN_EPOCH_START_US, MAX_EPOCH_START_US = -62_135_596_800 * SECOND_US, 253_402_300_800 * SECOND_US
"""The years 1 to 9999."""

UNKNOWN_RANGE = EpochRange(0, END_OF_SEQS, None)
"""The whole history of a sensor without a readable epoch."""

SELECT_CHECKPOINTS = "SELECT sensor_id, next_seq, incarnation FROM checkpoints WHERE ?1 IS NULL OR sensor_id = ?1"
COUNT_EPOCHS = "SELECT count(*) FROM epochs WHERE ?1 IS NULL OR sensor_id = ?1"
SELECT_EPOCH_ROWS = """
    SELECT sensor_id, first_seq, start_time, start_us, reason, run, seed, identity, settings FROM epochs
    WHERE ?1 IS NULL OR sensor_id = ?1 ORDER BY sensor_id, first_seq
"""


@dataclass(slots=True)
class RecordedState:
    """The `checkpoints` and `epoch_ranges` by sensor, of one `sensor`, or of all sensors if it is None. `runs` has the
    number of the last run that has claimed a sensor, 0 if its incarnation does not say.

    `seeds` has the seed that the epochs of a sensor must have, if it is known. A finding is reported once, even if it is
    detected in every snapshot.
    """

    note: NoteSensorFinding
    seeds: Mapping[str, int]
    sensor: str | None
    checkpoints: dict[str, int] = field(default_factory=dict)
    epoch_ranges: dict[str, tuple[EpochRange, ...]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    _epochs: int = -1
    _reported: set[tuple[str, str, int | None, str]] = field(default_factory=set)
    _settings: dict[Settings, Settings] = field(default_factory=dict)

    def read(self, connection: apsw.Connection) -> bool:
        """Read both in the transaction of the connection. True if there are other epochs than before."""
        self.checkpoints, self.runs = {}, {}
        for key, next_seq, incarnation in connection.execute(SELECT_CHECKPOINTS, (self.sensor,)):
            sensor_id = str(key)
            if not isinstance(key, str):
                self.report_once("checkpoint", sensor_id, None, f"its sensor_id is {key!r}")
            if isinstance(incarnation, int) and 0 <= incarnation < MAX_INCARNATION:
                self.runs[sensor_id] = incarnation >> INCARNATION_BITS
            else:
                self.report_once("checkpoint", sensor_id, None, f"its incarnation is {incarnation!r}")
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
        self.epoch_ranges = {sensor: self._epoch_ranges(sensor, group) for sensor, group in groupby(rows, sensor_of)}
        self._settings.clear()
        self._check_consistency()
        return True

    def newest_us(self) -> int | None:
        """Return when the last committed reading of any sensor was due, None if it is unknown."""
        last_epochs = ((self.checkpoints[name] - 1, ranges[-1].epoch) for name, ranges in self.epoch_ranges.items())
        return max((epoch.schedule.time(last) for last, epoch in last_epochs if epoch and last >= 0), default=None)

    def report_once(self, kind: str, sensor_id: str, first_seq: int | None, detail: str) -> None:
        """Note a finding unless it was noted before."""
        finding = (kind, sensor_id, first_seq, detail)
        if finding not in self._reported:
            self._reported.add(finding)
            self.note(sensor_id, kind, first_seq, None, detail)

    def _check_consistency(self) -> None:
        """Check that every sensor has a checkpoint and, if that is above 0, epochs that begin before it."""
        for sensor_id, next_seq in self.checkpoints.items():
            if next_seq and sensor_id not in self.epoch_ranges:
                self.report_once("epoch", sensor_id, None, f"it is missing, although the checkpoint is at {next_seq}")
            self.epoch_ranges.setdefault(sensor_id, (UNKNOWN_RANGE,))
        for sensor_id, epoch_ranges in self.epoch_ranges.items():
            if sensor_id not in self.checkpoints:
                self.checkpoints[sensor_id] = 0
                self.report_once("checkpoint", sensor_id, None, "it is missing, although there are epochs")
            elif epoch_ranges[-1].epoch and epoch_ranges[-1].first >= self.checkpoints[sensor_id]:
                detail = f"it begins beyond the checkpoint, which is at {self.checkpoints[sensor_id]}"
                self.report_once("epoch", sensor_id, epoch_ranges[-1].first, detail)

    def _epoch_ranges(self, sensor_id: str, rows: Iterable[tuple[Any, ...]]) -> tuple[EpochRange, ...]:
        starts: list[tuple[int, Epoch | None]] = []
        previous: Epoch | None = None
        for _, first_seq, *row in rows:
            if not isinstance(first_seq, int) or first_seq < 0:
                self.report_once("epoch", sensor_id, None, f"its first_seq is {first_seq!r}")
                continue
            if not starts and first_seq > 0:
                self.report_once("epoch", sensor_id, first_seq, "it is the first, and does not begin with reading 0")
                starts.append((0, None))
            try:
                epoch = self._epoch(sensor_id, first_seq, previous, *row)
            except COMPUTE_ERRORS as error:
                self.report_once("epoch", sensor_id, first_seq, f"it cannot be read: {type(error).__name__}: {error}")
                epoch = None
            starts.append((first_seq, epoch))
            previous = epoch or previous
        if not starts:
            return (UNKNOWN_RANGE,)
        ends = [*(first_seq for first_seq, _ in starts[1:]), END_OF_SEQS]
        return tuple(EpochRange(first_seq, end, epoch) for (first_seq, epoch), end in zip(starts, ends, strict=True))

    def _epoch(
        self, sensor_id: str, first_seq: int, previous: Epoch | None, start_time: str, start_us: int, *row: Any
    ) -> Epoch:
        epoch = epoch_from_row(first_seq, start_us, *row)
        settings = self._settings.setdefault(epoch.settings, epoch.settings)
        epoch = replace(epoch, settings=settings)  # equal settings are one object: most sensors have the same
        last_run = self.runs.get(sensor_id) or None
        for detail in (
            *epoch_errors(epoch, sensor_id, start_time, previous, self.seeds.get(sensor_id)),
            *run_errors(epoch, previous, last_run),
            *reason_errors(epoch, previous),
        ):
            self.report_once("epoch", sensor_id, first_seq, detail)
        return epoch


def epoch_errors(
    epoch: Epoch, sensor_id: str, start_time: str, previous: Epoch | None, seed: int | None
) -> Iterable[str]:
    """Yield the errors of an epoch. Raises one of COMPUTE_ERRORS if its schedule cannot be computed."""
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
    if previous and schedule.start_us < previous.schedule.time(schedule.first_seq):
        ended = format_time(previous.schedule.time(schedule.first_seq))
        yield f"it starts at {format_time(schedule.start_us)}, before the one before it ends at {ended}"


def run_errors(epoch: Epoch, previous: Epoch | None, last_run: int | None) -> Iterable[str]:
    """Yield the errors of the number of the run that has begun an epoch. `last_run` is the last one of the sensor."""
    run: object = epoch.run  # of a row that is damaged, it may be anything
    before: object = previous.run if previous else None
    if not isinstance(run, int) or not 0 <= run <= MAX_RUN:
        yield f"its run is {run!r}"
    elif isinstance(before, int) and run < before:
        yield f"its run is {run}, that of the epoch before it is {before}"
    elif last_run is not None and epoch.run > last_run:
        yield f"its run is {epoch.run}, the last one is {last_run}"


def reason_errors(epoch: Epoch, previous: Epoch | None) -> Iterable[str]:
    """Yield the error of a reason that the epoch and the one before it do not bear out (see `worker.sensor`)."""
    if previous is None and epoch.schedule.first_seq:
        return  # the one before it cannot be read
    allowed = possible_reasons(epoch, previous)
    if epoch.reason not in allowed:
        yield f"its reason is {epoch.reason!r}, must be {' or '.join(allowed)}"


def possible_reasons(epoch: Epoch, previous: Epoch | None) -> tuple[str, ...]:
    if previous is None:  # the first reading of all may be due after time that was left out
        return ("start", "skip")
    same_identity = epoch.identity == previous.identity
    if epoch.schedule.start_us > previous.schedule.time(epoch.schedule.first_seq):
        return ("skip", "settings", "resume") if same_identity else ("skip", "settings")
    if not same_identity:
        return ("settings",)
    if injection := injection_reason(previous.settings, epoch.settings):
        return (injection,)
    return ("resume", "settings") if epoch.settings == previous.settings else ("settings", "scenario")


def sensor_of(row: tuple[Any, ...]) -> str:
    """Return the sensor of a row of SELECT_EPOCH_ROWS."""
    return str(row[0])

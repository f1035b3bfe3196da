"""The specification of a worker: its sensors, their behaviour, and the store for their readings.

Everything here is plain immutable data. It travels from the supervisor to a worker and, as JSON, into the epoch records
of a database. Nothing here reads a file, a clock or the environment.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from worker.clock import SimulatedClock

Layout = Literal["own", "shared", "packed"]
Resume = Literal["catch_up", "skip"]
Synchronous = Literal["normal", "full"]
Store = Literal["sqlite", "none"]
Phase = Literal["aligned", "spread", "random"]
Placement = Literal["even", "random"]
Lengths = Literal["fixed", "uniform", "exponential"]

CHANNEL_NAMES = ("temperature", "humidity", "pressure", "vibration", "voltage")
"""The channels that every readings table has columns for, in the order of its columns. Others have columns behind `seq`."""

SETTINGS_VERSION = 3
"""The version of the rules by which new settings are computed. Version 1 (0.1.0) has white noise only, version 2 places
episodes evenly; their epochs are computed by their rules for ever."""

RANDOM_PLACEMENT_VERSION = 3
WHITE_NOISE_VERSION = 1

AttributeValue = str | float | int | None
ColumnType = Literal["REAL", "INTEGER", "TEXT"]


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One part of the healthy signal of a channel: the name of a class in `worker.readings.signals`, and its parameters."""

    name: str
    parameters: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True, slots=True)
class Instrument:
    """The errors of a measuring instrument. Each sensor draws its own within these limits.

    `offset` (in the channel's unit) and `gain` (a fraction of the value) are the largest errors of one unit, drawn
    uniformly. `resolution` is the step between two values that it can tell apart, in the channel's unit, 0 for none beyond
    the decimals. `response` is the delay in seconds with which it follows what it measures. `warm_up` is the error right
    after power-up, in the channel's unit; it falls to 0 within `warm_up_seconds`. It shows no value outside [`lowest`,
    `highest`], None for the physical limits of the channel.
    """

    offset: float = 0.0
    gain: float = 0.0
    resolution: float = 0.0
    response: float = 0.0
    warm_up: float = 0.0
    warm_up_seconds: float = 0.0
    lowest: float | None = None
    highest: float | None = None


IDEAL_INSTRUMENT = Instrument()


@dataclass(frozen=True, slots=True)
class Channel:
    """One measured quantity and its healthy signal.

    `mean`, `std_dev`, `minimum`, `maximum` are in `unit`. The healthy signal is Gaussian plus the daily pattern,
    clipped to [minimum, maximum]; anomalies are clipped to the physical limits [lowest, highest] only.
    `decimals` is the number of decimal places that are written. `daily_amplitude` is in `unit`: positive peaks at
    `daily_peak` o'clock local time, negative has its trough there, 0 is flat. `daily_trough` is the hour of the opposite
    extreme, None for twelve hours later. `working_hours` is in `unit` and added during working
    hours. `yearly_amplitude` is in `unit`, positive if July is the warm month; the bounds move along with it.
    `signals` are the parts of the movement that have a memory or follow something else; the part of the variance that they
    leave is white noise. `instrument` is applied after the bounds.
    """

    name: str
    unit: str
    mean: float
    std_dev: float
    minimum: float
    maximum: float
    lowest: float
    highest: float
    decimals: int
    daily_amplitude: float = 0.0
    working_hours: float = 0.0
    yearly_amplitude: float = 0.0
    daily_peak: float = 15.0
    daily_trough: float | None = None
    signals: tuple[SignalSpec, ...] = ()
    instrument: Instrument = IDEAL_INSTRUMENT


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """One rule for an attribute of a reading. The first rule that applies gives the value.

    A rule applies if all that it states holds: the reading is anomalous (`anomalous` true) or not (false); the weather event
    at the place is `weather` ("none" for no event); the value of `channel` is at least `at_least` and below `below`. The
    value is one of `values`, drawn with `weights`, or, if `values` is empty, a number drawn uniformly from [low, high) and
    rounded to `decimals`.
    """

    anomalous: bool | None = None
    weather: str | None = None
    channel: str | None = None
    at_least: float | None = None
    below: float | None = None
    values: tuple[AttributeValue, ...] = ()
    weights: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    decimals: int = 2


@dataclass(frozen=True, slots=True)
class ReadingAttribute:
    """A column of a reading that follows from its values: status, quality, alert level. No rule that applies gives NULL."""

    name: str
    column_type: ColumnType
    rules: tuple[AttributeRule, ...]


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Hours from `begin` to `end` o'clock local time, on the first `days` days of a week that begins on Monday."""

    begin: int = 8
    end: int = 18
    days: int = 5


@dataclass(frozen=True, slots=True)
class AnomalySpec:
    """One kind of anomaly as it applies to one sensor, all multipliers already in it.

    `share` is the fraction of scheduled readings that this kind covers. `duration` is the length of an episode:
    seconds if `unit` is "seconds", else a count of readings; an episode is at least one reading. With `lengths` "uniform" it is
    between `duration` and `longest`, with "exponential" `duration` is the mean.
    `parameters` are those of the kind's class in `worker.readings.anomalies` (numbers only), `channel_odds` the relative
    odds with which a one-channel kind picks its channel; channels that are not listed have odds 1.
    """

    kind: str
    share: float
    duration: float
    unit: Literal["seconds", "readings"]
    parameters: tuple[tuple[str, float], ...] = ()
    channel_odds: tuple[tuple[str, float], ...] = ()
    lengths: Lengths = "fixed"
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity columns of `sensor_readings`, in the order of the table; `timezone` is `original_timezone` there.

    Dates are ISO `YYYY-MM-DD`. Angles are degrees, `height_meters` is metres above ground. None becomes NULL.
    `attributes` are further constant columns, which the kind of the sensor declares.
    """

    sensor_id: str
    firmware_version: str | None = None
    model: str | None = None
    manufacturer: str | None = None
    serial_number: str | None = None
    manufacture_date: str | None = None
    location: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    timezone: str = "UTC"
    deployment_type: str | None = None
    installation_date: str | None = None
    height_meters: float | None = None
    orientation_degrees: float | None = None
    instance_id: str | None = None
    sensor_type: str | None = None
    attributes: tuple[tuple[str, AttributeValue], ...] = ()


@dataclass(frozen=True, slots=True)
class Injection:
    """An anomaly that an operator has ordered.

    Every reading from `from_us` until `until_us` (simulated time, microseconds since 1970, the end excluded) is in it,
    and in no other anomaly. `channel` is the only channel that it affects, None for the choice of the kind. If `sized`,
    the parameters of `anomaly` are used as they are; otherwise the kind draws within them.
    """

    id: str
    anomaly: AnomalySpec
    from_us: int
    until_us: int
    channel: str | None = None
    sized: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The behaviour of a sensor during one epoch.

    `rate` is readings per second, an exact decimal or a fraction such as 1/60, as text. While there is an `injection`,
    `anomalies` do not occur. With `overlap` "channels" two of them may affect different channels at a time. `attributes` are the
    further columns of its readings. `version` chooses the rules of computation. `jitter` is the part of
    the interval, below 1, by which a reading is measured too early at most. `placement` says how episodes are placed.
    """

    rate: str
    channels: tuple[Channel, ...]
    anomalies: tuple[AnomalySpec, ...] = ()
    mode: Literal["share", "onset"] = "share"
    working_hours: WorkingHours = WorkingHours()
    injection: Injection | None = None
    attributes: tuple[ReadingAttribute, ...] = ()
    version: int = 1
    overlap: Literal["none", "channels"] = "none"
    jitter: float = 0.0
    placement: Placement = "even"

    @property
    def exact_rate(self) -> Fraction:
        return Fraction(self.rate)


@dataclass(frozen=True, slots=True)
class Stage:
    """A planned change to other settings at `at_us` (simulated time, microseconds since 1970)."""

    at_us: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class Pause:
    """A time without readings: from `from_us` until `until_us` (simulated time, the end excluded), None if open-ended."""

    from_us: int
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class SensorSpec:
    """One sensor: its identity, its settings and its row on the scoreboard.

    `stages`, in the order of their times, are its later behaviour: each begins an epoch at the first reading that is due
    at its time or after, independent of when that reading is computed. `pauses`, in order, leave time out: the epoch
    that follows a pause begins at its end. `phase` is the part of the interval between two readings, in [0, 1), that
    passes from the start of a run to its first reading.
    """

    identity: Identity
    settings: Settings
    row: int
    stages: tuple[Stage, ...] = ()
    pauses: tuple[Pause, ...] = ()
    phase: float = 0.0

    def pause_after(self, time_us: int) -> Pause | None:
        """Return the pause that contains a simulated time, or the next one after it."""
        return next((pause for pause in self.pauses if pause.until_us is None or pause.until_us > time_us), None)

    def settings_at(self, time_us: int) -> Settings:
        """Return the settings of a reading that is due at a simulated time."""
        begun = bisect_right(self.stages, time_us, key=lambda stage: stage.at_us)
        return self.stages[begun - 1].settings if begun else self.settings

    def first_due_us(self, start_us: int) -> int:
        """Return the time at which the first reading of a run that starts at `start_us` is due.

        It is rounded down, so that a run of a whole number of intervals has the same number of readings at any phase.
        """
        interval_us = int(1_000_000 / self.settings_at(start_us).exact_rate)
        return start_us + int(self.phase * interval_us)

    @property
    def max_rate(self) -> Fraction:
        """The highest rate of its settings and stages."""
        return max(self.settings.exact_rate, *(stage.settings.exact_rate for stage in self.stages), Fraction(0))


MIN_KEEP_SECONDS = 1.0
"""The shortest time for which readings can be kept."""


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """The database of a worker, when to commit to it and how often to retry. Intervals and delays are seconds.

    `shared` is true if other workers write to it too. With `synchronous` "normal" a power failure may take the last
    commits, with "full" none. After `error_limit` failures in a row the worker exits instead of retrying. A database of
    more than `max_bytes` is rotated. A new one without `readings` has checkpoints, epochs and episodes only. Readings are
    removed `keep_us` microseconds of simulated time after they were due, once they are delivered; `targets` is a digest of the
    names of the fleet's own targets, "" if it has none.
    """

    path: Path
    batch_size: int = 100
    batch_interval: float = 1.0
    retry_attempts: int = 3
    retry_delay: float = 1.0
    wal: bool = True
    synchronous: Synchronous = "normal"
    shared: bool = False
    error_limit: int | None = None
    max_bytes: int | None = None
    readings: bool = True
    keep_us: int | None = None
    targets: str = ""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of a fleet, the same for all its workers.

    `start_us` is the simulated time (microseconds since 1970, UTC) at `origin_ns` of `worker.clock`; simulated time passes
    `speed` times as fast as the wall clock. `number` grows with each start on a data directory and fences
    workers of earlier runs. `duration_us` is the simulated time to run for, None for no limit. On a new data directory
    each sensor starts its first epoch at `start_us` and its phase; an existing one continues as `resume` says.
    `hang_seconds` is how long a worker may be without a heartbeat before the supervisor kills it. With a history, `live_us`
    is the simulated time at which it ends: readings before it are due at once, and a drain does not wait for them.
    """

    seed: int
    number: int
    start_us: int
    origin_ns: int
    duration_us: int | None = None
    resume: Resume = "skip"
    longest_pause_us: int = 900_000_000
    hang_seconds: float = 20.0
    speed: Fraction = Fraction(1)
    live_us: int = 0

    @property
    def clock(self) -> SimulatedClock:
        """The simulated clock of the run."""
        return SimulatedClock(self.start_us, self.origin_ns, self.speed)

    @property
    def end_us(self) -> int | None:
        """The simulated time at which the run ends, None if it has no limit."""
        return None if self.duration_us is None else self.start_us + self.duration_us


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker process: its sensors, its store, its run.

    `name` is the sensor id, or `pack_0001` for a worker of several sensors. `log_level` is one of `logging`.
    """

    name: str
    sensors: tuple[SensorSpec, ...]
    store: StoreSpec
    run: RunSpec
    log_level: str = "INFO"

"""The manifest of a data directory, `fleet.json`: the facts that a later start on it must not contradict."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, ClassVar

from fleet.datadir.state_file import Bounds, InvalidValue, Pattern, load_state, save_state
from worker.spec import SETTINGS_VERSION, Layout, Phase, Store

RESTORE_ADVICE = "; restore the file, or take another --data directory"
RATE_PATTERN = r"|[0-9]{1,6}(\.[0-9]{1,9})?|[0-9]{1,12}/[0-9]{0,12}(s|min|h|d)"
"""Rates as `fleet.validation.rates.Rate` writes them; empty for none."""
SPEED_PATTERN = r"[0-9]{1,5}(\.[0-9]{1,6})?"
MAX_START_US = 7_258_118_400_000_000
"""The year 2200, as in a config."""

Timestamp = Annotated[int, Bounds(0, MAX_START_US)]
Name = Annotated[
    str,
    Pattern(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a sensor id: at most 64 letters, digits, underscores, dots and hyphens"
    ),
]
"""The id of a sensor or the name of a worker. Both become names of files, so nothing else may pass."""


@dataclass(frozen=True, slots=True)
class FleetManifest:
    """The manifest. Times are in microseconds since 1970.

    `start_us` is the simulated time of the first reading ever. At the last start simulated time was `clock_us` (0, of
    earlier versions, for `start_us`), and `wall_us` the wall clock; while the machine that was booted as `boot_id` runs,
    `origin_ns` is the same moment on `worker.clock`. From then on it has passed at `speed`. `sensors` are
    (sensor id, worker) in fleet order, including sensors that a smaller fleet leaves out at present. `count` sensors run
    at present, at `rate` readings a second each; 0 and empty in manifests of version 0.1.0. `settings_version` is that of
    the rules by which the fleet was begun, and goes on. `kinds` are the kinds of sensor that its config mixes, with their
    weights, `kind_files` the files and folders that describe kinds. `phase` is that of the last run. With the `store` "none"
    the databases have no readings. A fleet that began with a history of `backfill_us`, up to the moment of its first start,
    has all of it once it is `backfilled`.
    """

    ignores_unknown_keys: ClassVar[bool] = True

    seed: Annotated[int, Bounds(0, (1 << 63) - 1)]
    layout: Layout
    sensors_per_worker: Annotated[int, Bounds(1, 100_000)]
    start_us: Timestamp
    wall_us: Timestamp
    runs: Annotated[int, Bounds(0, 1 << 38)]  # incarnations are numbered from runs * 2^24 in 64 bits
    sensors: tuple[tuple[Name, Name], ...]
    boot_id: str = ""
    origin_ns: int = 0
    count: Annotated[int, Bounds(0, 100_000)] = 0
    kinds: tuple[tuple[str, Annotated[float, Bounds(0, 1_000_000)]], ...] = ()
    kind_files: tuple[str, ...] = ()
    settings_version: Annotated[int, Bounds(1, SETTINGS_VERSION)] = 1
    rate: Annotated[str, Pattern(RATE_PATTERN, "a rate such as 10, 0.2 or 1/min")] = ""
    phase: Phase = "aligned"
    store: Store = "sqlite"
    clock_us: Timestamp = 0
    speed: Annotated[str, Pattern(SPEED_PATTERN, "a number such as 60 or 0.5")] = "1"
    backfill_us: Annotated[int, Bounds(0, MAX_START_US)] = 0
    backfilled: bool = False

    @property
    def live_us(self) -> int:
        """The simulated time at which the history ends, that of the first reading if there is no history."""
        return self.start_us + self.backfill_us

    @property
    def owes_history(self) -> bool:
        """Whether a part of the history is not written yet."""
        return self.backfill_us > 0 and not self.backfilled

    @property
    def real_time(self) -> bool:
        """Whether simulated time passes as fast as the wall clock."""
        return Fraction(self.speed) == 1

    def time_at(self, wall_us: int) -> int:
        """Return the simulated time at a time of the wall clock, if the last run has not ended."""
        passed_us = max(0, wall_us - self.wall_us)
        return (self.clock_us or self.start_us) + int(passed_us * Fraction(self.speed))


def read_manifest(path: Path) -> FleetManifest | None:
    """Read the manifest, None if there is none. Raises UserError with the place of what is wrong."""
    try:
        return load_state(path, FleetManifest, check_sensors, RESTORE_ADVICE)
    except (FileNotFoundError, NotADirectoryError):
        return None


def check_sensors(manifest: FleetManifest) -> None:
    """Raise InvalidValue for sensors that would start two workers on one database: a sensor that is listed twice, or a
    worker whose sensors are not next to each other."""
    seen: set[str] = set()
    last_position: dict[str, int] = {}
    for position, (sensor, worker) in enumerate(manifest.sensors):
        if sensor in seen:
            raise InvalidValue(sensor, "is there twice", "sensors", position)
        if last_position.get(worker, position - 1) != position - 1:
            raise InvalidValue(worker, "is a worker that is named further up", "sensors", position)
        if manifest.layout != "packed" and sensor != worker:
            raise InvalidValue(worker, f"is not the worker of {sensor}", "sensors", position)
        seen.add(sensor)
        last_position[worker] = position


def write_manifest(path: Path, record: FleetManifest) -> None:
    """Replace the manifest atomically and sync it to disk. Raises OSError, and UserError for what could not be read."""
    save_state(path, record, check_sensors, sync=True)

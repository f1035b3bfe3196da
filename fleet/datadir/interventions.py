"""The interventions of an operator, which override the config of a fleet: injections, pauses and probabilities.

The supervising process keeps them in `run/interventions.json`, from which the next run continues them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, ClassVar

from fleet.datadir.state_file import Bounds, load_state, save_state
from fleet.errors import UserError
from worker.clock import SimulatedClock
from worker.spec import Pause

log = logging.getLogger("interventions")

INTERVENTIONS_FILE = "interventions.json"
NO_CLOCK = SimulatedClock(0, 0)
"""The clock of interventions before a run has written them."""

MAX_FINISHED_INJECTIONS = 200
"""Injections that are over and are still known by their ids."""

MAX_SENSORS_LISTED = 20
"""Sensors of a finished injection that stay on record, and of any command that an answer names."""


@dataclass(frozen=True, slots=True)
class InjectionRecord:
    """An injection into `count` sensors, from `from_us` until `until_us` or, if that came first, `cancelled_us`
    (simulated time). `asked` is the command as JSON, by which a repeated command is recognized. An injection is
    `settled` when all its readings are written; `sensors` are then only the first ones.

    With a `probability` it is a fault of the way to the targets, in that share of the readings of the sensors, or of all sensors
    with `everyone`; otherwise an anomaly."""

    id: str
    type: str
    channel: str | None
    size: float | None
    sensors: tuple[str, ...]
    count: int
    from_us: int
    until_us: int
    asked: str
    cancelled_us: int | None = None
    settled: bool = False
    probability: float | None = None
    everyone: bool = False

    @property
    def of_delivery(self) -> bool:
        return self.probability is not None

    @property
    def end_us(self) -> int:
        return self.until_us if self.cancelled_us is None else min(self.until_us, self.cancelled_us)

    def state(self, now_us: int) -> str:
        if self.cancelled_us is not None:
            return "cancelled"
        if now_us < self.from_us:
            return "planned"
        return "running" if now_us < self.until_us else "over"

    def mark_settled(self) -> InjectionRecord:
        if self.of_delivery and not self.everyone:  # its readings may be delivered later
            return replace(self, settled=True)
        return replace(self, settled=True, sensors=self.sensors[:MAX_SENSORS_LISTED])


@dataclass(frozen=True, slots=True)
class Interventions:
    """All interventions: `injections` in the order of their commands, oldest first, `pauses` and `probabilities` by
    sensor. `clock` is that of the run that wrote them."""

    injections: tuple[InjectionRecord, ...] = ()
    pauses: Mapping[str, tuple[Pause, ...]] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    clock: SimulatedClock = NO_CLOCK

    def injection(self, id_: str) -> InjectionRecord | None:
        return next((each for each in self.injections if each.id == id_), None)

    def open_by_sensor(self) -> dict[str, list[InjectionRecord]]:
        """Return the injected anomalies that are not settled, by sensor."""
        found: dict[str, list[InjectionRecord]] = {}
        for injection in self.injections:
            if not injection.settled and not injection.of_delivery:
                for sensor in injection.sensors:
                    found.setdefault(sensor, []).append(injection)
        return found

    def paused(self, sensor: str) -> bool:
        return any(pause.until_us is None for pause in self.pauses.get(sensor, ()))

    def counts(self, sensors: Collection[str]) -> dict[str, int]:
        """Count the sensors among these that are paused, and those that have a probability of their own."""
        paused = sum(self.paused(sensor) for sensor in self.pauses if sensor in sensors)
        return {"paused": paused, "probabilities": sum(sensor in sensors for sensor in self.probabilities)}

    def pruned(self) -> Interventions:
        """Return the interventions without the oldest finished injections over the limit."""
        over = [each.id for each in self.injections if each.settled]
        forgotten = set(over[: max(0, len(over) - MAX_FINISHED_INJECTIONS)])
        return replace(self, injections=tuple(each for each in self.injections if each.id not in forgotten))

    def write(self, path: Path) -> None:
        """Replace the file. Raises OSError, and UserError for what could not be read."""
        document = InterventionsFile(
            injections=self.injections,
            pauses={
                sensor: tuple((each.from_us, each.until_us) for each in some) for sensor, some in self.pauses.items()
            },
            probabilities=dict(self.probabilities),
            clock=(self.clock.time_us, self.clock.origin_ns),
            speed=(self.clock.speed.numerator, self.clock.speed.denominator),
        )
        save_state(path, document)


NO_INTERVENTIONS = Interventions()


Speed = Annotated[int, Bounds(1, 10**12)]


@dataclass(frozen=True, slots=True)
class InterventionsFile:
    """The document in the file. A pause is a pair of its beginning and its end, or null. `clock` is a simulated time and the
    same moment on `worker.clock`, `speed` a fraction."""

    ignores_unknown_keys: ClassVar[bool] = True

    injections: tuple[InjectionRecord, ...]
    pauses: Mapping[str, tuple[tuple[int, int | None], ...]]
    probabilities: Mapping[str, float]
    clock: tuple[int, int]
    speed: tuple[Speed, Speed] = (1, 1)


def read_interventions(path: Path) -> Interventions:
    """Read the interventions of an earlier run or of the running one. A file that cannot be read counts as none, and a
    warning in the log says why."""
    try:
        found = load_state(path, InterventionsFile)
    except FileNotFoundError:
        return NO_INTERVENTIONS
    except (OSError, UserError) as error:
        log.warning("interventions that cannot be read are not continued: %s", error)
        return NO_INTERVENTIONS
    pauses = {sensor: tuple(Pause(*each) for each in some) for sensor, some in found.pauses.items()}
    clock = SimulatedClock(*found.clock, Fraction(*found.speed))
    return Interventions(found.injections, pauses, found.probabilities, clock)

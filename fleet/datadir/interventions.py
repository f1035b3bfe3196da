"""What an operator has laid over the config of a fleet: injections, pauses, probabilities. `run/interventions.json`.

Written by the process that supervises, so that it outlasts it; read by everybody else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fleet import atomic_write
from worker.spec import Pause

log = logging.getLogger("interventions")

MAX_FINISHED_INJECTIONS = 200
"""Injections that are over and still known by their ids."""

MAX_SENSORS_LISTED = 20
"""Sensors that are kept, and told, of those that an injection was about."""


@dataclass(frozen=True, slots=True)
class InjectionRecord:
    """An injection into `count` sensors, from `from_us` until `until_us` or, if that came first, `cancelled_us`
    (simulated time). `asked` is the command as JSON, by which the same one is known again. Once it is `settled`, all
    its readings being written, `sensors` are only the first of them."""

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
        return replace(self, settled=True, sensors=self.sensors[:MAX_SENSORS_LISTED])


@dataclass(frozen=True, slots=True)
class Interventions:
    """`injections` as they were asked for, the oldest first; `pauses` and `probabilities` by sensor. `clock` is the
    simulated time and, at the same moment, `worker.clock`, as of the run that has laid them."""

    injections: tuple[InjectionRecord, ...] = ()
    pauses: Mapping[str, tuple[Pause, ...]] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    clock: tuple[int, int] = (0, 0)

    def now_us(self, clock_ns: int) -> int:
        """Simulated time."""
        return self.clock[0] + (clock_ns - self.clock[1]) // 1000

    def injection(self, id_: str) -> InjectionRecord | None:
        return next((each for each in self.injections if each.id == id_), None)

    def open_by_sensor(self) -> dict[str, list[InjectionRecord]]:
        """Those that are not settled, by sensor."""
        found: dict[str, list[InjectionRecord]] = {}
        for injection in self.injections:
            if not injection.settled:
                for sensor in injection.sensors:
                    found.setdefault(sensor, []).append(injection)
        return found

    def paused(self, sensor: str) -> bool:
        return any(pause.until_us is None for pause in self.pauses.get(sensor, ()))

    def counts(self, sensors: Collection[str]) -> dict[str, int]:
        """How many of these sensors are paused, and how many have a probability of their own."""
        paused = sum(self.paused(sensor) for sensor in self.pauses if sensor in sensors)
        return {"paused": paused, "probabilities": sum(sensor in sensors for sensor in self.probabilities)}

    def pruned(self) -> Interventions:
        """Without the oldest of the injections that are over."""
        over = [each.id for each in self.injections if each.settled]
        forgotten = set(over[: max(0, len(over) - MAX_FINISHED_INJECTIONS)])
        return replace(self, injections=tuple(each for each in self.injections if each.id not in forgotten))

    def write(self, path: Path) -> None:
        """Raises OSError."""
        document = {
            "injections": [asdict(injection) for injection in self.injections],
            "pauses": {
                sensor: [(pause.from_us, pause.until_us) for pause in some] for sensor, some in self.pauses.items()
            },
            "probabilities": dict(self.probabilities),
            "clock": self.clock,
        }
        atomic_write.replace_file(path, json.dumps(document))


NO_INTERVENTIONS = Interventions()


def read_interventions(path: Path) -> Interventions:
    """What an earlier run, or the running one, has put there; none where it cannot be understood."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Interventions(
            tuple(parse_injection(told) for told in document["injections"]),
            {
                str(sensor): tuple(Pause(int(begin), None if end is None else int(end)) for begin, end in some)
                for sensor, some in document["pauses"].items()
            },
            {str(sensor): float(probability) for sensor, probability in document["probabilities"].items()},
            (int(document["clock"][0]), int(document["clock"][1])),
        )
    except FileNotFoundError:
        return Interventions()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        log.warning("%s: interventions that cannot be read are not continued: %s", path, error)
        return Interventions()


TYPES_BY_ANNOTATION = {"str": (str,), "str | None": (str, type(None)), "float | None": (float, int, type(None))} | {
    "int": (int,),
    "int | None": (int, type(None)),
    "bool": (bool,),
    "tuple[str, ...]": (tuple,),
}


def parse_injection(told: dict[str, Any]) -> InjectionRecord:
    """Raises TypeError for what is none."""
    injection = InjectionRecord(**{**told, "sensors": tuple(map(str, told["sensors"]))})
    for each in fields(InjectionRecord):
        if type(getattr(injection, each.name)) not in TYPES_BY_ANNOTATION[str(each.type)]:
            raise TypeError(f"{each.name} is {getattr(injection, each.name)!r}")
    return injection

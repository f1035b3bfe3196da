"""The faults of readings: a pure function of the seed, the sensor, and the number or the time of the reading.

So a reading that is sent again, after a failure or by another process, has the same fault.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import lru_cache

from fleet.config.delivery_faults import ONE_OF_A_READING, DeliveryFaults

SECOND_US = 1_000_000
MAX_DELAY_OF_MEAN = 10.0
"""The longest delay of an exponential distribution, in means."""

DAMAGES = frozenset(("corrupt", "truncate"))
"""The faults that change the record of a reading."""

ABSENCES = frozenset(("drop", *DAMAGES, "clock_skew"))
"""The faults with which a reading need not arrive: it was not sent, or a pipeline may refuse it."""

DELAYS = frozenset(("late", "out_of_order", "newest_first", "burst"))
"""The faults with which a reading is sent after later ones."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault of a reading.

    `size` is the number of copies of a `duplicate`; the number of later readings of the sensor that an `out_of_order` one is
    sent after; the share of the record that is left by a `truncate`; the seconds of a `clock_skew`, or of the delay of
    other faults; and a number from 0 to 1 that selects the damaged field of a `corrupt`. `due` is the time in microseconds
    since 1970, or the seq of an `out_of_order`, from which on the reading is sent: once a reading of it was.
    """

    kind: str
    size: float
    due: int = 0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The faults of all readings of a fleet: those of its config, and those that are injected."""

    faults: DeliveryFaults
    seed: int | str
    injected: tuple[InjectedFault, ...] = ()

    @property
    def any(self) -> bool:
        return self.faults.any or bool(self.injected)

    def within(self, first_us: int, last_us: int) -> FaultPlan:
        """Return the plan without the injected faults that no reading of these times has."""
        return replace(
            self,
            injected=tuple(each for each in self.injected if each.from_us <= last_us and first_us < each.until_us),
        )

    def fault(self, sensor: str, seq: int, time_us: int) -> Fault | None:
        """Return the fault of a reading, None if it has none. A wrong clock comes before an outage, that before a fault of the
        single reading, and all of the config before those that are injected."""
        fault = self._skew(sensor) or self._outage(sensor, time_us) or self._single(sensor, seq, time_us)
        injected = iter(self.injected)
        while fault is None and (one := next(injected, None)) is not None:
            if one.reaches(sensor, time_us):
                fault = one.plan.fault(sensor, seq, time_us)
        return fault

    def _skew(self, sensor: str) -> Fault | None:
        skew = self.faults.clock_skew
        if not skew.probability:
            return None
        chance, where = lasting_uniforms(self.seed, "clock_skew", sensor, 0)
        # Never less than a tenth of the size, and with microseconds: no other reading of the sensor has this time.
        seconds = math.copysign(0.1 + 0.9 * abs(2 * where - 1), 2 * where - 1) * skew.size
        return Fault("clock_skew", round(seconds, 6)) if chance < skew.probability else None

    def _outage(self, sensor: str, time_us: int) -> Fault | None:
        for kind in ("newest_first", "burst"):
            outage = getattr(self.faults, kind)
            if outage.probability:
                length_us = round(outage.duration * SECOND_US)
                phase_us = round(
                    lasting_uniforms(self.seed, kind, sensor, -1)[0] * length_us
                )  # sensors fail at different times
                number = (time_us + phase_us) // length_us
                if lasting_uniforms(self.seed, kind, sensor, number)[0] < outage.probability:
                    due = (number + 1) * length_us - phase_us
                    return Fault(kind, (due - time_us) / SECOND_US, due)
        return None

    def _single(self, sensor: str, seq: int, time_us: int) -> Fault | None:
        chance, where = uniforms(self.seed, "reading", sensor, seq)
        for kind in ONE_OF_A_READING:
            chance -= getattr(self.faults, kind).probability
            if chance < 0:
                return self._of_kind(kind, where, seq, time_us)
        return None

    def _of_kind(self, kind: str, where: float, seq: int, time_us: int) -> Fault:
        match kind:
            case "duplicate":
                return Fault(kind, self.faults.duplicate.copies)
            case "late":
                delay_us = round(self._delay(where) * SECOND_US)
                return Fault(kind, delay_us / SECOND_US, time_us + delay_us)
            case "out_of_order":
                later = 1 + int(where * self.faults.out_of_order.window)
                return Fault(kind, later, seq + later)
            case _:
                return Fault(kind, round(where, 6))

    def _delay(self, where: float) -> float:
        late = self.faults.late
        match late.distribution:
            case "uniform":
                return 2 * where * late.mean
            case "constant":
                return late.mean
            case _:
                return late.mean * min(-math.log1p(-where), MAX_DELAY_OF_MEAN)


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault of the readings of some sensors, None for all, with a time from `from_us` to before `until_us`."""

    plan: FaultPlan
    sensors: frozenset[str] | None
    from_us: int
    until_us: int

    def reaches(self, sensor: str, time_us: int) -> bool:
        return self.from_us <= time_us < self.until_us and (self.sensors is None or sensor in self.sensors)


def uniforms(seed: int | str, purpose: str, sensor: str, number: int) -> tuple[float, float]:
    """Return two numbers in [0, 1)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{sensor}/{number}".encode(), digest_size=12).digest()
    return int.from_bytes(digest[:6]) / (1 << 48), int.from_bytes(digest[6:]) / (1 << 48)


lasting_uniforms = lru_cache(maxsize=1 << 16)(uniforms)
"""The same for numbers that hold for many readings."""

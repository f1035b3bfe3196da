"""The clock of simulated time: it follows a clock that cannot be set, and that advances while the machine sleeps.

CLOCK_MONOTONIC of Linux stops while the machine is suspended: after ten minutes of sleep simulated time would be ten
minutes late. CLOCK_MONOTONIC of macOS advances.
"""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

CLOCK_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_ns() -> int:
    """Return the nanoseconds since a fixed moment before this process, the same moment for all processes of a boot."""
    return time.clock_gettime_ns(CLOCK_ID)


class SimulatedClock(NamedTuple):
    """Simulated time `time_us` (microseconds since 1970) is at `origin_ns` of `elapsed_ns`, and passes `speed` times as fast
    as that.

    The only conversion between the two: exact, simulated times rounded down to microseconds.
    """

    time_us: int
    origin_ns: int
    speed: Fraction = Fraction(1)

    def now_us(self, clock_ns: int) -> int:
        """Return the simulated time at `clock_ns` of `elapsed_ns`."""
        p, q = self.speed.numerator, self.speed.denominator
        return self.time_us + (clock_ns - self.origin_ns) * p // (1000 * q)

    def clock_ns(self, time_us: int) -> int:
        """Return the first moment on `elapsed_ns` at which `now_us` is `time_us` or later."""
        p, q = self.speed.numerator, self.speed.denominator
        return self.origin_ns - (self.time_us - time_us) * 1000 * q // p

    def wall_us(self, simulated_us: int) -> int:
        """Return the microseconds that a span of simulated time takes on the wall clock, rounded down."""
        return simulated_us * self.speed.denominator // self.speed.numerator

    def simulated_us(self, wall_us: int) -> int:
        """Return the simulated microseconds that pass in a span of wall-clock time, rounded down."""
        return wall_us * self.speed.numerator // self.speed.denominator


def boot_id() -> str:
    """Return a text that identifies the boot which `elapsed_ns` counts from, empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""

"""The simulation clock: the beginning of a run in simulated time and on `worker.clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from fleet.config.sections import Simulation
from fleet.datadir.manifest import FleetManifest
from worker.clock import SimulatedClock, boot_id, elapsed_ns
from worker.schedule import SECOND_US, format_time

CLOCK_SET_BACK_TOLERANCE_US = 60 * SECOND_US
"""The lead of the databases over the wall clock from which on the clock has certainly been set back."""


REPEATABLE_START = "2026-01-01T00:00:00Z"
"""The simulated time at which runs begin that must give the same bytes and do not say when they begin."""


def stated_start(simulation: Simulation) -> str | None:
    """Return the simulated time at which a first run begins, None for the current time. After a backfill that is always so.

    With a seed and an end, but no start, it is REPEATABLE_START: the same seed gives the same bytes.
    """
    fixed = simulation.seed is not None and simulation.duration_seconds is not None
    if simulation.start is None and simulation.backfill is None and fixed:
        return REPEATABLE_START
    return simulation.start


class SimulationClock(NamedTuple):
    """The clock of a run, which begins at the simulated time `start_us` (microseconds since 1970). `wall_us` is the wall
    clock at the origin of `clock`. The duration of the run counts from `counted_us`. A run that `continues` is the same as
    before, after an interruption. With a history, all readings before `live_us` are due at once; otherwise that is 0."""

    start_us: int
    clock: SimulatedClock
    wall_us: int
    counted_us: int
    continues: bool = False
    live_us: int = 0
    warning: str = ""


def start_clock(simulation: Simulation, old: FleetManifest | None, latest_us: int) -> SimulationClock:
    """Return the clock of a run on a directory with the manifest `old`, whose latest reading is at `latest_us`.

    Simulated time that passes at real speed does so between two runs, too. At another speed it stands still between them.
    It never goes back. A run with a backfill, or one that finds a history unfinished, goes back to the beginning of the
    history and leaves nothing out. A change of the wall clock has no effect until the machine is booted again. If the wall clock was
    set back before that, simulated time continues from the latest reading.
    """
    delay_us, speed = int(simulation.start_delay_seconds * SECOND_US), Fraction(simulation.speed)
    origin_ns, wall_us = elapsed_ns() + delay_us * 1000, time.time_ns() // 1000 + delay_us
    start = stated_start(simulation)
    if old is None:
        now_us = wall_us // 1000 * 1000 if start is None else iso_to_microseconds(start)
        history_us, clock = backfill_us(simulation), SimulatedClock(now_us, origin_ns, speed)
        live_us = now_us if history_us else 0
        return SimulationClock(now_us - history_us, clock, wall_us, now_us, live_us=live_us)
    now_us, warning = old.clock_us or old.start_us, ""
    if old.real_time:
        same_boot = old.boot_id != "" and old.boot_id == boot_id()
        passed_us = (origin_ns - old.origin_ns) // 1000 if same_boot else wall_us - old.wall_us
        now_us += max(0, passed_us)
        if latest_us > now_us + CLOCK_SET_BACK_TOLERANCE_US:
            warning = f"this machine's clock was set back: simulated time goes on from {format_time(latest_us)}"
    now_us = max(now_us, latest_us)
    clock = SimulatedClock(now_us, origin_ns, speed)
    if simulation.backfill is not None or old.owes_history:
        counted_us = now_us if simulation.backfill is None else old.live_us
        return SimulationClock(old.start_us, clock, wall_us, counted_us, True, old.live_us, warning)
    continues = simulation.resume == "catch_up" and start is not None and iso_to_microseconds(start) == old.start_us
    start_us = old.start_us if continues else now_us
    return SimulationClock(start_us, clock, wall_us, start_us, continues, warning=warning)


def backfill_us(simulation: Simulation) -> int:
    """Return the length of the history in microseconds, 0 for none."""
    return round(Fraction(str(simulation.backfill or 0)) * SECOND_US)


def iso_to_microseconds(moment: str) -> int:
    """Return microseconds since 1970 for a time such as 2026-01-01T00:00:00Z; UTC if it has no offset."""
    time_ = datetime.fromisoformat(moment)
    time_ = time_ if time_.tzinfo else time_.replace(tzinfo=UTC)
    return (time_ - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta.resolution

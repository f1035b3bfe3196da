"""When a run begins: simulated time follows the wall clock over runs, and never goes back."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fleet.config.sections import Simulation
from fleet.datadir.directory import DataDirectory
from fleet.datadir.manifest import FleetManifest
from fleet.runtime.simulation_clock import start_clock
from worker.clock import SimulatedClock, boot_id, elapsed_ns
from worker.schedule import SECOND_US
from worker.scoreboard import Scoreboard

START = "2026-01-01T00:00:00Z"
NEW_YEAR = 1_767_225_600 * SECOND_US
HOUR = 3600 * SECOND_US


def record(age_us: int) -> FleetManifest:
    """Of a directory whose first run began that long ago by the wall clock, at New Year in simulated time."""
    return FleetManifest(1, "own", 1, NEW_YEAR, time.time_ns() // 1000 - age_us, 1, ())


def test_a_first_run_begins_where_it_is_told() -> None:
    beginning = start_clock(Simulation(start=START), None, 0)

    assert (NEW_YEAR, False, "") == (beginning.start_us, beginning.continues, beginning.warning)
    assert elapsed_ns() == pytest.approx(beginning.clock.clock_ns(NEW_YEAR), abs=1e9)


def test_a_run_with_a_seed_and_an_end_begins_at_a_fixed_time() -> None:
    """The same seed gives the same bytes, and the readings depend on the time. Other runs begin now."""
    fixed = Simulation(seed=42, duration_seconds=60)
    assert NEW_YEAR == start_clock(fixed, None, 0).start_us
    stated = fixed.model_copy(update={"start": "2026-02-01T00:00:00Z"})
    assert NEW_YEAR + 31 * 24 * HOUR == start_clock(stated, None, 0).start_us
    for other in (Simulation(seed=42), Simulation(duration_seconds=60), Simulation()):
        assert time.time() == pytest.approx(start_clock(other, None, 0).start_us / SECOND_US, abs=5)


def test_the_same_command_finishes_a_run_that_began_at_the_fixed_time() -> None:
    simulation = Simulation(seed=1, duration_seconds=60, resume="catch_up")
    beginning = start_clock(simulation, record(HOUR), 0)

    assert (NEW_YEAR, True) == (beginning.start_us, beginning.continues)
    of_before = replace(record(HOUR), start_us=NEW_YEAR + 5)  # begun at some other time, by an earlier version
    assert not start_clock(simulation, of_before, 0).continues


def test_time_passes_between_runs() -> None:
    beginning = start_clock(Simulation(), record(HOUR), NEW_YEAR + HOUR // 2)

    assert NEW_YEAR + HOUR == pytest.approx(beginning.start_us, abs=SECOND_US)
    assert "" == beginning.warning


@pytest.mark.parametrize("back", [HOUR, 24 * HOUR])
def test_a_clock_that_was_set_back_does_not_set_back_the_readings(back: int) -> None:
    """Nor does it keep the sensors silent until the wall clock has come to where they were."""
    latest = NEW_YEAR + 2 * HOUR
    beginning = start_clock(Simulation(), record(2 * HOUR - back), latest)

    assert latest == beginning.start_us
    assert "set back: simulated time goes on from 2026-01-01T02:00:00.000000+00:00" in beginning.warning


def test_a_clock_that_is_slewed_is_nothing_to_tell() -> None:
    assert "" == start_clock(Simulation(), record(HOUR), NEW_YEAR + HOUR + 5 * SECOND_US).warning


@pytest.mark.parametrize("step", [-HOUR, HOUR, 40 * 365 * 24 * HOUR])
def test_setting_the_clock_between_two_runs_changes_nothing(step: int) -> None:
    """As long as the machine was not booted again."""
    old = replace(record(HOUR + step), boot_id=boot_id(), origin_ns=elapsed_ns() - HOUR * 1000)
    beginning = start_clock(Simulation(), old, 0)

    assert NEW_YEAR + HOUR == pytest.approx(beginning.start_us, abs=SECOND_US)
    after_a_boot = start_clock(Simulation(), replace(old, boot_id="another"), 0)
    assert NEW_YEAR + max(0, HOUR + step) == pytest.approx(after_a_boot.start_us, abs=SECOND_US)


def test_the_same_command_finishes_an_interrupted_run() -> None:
    """With its --start and catch_up the clock is that of the interrupted run, so --for ends when that would have."""
    beginning = start_clock(Simulation(start=START, resume="catch_up"), record(HOUR), 0)

    assert (NEW_YEAR, True) == (beginning.start_us, beginning.continues)
    assert elapsed_ns() - HOUR * 1000 == pytest.approx(beginning.clock.clock_ns(NEW_YEAR), abs=1e9)


@pytest.mark.parametrize("simulation", [Simulation(start=START), Simulation(resume="catch_up")])
def test_anything_less_is_a_run_of_its_own(simulation: Simulation) -> None:
    beginning = start_clock(simulation, record(HOUR), 0)

    assert not beginning.continues
    assert NEW_YEAR + HOUR == pytest.approx(beginning.start_us, abs=SECOND_US)


def test_at_another_speed_time_stands_still_between_runs() -> None:
    """The next run goes on where the last one ended, at whatever speed. At real speed the clock goes on by itself."""
    fast = replace(record(HOUR), clock_us=NEW_YEAR + 5 * HOUR, speed="60")
    for speed in ("60", "1", "0.5"):
        beginning = start_clock(Simulation(speed=Decimal(speed)), fast, NEW_YEAR + 7 * HOUR)

        assert (NEW_YEAR + 7 * HOUR, "") == (beginning.start_us, beginning.warning)
        later_ns = beginning.clock.origin_ns + 1_000_000_000
        assert NEW_YEAR + 7 * HOUR + int(float(speed) * SECOND_US) == beginning.clock.now_us(later_ns)
    back = start_clock(Simulation(speed=Decimal(60)), replace(fast, speed="1"), 0)
    assert NEW_YEAR + 6 * HOUR == pytest.approx(back.start_us, abs=SECOND_US)


def test_a_history_is_due_at_once_and_ends_now() -> None:
    """Whatever the speed. A later start goes back to its beginning until all of it is written, and with the option, always."""
    simulation = Simulation(backfill=3600, seed=1, duration_seconds=60, speed=Decimal(60))
    beginning = start_clock(simulation, None, 0)

    assert time.time() == pytest.approx(beginning.live_us / SECOND_US, abs=5)
    assert (HOUR, beginning.live_us) == (beginning.live_us - beginning.start_us, beginning.counted_us)
    assert beginning.live_us == beginning.clock.now_us(beginning.clock.origin_ns)
    begun = replace(record(HOUR), clock_us=NEW_YEAR + HOUR, backfill_us=HOUR)
    for options, counted_us in ((Simulation(), NEW_YEAR + 2 * HOUR), (Simulation(backfill=3600), NEW_YEAR + HOUR)):
        later = start_clock(options, begun, NEW_YEAR + HOUR // 2)
        assert (NEW_YEAR, True, NEW_YEAR + HOUR) == (later.start_us, later.continues, later.live_us)
        assert counted_us == pytest.approx(later.counted_us, abs=SECOND_US)
    written = replace(begun, backfilled=True)
    assert NEW_YEAR + 2 * HOUR == pytest.approx(start_clock(Simulation(), written, 0).start_us, abs=SECOND_US)
    assert NEW_YEAR == start_clock(Simulation(backfill=3600), written, 0).start_us


def test_a_simulated_time_is_reached_when_the_clock_says_so() -> None:
    """Both conversions agree to the nanosecond, at any speed."""
    for speed in (Fraction(1), Fraction(60), Fraction(10_000), Fraction(1, 1000), Fraction(7, 3)):
        clock = SimulatedClock(NEW_YEAR, 5, speed)
        for time_us in (NEW_YEAR - 7, NEW_YEAR, NEW_YEAR + 1, NEW_YEAR + 999_999_937):
            reached_ns = clock.clock_ns(time_us)
            assert clock.now_us(reached_ns - 1) < time_us <= clock.now_us(reached_ns)


def test_the_board_of_a_killed_run_tells_how_far_it_came(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.run.mkdir()
    assert 0 == directory.latest_us()
    directory.scoreboard.write_bytes(b"no board")
    assert 0 == directory.latest_us()

    Scoreboard.create(directory.scoreboard, 3).rows["timestamp_us"][:] = np.array([5, 9, 7])
    assert 9 == directory.latest_us()

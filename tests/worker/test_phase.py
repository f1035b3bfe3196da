"""When the first reading of a run is due: a part of the interval after its start, and what keeps to that rhythm."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from tests.worker.samples import (
    IDENTITY,
    NEW,
    NEW_YEAR,
    SECOND_US,
    commit_due,
    live_worker,
    run,
    settings,
    with_catch_up,
)
from worker.process import EXIT_COMMITTED, Worker
from worker.scoreboard import STATES, Scoreboard
from worker.sensor import Sensor
from worker.spec import Pause, RunSpec, SensorSpec, Settings, Stage
from worker.storage.database import Database
from worker.storage.sinks import Epoch, Portion, Position

SETTINGS = settings(rate="0.5")
HOUR = 3600 * SECOND_US
ALMOST_ONE = 1 - 2**-48
LATER = NEW_YEAR + HOUR


def sensor(phase: float, run_spec: RunSpec, position: Position = NEW, sensor_settings: Settings = SETTINGS) -> Sensor:
    return Sensor(SensorSpec(IDENTITY, sensor_settings, 0, phase=phase), run_spec, position)


def lived(subject: Sensor, seconds: float) -> list[Portion]:
    portions: list[Portion] = []
    while some := commit_due(subject, NEW_YEAR + round(seconds * SECOND_US)):
        portions.extend(some)
    return portions


def seconds_of(portions: Sequence[Portion]) -> list[float]:
    """The times of readings, in seconds after NEW_YEAR."""
    times = [time for portion in portions if portion.block for time in portion.block.times.tolist()]
    return [(time - NEW_YEAR) / SECOND_US for time in times]


def last_epoch(portions: Sequence[Portion]) -> Epoch:
    return [portion.epoch for portion in portions if portion.epoch][-1]


def begun(phase: float, seconds: float) -> Position:
    """The position of a sensor that has run for that long."""
    portions = lived(sensor(phase, run()), seconds)
    return Position(portions[-1].end, last_epoch(portions))


@pytest.mark.parametrize(("phase", "first"), [(0.0, 0.0), (0.25, 0.5), (0.9, 1.8), (ALMOST_ONE, 1.999_999)])
def test_the_first_reading_of_a_run_is_due_at_the_phase(phase: float, first: float) -> None:
    portions = lived(sensor(phase, run()), 7)

    assert [pytest.approx(first + 2 * n) for n in range(4 - (first > 1))] == seconds_of(portions)
    assert ("start", 0) == (last_epoch(portions).reason, last_epoch(portions).schedule.first_seq)


@pytest.mark.parametrize("rate", ["0.000001", "0.3", "1/3", "50/60", "7", "9.99", "1000", "99999", "100000"])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.618, 0.999, ALMOST_ONE])
def test_a_run_of_whole_intervals_has_the_same_readings_at_any_phase(rate: str, phase: float) -> None:
    """In the first run and in a later one. With half an interval more, a sensor has another reading if it begins early."""
    rated, exact = settings(rate=rate), Fraction(rate)
    whole_us, half_us = 3 * exact.denominator * SECOND_US, int(SECOND_US / exact) // 2
    earlier = Epoch(42, 1, "start", IDENTITY, rated, sensor(0.0, run(), sensor_settings=rated).schedule)
    for number, start_us, position in ((1, NEW_YEAR, NEW), (2, NEW_YEAR + 10**15, Position(5, earlier))):
        for duration_us, more in ((whole_us, 0), (whole_us + half_us, phase < 0.5)):
            run_spec = replace(run(number, start_us), duration_us=duration_us)
            subject = sensor(phase, run_spec, position, rated)

            assert subject.limit is not None
            assert 3 * exact.numerator + more == subject.limit - subject.next_seq


def test_a_run_that_ends_before_the_first_reading_is_done_at_once() -> None:
    """In the first run and in a later one, without a record."""
    for run_spec, position in ((run(seconds=1), NEW), (run(2, LATER, seconds=1), begun(0.75, 9))):
        subject = sensor(0.75, run_spec, position)

        assert subject.done
        assert [] == subject.portions(LATER + HOUR, 10, final=False)


@pytest.mark.parametrize("resume", ["skip", "catch_up"])
def test_a_later_run(resume: str) -> None:
    """One that skips has its first reading at the phase again, one that catches up continues on the grid of the first."""
    during = run(2, LATER + 700_000) if resume == "skip" else with_catch_up(run(2, LATER + 700_000))
    subject = sensor(0.25, replace(during, longest_pause_us=2 * HOUR), begun(0.25, 9))
    times = seconds_of(lived(subject, 3605))

    assert (10.5 if resume == "catch_up" else 3601.2) == times[0]
    assert {2.0} == {round(b - a, 6) for a, b in pairwise(times)}


def test_a_later_run_never_has_less_than_an_interval_between_two_readings() -> None:
    """Its own first reading would be due at 9.6 seconds; the next one of the earlier run is due at 10.5."""
    subject = sensor(0.25, run(2, NEW_YEAR + 9_100_000), begun(0.25, 9))

    assert [10.5, 12.5] == seconds_of(lived(subject, 13))


def test_what_a_longest_pause_leaves_out_ends_at_the_first_reading_of_the_run() -> None:
    """As in a run that skips."""
    subject = sensor(0.25, with_catch_up(run(2, LATER)), begun(0.25, 9))
    subject.skip(LATER + 5 * SECOND_US)

    assert [3600.5, 3602.5, 3604.5] == seconds_of(lived(subject, 3605))


def test_a_skip_in_the_middle_of_a_run_keeps_the_grid() -> None:
    """After a machine has slept, its sensors are neither in step nor out of it, but as they were."""
    subject = sensor(0.25, run())
    lived(subject, 9)
    subject.skip(LATER + 123_456)

    assert [3600.5, 3602.5] == seconds_of(lived(subject, 3603))


def test_a_change_of_the_rate_continues_on_the_own_grid() -> None:
    """Also to a rate at which the phase is longer: the next reading stays where it is. So it does in a later run, and for
    a worker that takes over."""
    for during, position in ((run(), NEW), (run(2, LATER), begun(0.25, 9))):
        subject = sensor(0.25, during, position)
        first = lived(subject, 3605)
        next_due = seconds_of(first)[-1] + 2
        slower = SensorSpec(IDENTITY, settings(rate="0.01"), 0, phase=0.25)
        heir = Sensor(slower, during, Position(subject.next_seq, last_epoch(first)))
        subject.change(slower)

        for each in (subject, heir):
            assert [next_due, next_due + 100] == seconds_of(lived(each, next_due + 101))


def test_a_stage_before_the_first_reading_applies_to_it() -> None:
    """The first reading stays where the rate at the start of the run puts it."""
    stages = (Stage(NEW_YEAR + SECOND_US // 2, settings(rate="10")),)
    subject = Sensor(SensorSpec(IDENTITY, SETTINGS, 0, stages, phase=0.5), run(), NEW)

    assert [1.0, 1.1, 1.2] == seconds_of(lived(subject, 1.25))


def test_a_pause_from_the_start_on_leaves_the_grid_as_it_is() -> None:
    pauses = (Pause(NEW_YEAR - SECOND_US, NEW_YEAR + 10 * SECOND_US),)
    subject = Sensor(SensorSpec(IDENTITY, SETTINGS, 0, pauses=pauses, phase=0.25), run(), NEW)

    assert [10.5, 12.5] == seconds_of(lived(subject, 13))


def test_a_worker_without_a_due_reading_has_started(tmp_path: Path) -> None:
    """It has claimed its database, so it is healthy, and who waits for the start of the fleet waits no longer."""
    spec = live_worker(tmp_path / "s.db", settings(rate="0.001"))
    spec = replace(spec, sensors=tuple(replace(each, phase=0.5) for each in spec.sensors))
    board, (ours, theirs) = Scoreboard.create(tmp_path / "board", 1), socket.socketpair()
    seen: list[str] = []

    def heartbeat() -> None:
        seen.append(STATES[board.rows[0]["state"]])

    theirs.close()  # the supervisor is gone, so it ends at once
    assert EXIT_COMMITTED == Worker(spec, 1, ours, board, Database(spec.store), heartbeat=heartbeat).run()
    ours.close()

    assert (0, True) == (board.rows[0]["readings"], board.rows[0]["first_commit_ns"] > 0)
    assert "healthy" == seen[-1]

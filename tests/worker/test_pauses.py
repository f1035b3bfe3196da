"""Sensors that are paused: no reading is due until they are resumed, and the time between is left out, on record."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND_US, commit_due, run, settings, with_catch_up
from worker.sensor import Sensor
from worker.spec import Pause, RunSpec, SensorSpec
from worker.storage.sinks import Portion, Position

SETTINGS = settings(*ANOMALIES, rate="4")
NEW = Position(0, None)
BEGIN, END = NEW_YEAR + 10 * SECOND_US, NEW_YEAR + 20 * SECOND_US + 1


def sensor(*pauses: Pause, run_spec: RunSpec | None = None, position: Position = NEW) -> Sensor:
    return Sensor(SensorSpec(IDENTITY, SETTINGS, 0, pauses=pauses), run_spec or run(), position)


def lived(subject: Sensor, seconds: float) -> list[Portion]:
    portions: list[Portion] = []
    while some := commit_due(subject, NEW_YEAR + round(seconds * SECOND_US)):
        portions.extend(some)
    return portions


def times(portions: list[Portion]) -> list[int]:
    return [time for portion in portions if portion.block for time in portion.block.times.tolist()]


def test_nothing_is_due_until_it_is_resumed() -> None:
    """Also nothing overdue, however long it lasts; then it goes on with the next reading of its grid, as a skip."""
    subject = sensor(Pause(BEGIN))
    before = lived(subject, 5000)

    assert (40, True, 0, False) == (before[-1].end, subject.paused, subject.lag(END), subject.overdue(END + 10**12))
    subject.change(replace(subject.spec, pauses=(Pause(BEGIN, END),)))
    after = lived(subject, 25)
    (epoch,) = [portion.epoch for portion in after if portion.epoch]
    assert ("skip", 40, NEW_YEAR + 20_250_000) == (epoch.reason, epoch.schedule.first_seq, epoch.schedule.start_us)
    assert not subject.paused
    assert times([*before, *after]) == [NEW_YEAR + n * 250_000 for n in (*range(40), *range(81, 101))]


@pytest.mark.parametrize("seconds", [0.1, 9.9, 10, 15, 19.9, 20.1, 30])
def test_whoever_comes_late_to_it_writes_the_same(seconds: float) -> None:
    """One that lags behind, or takes over, at any moment of it."""
    pause = Pause(BEGIN, END)
    known = sensor(pause)
    first = lived(known, seconds)
    epochs = [portion.epoch for portion in first if portion.epoch]
    heir = sensor(pause, position=Position(first[-1].end, epochs[-1]))

    assert times(lived(sensor(pause), 30)) == times([*first, *lived(heir, 30)])


def test_several_pauses_leave_out_each() -> None:
    pauses = Pause(BEGIN, END), Pause(END + 1, END + SECOND_US), Pause(END + 5 * SECOND_US)
    subject = sensor(*pauses)
    found = times(lived(subject, 100))

    assert [NEW_YEAR + n * 250_000 for n in (*range(40), *range(85, 101))] == found
    assert subject.paused
    assert all(later > earlier for earlier, later in pairwise(found))


def test_one_that_is_paused_from_the_first_reading_on_begins_when_it_is_resumed() -> None:
    subject = sensor(Pause(NEW_YEAR - SECOND_US))
    assert ([], True) == (lived(subject, 50), subject.paused)
    subject.change(replace(subject.spec, pauses=(Pause(NEW_YEAR - SECOND_US, END),)))
    (first, *_) = lived(subject, 50)

    assert first.epoch
    assert ("start", 0, NEW_YEAR + 20_250_000) == (
        first.epoch.reason,
        first.next_seq,
        first.epoch.schedule.start_us,
    )


def test_a_run_with_an_end_has_fewer_readings() -> None:
    """Those of the pause are not made up for; a catch-up does not bring them back."""
    run_spec = with_catch_up(run(seconds=30))
    subject = sensor(Pause(BEGIN, END), run_spec=run_spec)

    assert 40 + 39 == len(times(lived(subject, 1000)))
    assert subject.done

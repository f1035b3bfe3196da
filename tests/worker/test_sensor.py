"""Where a sensor continues, what is due, and where it ends."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest

from tests.worker.samples import (
    ANOMALIES,
    IDENTITY,
    NEW_YEAR,
    NOISE,
    SECOND_US,
    TREND,
    commit_due,
    run,
    sensor,
    settings,
    with_catch_up,
)
from worker.readings.generator import SignalGenerator
from worker.sensor import Sensor
from worker.spec import RunSpec, Settings
from worker.storage.sinks import Epoch, Portion, Position

pytestmark = pytest.mark.claim("000.testing.8")

HOUR = 3600 * SECOND_US
SETTINGS = settings(*ANOMALIES)


def begun(sensor_settings: Settings, during: RunSpec, until_us: int) -> tuple[Sensor, Epoch]:
    """A new sensor that has settled what was due, and its epoch."""
    subject = sensor(sensor_settings, during)
    first = commit_due(subject, until_us)[0]
    assert first.epoch is not None
    return subject, first.epoch


def resumed(sensor_settings: Settings, during: RunSpec, position: Position) -> Sensor:
    return sensor(sensor_settings, during, position=position)


def long_episode(start_us: int) -> tuple[int, int]:
    """First and last reading of an episode that is longer than a few, in the first minutes of SETTINGS's readings."""
    generator = SignalGenerator(42, IDENTITY, SETTINGS, 0, start_us)
    found = next(e for e in generator.episodes(50, 2_000) if e.kind == "trend" and e.first_seq > 50)
    return found.first_seq, found.last_seq


def test_a_new_sensor_starts_an_epoch_at_the_start_of_the_run() -> None:
    subject = resumed(SETTINGS, run(), Position(0, None))
    first, *others = subject.portions(NEW_YEAR + 400 * SECOND_US, 1_000)

    assert Epoch(42, 1, "start", IDENTITY, SETTINGS, subject.schedule) == first.epoch
    assert (0, NEW_YEAR) == (subject.schedule.first_seq, subject.schedule.start_us)
    assert all(other.epoch is None for other in others)
    assert (first.previous, first.running, first.truncate) == (None, (), False)


def test_portions_are_proposals_until_they_are_settled() -> None:
    """They are proposed again, with the epoch, until `commit`."""
    subject = resumed(SETTINGS, run(), Position(0, None))
    now = NEW_YEAR + 10 * SECOND_US
    once, again = subject.portions(now, 100), subject.portions(now, 100)

    assert [(p.next_seq, p.end, p.epoch) for p in once] == [(p.next_seq, p.end, p.epoch) for p in again]
    assert [(0, 11)] == [(p.next_seq, p.end) for p in once]
    subject.commit(once[0])
    assert [] == subject.portions(now, 100)


@pytest.mark.claim("000.advanced-features.7", "000.performance-characteristics.1", "001.architecture.6")
def test_portions_join_and_keep_to_the_most() -> None:
    """Oldest first, without a gap, never more than asked for."""
    subject = resumed(SETTINGS, run(), Position(0, None))
    portions: list[Portion] = []
    while some := commit_due(subject, NEW_YEAR + 2_000 * SECOND_US, most=300):
        assert sum(portion.end - portion.next_seq for portion in some) <= 300
        portions.extend(some)

    assert (0, 2_001) == (portions[0].next_seq, portions[-1].end)
    assert all(before.end == after.next_seq for before, after in pairwise(portions))


def test_a_restart_in_the_same_run_begins_no_epoch() -> None:
    """It goes on with the stored schedule, whether it skips or not, and tells again of the episode that runs."""
    first, last = long_episode(NEW_YEAR)
    _, epoch = begun(SETTINGS, run(), NEW_YEAR + (first + 3) * SECOND_US)
    subject = resumed(SETTINGS, run(), Position(first + 4, epoch))
    (portion,) = commit_due(subject, NEW_YEAR + (first + 6) * SECOND_US)

    assert (None, epoch.schedule) == (portion.epoch, portion.schedule)
    assert [(first, last)] == [(e.first_seq, e.last_seq) for e in portion.running]
    assert () == commit_due(subject, NEW_YEAR + (first + 8) * SECOND_US)[0].running


def test_a_later_run_skips_to_its_start() -> None:
    """A new epoch at the next number, at the run's start; the portion names the schedule before, so that its episode can be cut."""
    before, epoch = begun(SETTINGS, run(), NEW_YEAR + 99 * SECOND_US)
    subject = resumed(SETTINGS, run(2, NEW_YEAR + HOUR), Position(100, epoch))
    (portion,) = commit_due(subject, NEW_YEAR + HOUR)

    assert portion.epoch is not None
    assert ("resume", 2, 100, NEW_YEAR + HOUR) == (
        portion.epoch.reason,
        portion.epoch.run,
        portion.epoch.schedule.first_seq,
        portion.epoch.schedule.start_us,
    )
    assert before.schedule == portion.previous


def test_a_later_run_that_starts_in_the_past_goes_on_after_the_last_reading() -> None:
    """Timestamps strictly increase, whatever the start of the run."""
    _, epoch = begun(SETTINGS, run(), NEW_YEAR + 99 * SECOND_US)
    subject = resumed(SETTINGS, run(2, NEW_YEAR - HOUR), Position(100, epoch))

    assert NEW_YEAR + 100 * SECOND_US == subject.schedule.start_us


def test_a_later_run_catches_up() -> None:
    """The epoch goes on as if nothing had been; everything since is due."""
    _, epoch = begun(SETTINGS, run(), NEW_YEAR + 99 * SECOND_US)
    subject = resumed(SETTINGS, with_catch_up(run(2, NEW_YEAR + HOUR)), Position(100, epoch))
    portions = commit_due(subject, NEW_YEAR + HOUR)

    assert (epoch.schedule, 3_601) == (subject.schedule, portions[-1].end)
    assert all(portion.epoch is None for portion in portions)
    assert NEW_YEAR + HOUR == subject.generator.schedule.time(3_600)


@pytest.mark.parametrize("resume", ["skip", "catch_up"])
def test_changed_settings_begin_an_epoch(resume: str) -> None:
    """Also in the same run, and also for one that catches up: what is written from here on is something else."""
    _, epoch = begun(SETTINGS, run(), NEW_YEAR + 99 * SECOND_US)
    changed = settings(replace(TREND, share=0.2), rate="2")
    during = run() if resume == "skip" else with_catch_up(run())
    subject = resumed(changed, during, Position(100, epoch))
    portions = commit_due(subject, NEW_YEAR + 105 * SECOND_US)

    assert portions[0].epoch is not None
    assert ("settings", changed) == (portions[0].epoch.reason, portions[0].epoch.settings)
    assert (NEW_YEAR + 100 * SECOND_US, 111) == (subject.schedule.start_us, portions[-1].end)


def test_a_changed_identity_begins_an_epoch() -> None:
    """The rows say who wrote them, so the epoch must."""
    _, epoch = begun(SETTINGS, run(), NEW_YEAR + 99 * SECOND_US)
    moved = sensor(SETTINGS, run(), replace(IDENTITY, location="Berlin"), Position(100, epoch))
    (portion,) = commit_due(moved, NEW_YEAR + 100 * SECOND_US)

    assert portion.epoch is not None
    assert "Berlin" == portion.epoch.identity.location


def test_a_pause_that_was_too_long_is_skipped() -> None:
    """Up to the longest pause it catches up; after a longer one it begins an epoch with the next reading of its grid, and
    nothing old is due."""
    subject, epoch = begun(SETTINGS, run(), NEW_YEAR + 99 * SECOND_US)
    longest = run().longest_pause_us
    woken = NEW_YEAR + 100 * SECOND_US + longest

    assert not subject.overdue(woken)
    assert subject.overdue(woken + 1)
    subject.skip(woken + 1)
    (portion,) = commit_due(subject, woken + SECOND_US)
    assert portion.epoch is not None
    assert ("skip", 100, 101) == (portion.epoch.reason, portion.next_seq, portion.end)
    assert (woken + SECOND_US, epoch.schedule) == (portion.schedule.start_us, portion.previous)


def test_a_pause_before_this_run_is_skipped_up_to_its_start() -> None:
    """The worker was ready two seconds after the run had begun: what was due in them is written."""
    _, epoch = begun(SETTINGS, run(), NEW_YEAR + 99 * SECOND_US)
    later = NEW_YEAR + HOUR
    subject = resumed(SETTINGS, with_catch_up(run(2, later)), Position(100, epoch))

    subject.skip(later + 2 * SECOND_US)
    (portion,) = commit_due(subject, later + 2 * SECOND_US)

    assert portion.epoch is not None
    assert ("skip", 100, 103) == (portion.epoch.reason, portion.next_seq, portion.end)
    assert later == portion.schedule.start_us


def test_lag_is_the_age_of_the_oldest_unsettled_reading() -> None:
    subject, _ = begun(SETTINGS, run(), NEW_YEAR)

    assert 0 == subject.lag(NEW_YEAR + SECOND_US - 1)
    assert 0 == subject.lag(NEW_YEAR + SECOND_US)
    assert 5 * SECOND_US == subject.lag(NEW_YEAR + 6 * SECOND_US)


@pytest.mark.parametrize("rate", ["0.000001", "0.3", "0.333333", "1", "7", "9.99", "1000"])
@pytest.mark.parametrize("seconds", [0.000001, 0.5, 1, 19.999999, 20, 60])
def test_a_run_has_exactly_the_readings_of_its_duration(rate: str, seconds: float) -> None:
    """ceil(for x rate), all of them due at the end, whatever comes after it."""
    subject = resumed(settings(rate=rate), run(seconds=seconds), Position(0, None))
    expected = ceil(Fraction(round(seconds * SECOND_US), SECOND_US) * Fraction(rate))
    while commit_due(subject, NEW_YEAR + round(seconds * SECOND_US)):
        pass

    assert expected == subject.limit == subject.next_seq
    assert subject.done
    assert [] == subject.portions(NEW_YEAR + HOUR * 1_000, 10)
    assert subject.end_us is not None
    assert subject.end_us <= NEW_YEAR + round(seconds * SECOND_US)


def test_a_run_ends_at_the_same_time_after_a_skip() -> None:
    """A new epoch in the middle keeps the end of the run: what is left has ceil(rest x rate) readings."""
    subject, _ = begun(settings(rate="0.3"), run(seconds=2_000), NEW_YEAR)
    subject.skip(NEW_YEAR + 1_990 * SECOND_US)

    assert 1 + 3 == subject.limit


def test_a_run_that_is_over_has_nothing_left() -> None:
    """A restart after the end is done at once."""
    subject, epoch = begun(SETTINGS, run(seconds=10), NEW_YEAR + 20 * SECOND_US)
    again = resumed(SETTINGS, run(seconds=10), Position(10, epoch))

    assert subject.done
    assert again.done
    assert [] == again.portions(NEW_YEAR + 20 * SECOND_US, 10)


def test_an_episode_that_outlasts_the_run_is_cut_and_restored() -> None:
    """The last portion says so; a later run that catches up tells the whole episode again."""
    first, last = long_episode(NEW_YEAR)
    subject, epoch = begun(SETTINGS, run(seconds=first + 5), NEW_YEAR)
    portions = commit_due(subject, NEW_YEAR + HOUR)

    assert first + 5 == portions[-1].end
    assert [portion is portions[-1] for portion in portions] == [portion.truncate for portion in portions]
    later = with_catch_up(run(2, NEW_YEAR + HOUR))
    goes_on = commit_due(resumed(SETTINGS, later, Position(first + 5, epoch)), NEW_YEAR + HOUR)[0]
    assert [(first, last)] == [(e.first_seq, e.last_seq) for e in goes_on.running]


def test_a_drained_sensor_cuts_its_episode() -> None:
    """Told that nothing will follow, it settles what is due and cuts; with nothing due, it cuts with no rows."""
    subject, _ = begun(settings(NOISE), run(), NEW_YEAR + 30 * SECOND_US)
    due = commit_due(subject, NEW_YEAR + 40 * SECOND_US, final=True)
    (empty,) = commit_due(subject, NEW_YEAR + 40 * SECOND_US, final=True)

    assert [True] == [portion.truncate for portion in due]
    assert (None, 41, 41, True) == (empty.block, empty.next_seq, empty.end, empty.truncate)


def test_a_sensor_that_wrote_nothing_has_nothing_to_cut() -> None:
    """An epoch that never had a reading leaves no trace."""
    subject = resumed(SETTINGS, run(start_us=NEW_YEAR + HOUR), Position(0, None))

    assert [] == subject.portions(NEW_YEAR, 10, final=True)

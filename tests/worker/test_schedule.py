"""Due times are exact: integer arithmetic, for every rate and however far out."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.samples import NEW_YEAR, SECOND_US
from worker.schedule import Schedule, format_time, format_times

pytestmark = pytest.mark.claim("001.architecture.1")

RATES = ["0.000001", "0.3", "0.333333", "1", "7", "59.999999", "1000", "99999.999999", "100000"]

rates = st.integers(1, 100_000 * SECOND_US).map(lambda millionths: Fraction(millionths, SECOND_US))
seqs = st.integers(0, 10**12)
schedules = st.builds(Schedule, seqs, st.integers(0, 4 * 10**15), rates)


@given(schedules, seqs)
def test_times_are_the_rounded_quotient(schedule: Schedule, step: int) -> None:
    """time(seq) = start + round((seq - first_seq) * 10**6 / rate), halves up, in exact arithmetic."""
    exact = schedule.start_us + floor(step * SECOND_US / schedule.rate + Fraction(1, 2))

    assert exact == schedule.time(schedule.first_seq + step)


@given(schedules, seqs, st.integers(1, 300))
def test_many_times_are_each_time(schedule: Schedule, step: int, count: int) -> None:
    """The vectorised form gives what the scalar one does, wherever it begins in the next 30,000 years."""
    first = schedule.first_seq + step % floor(1 + schedule.rate * 10**12)

    assert [schedule.time(seq) for seq in range(first, first + count)] == schedule.times(first, count).tolist()


@pytest.mark.parametrize("rate", RATES)
def test_a_large_block_does_not_overflow(rate: str) -> None:
    """A block of a million readings is exact to its last one, also at a reading in eleven days."""
    schedule = Schedule(5, NEW_YEAR, Fraction(rate))
    times = schedule.times(5, 1_000_000)

    assert schedule.time(1_000_004) == times[-1]
    assert (np.diff(times) > 0).all()


@given(schedules, seqs)
def test_times_strictly_increase(schedule: Schedule, step: int) -> None:
    """At up to 100,000 readings a second no two readings share a microsecond."""
    seq = schedule.first_seq + step

    assert schedule.time(seq) < schedule.time(seq + 1)


@given(schedules, seqs)
def test_due_is_the_inverse_of_time(schedule: Schedule, step: int) -> None:
    """A reading is due from its microsecond on, and not one microsecond earlier."""
    seq = schedule.first_seq + step
    due = schedule.time(seq)

    assert seq + 1 == schedule.due(due)
    assert seq == schedule.due(due - 1)


def test_nothing_is_due_before_the_start() -> None:
    schedule = Schedule(7, NEW_YEAR, Fraction(3))

    assert 7 == schedule.due(NEW_YEAR - 1) == schedule.due(0)


@given(schedules, st.integers(1, 10**13))
def test_a_run_has_as_many_readings_as_are_due_before_its_end(schedule: Schedule, duration_us: int) -> None:
    """ceil(duration x rate), which are the readings whose unrounded times lie before the end."""
    count = schedule.count(duration_us)

    assert Fraction(count - 1) / schedule.rate * SECOND_US < duration_us
    assert duration_us <= Fraction(count) / schedule.rate * SECOND_US


@given(st.lists(st.integers(0, 250_000_000_000 * SECOND_US), min_size=2, max_size=20))
def test_text_order_is_time_order(times: list[int]) -> None:
    """Fixed width, so a reader may compare timestamps as text."""
    times = sorted(time % (4_000_000_000 * SECOND_US) for time in times)
    written = format_times(np.array(times, dtype=np.int64))

    assert written == sorted(written)
    assert {32} == {len(moment) for moment in written}


@given(st.datetimes(datetime(1970, 1, 1), datetime(2300, 1, 1)))  # noqa: DTZ001  # hypothesis adds the zone
def test_texts_are_iso_times(moment: datetime) -> None:
    """Any ISO parser reads back the microsecond that was written."""
    elapsed = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    time_us = (elapsed.days * 86_400 + elapsed.seconds) * SECOND_US + elapsed.microseconds

    assert moment.replace(tzinfo=UTC) == datetime.fromisoformat(format_time(time_us))


def test_the_year_rolls_over() -> None:
    schedule = Schedule(0, NEW_YEAR - 1, Fraction(1_000))

    assert ["2025-12-31T23:59:59.999999+00:00", "2026-01-01T00:00:00.000999+00:00"] == format_times(
        schedule.times(0, 2)
    )

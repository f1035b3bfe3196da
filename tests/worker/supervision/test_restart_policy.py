"""When a worker that died is started again."""

from __future__ import annotations

from itertools import count, takewhile

import pytest

from worker.supervision.restart_policy import RestartPolicy, TokenBucket, backoff

POLICY = RestartPolicy(budget=6, window_seconds=100.0, backoff_min=0.5, backoff_max=8.0, fleet_rate=2.0, fleet_burst=3)


def after(number: int, jitter: float) -> float | None:
    """The wait after that many deaths in a row."""
    return backoff(tuple(float(death) for death in range(number)), float(number - 1), POLICY, jitter)


@pytest.mark.claim("000.error-handling.1")
def test_the_wait_doubles_up_to_the_longest() -> None:
    """With most of the jitter; after one death more than the budget it is given up."""
    waits = [after(number, 1.0) for number in range(1, 8)]

    assert [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, None] == waits


def test_jitter_spreads_over_the_upper_half() -> None:
    """So that workers that died together do not come back together."""
    assert [1.0, 1.5] == [after(3, 0.0), after(3, 0.5)]


def test_a_crash_every_so_often_still_counts() -> None:
    """A worker that lives a while each time uses up its budget all the same, if the window holds the deaths."""
    deaths = tuple(15.0 * number for number in range(7))

    assert backoff(deaths, deaths[-1], POLICY, 0.0) is None
    assert backoff(deaths[:6], deaths[5], POLICY, 0.0) is not None


def test_deaths_are_forgotten_after_the_window() -> None:
    old = tuple(float(number) for number in range(50))

    assert 0.25 == backoff((*old, 1_000.0), 1_000.0, POLICY, 0.0)


@pytest.mark.parametrize("pause", [0.0, 0.5, 10.0, 1_000.0])
def test_the_fleet_restarts_at_most_so_many(pause: float) -> None:
    """`fleet_burst` at once, then `fleet_rate` a second; a long pause saves up no more than the burst."""
    bucket = TokenBucket(POLICY, tokens=3.0, filled=0.0)
    assert 3 == len(list(takewhile(lambda _: bucket.take(0.0), count())))
    again = len(list(takewhile(lambda _: bucket.take(pause), count())))

    assert min(3, int(pause * 2)) == again

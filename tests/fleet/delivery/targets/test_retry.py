"""The limits and pauses of retries."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from fleet.delivery.target import TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.retry import RetryableFailure, RetryPolicy

pytestmark = pytest.mark.claim("000.collector-script.2")


class Time:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def retry_policy(
        self, seconds: float = 30.0, attempts: int = 8, stop: threading.Event | None = None
    ) -> RetryPolicy:
        return RetryPolicy(seconds, attempts, stop or threading.Event(), lambda: self.now, self.sleep)


def failing(times: float, after: float = 0.0) -> Callable[[], str]:
    tried = itertools.count(1)

    def attempt() -> str:
        number = next(tried)
        if number <= times:
            raise RetryableFailure(f"failure {number}", after)
        return f"success {number}"

    return attempt


FOR_EVER = float("inf")


def test_what_goes_well_the_third_time_has_gone_well() -> None:
    time = Time()

    assert "success 3" == time.retry_policy().call(failing(2))
    assert 2 == len(time.pauses)


def test_pauses_grow_and_are_not_the_same_for_all() -> None:
    """Exponential backoff with full jitter."""
    runs = []
    for _ in range(40):
        time = Time()
        time.retry_policy(seconds=1000).call(failing(7))
        runs.append(time.pauses)

    for place, most in enumerate([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]):
        pauses = [run[place] for run in runs]
        assert 0 <= min(pauses) < most / 2 < max(pauses) <= most
        assert len(set(pauses)) > 30


def test_attempts_have_a_bound() -> None:
    with pytest.raises(TargetUnavailable, match=r"failure 4 \(tried 4 times in \d+ s\)"):
        Time().retry_policy(attempts=4).call(failing(FOR_EVER))


def test_no_attempt_begins_after_the_patience_is_over() -> None:
    time = Time()
    with pytest.raises(TargetUnavailable, match="failure"):
        time.retry_policy(seconds=12, attempts=1000).call(failing(FOR_EVER))

    assert time.now <= 1012
    assert sum(time.pauses) == pytest.approx(12)


def test_what_took_all_the_patience_is_not_tried_again() -> None:
    time = Time()

    def slow() -> str:
        time.now += 31
        raise RetryableFailure("slow")

    with pytest.raises(TargetUnavailable, match=r"slow \(tried once\)"):
        time.retry_policy().call(slow)


def test_a_pause_that_was_asked_for_is_made() -> None:
    time = Time()
    time.retry_policy().call(failing(1, after=17.0))

    assert [17.0] == time.pauses


def test_a_pause_that_was_asked_for_is_no_longer_than_the_patience() -> None:
    time = Time()
    with pytest.raises(TargetUnavailable, match="failure 2"):
        time.retry_policy().call(failing(FOR_EVER, after=3600))

    assert [30.0] == time.pauses


def test_whoever_is_stopped_waits_no_more() -> None:
    """With the clock of the machine: the pause ends when the event is set."""
    stop = threading.Event()
    timer = threading.Timer(0.05, stop.set)
    tried = itertools.count()

    def attempt() -> str:
        next(tried)
        raise RetryableFailure("overloaded", 600)

    timer.start()
    with pytest.raises(TargetUnavailable, match=r"overloaded \(tried once\)"):
        RetryPolicy(seconds=600, stop=stop).call(attempt)
    timer.join()

    assert 1 == next(tried)


def test_whoever_is_stopped_still_tries_once() -> None:
    time, stop = Time(), threading.Event()
    stop.set()

    assert "success 1" == time.retry_policy(stop=stop).call(failing(0))
    with pytest.raises(TargetUnavailable, match="failure 1"):
        time.retry_policy(stop=stop).call(failing(1))
    assert [] == time.pauses


def test_other_failures_are_not_tried_again() -> None:
    time = Time()

    def attempt() -> str:
        raise TargetMisconfigured("wrong token")

    with pytest.raises(TargetMisconfigured, match=r"^wrong token$"):
        time.retry_policy().call(attempt)
    assert [] == time.pauses

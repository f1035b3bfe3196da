"""The restart policy: backoff, budget, rate limit, and the decision after each exit."""

from __future__ import annotations

import errno
import signal
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.worker.samples import SPIKE, live_worker, settings
from worker.process import EXIT_COMMITTED, EXIT_PENDING
from worker.supervision.restart_policy import (
    SPAWN_RETRY_SECONDS,
    RestartDecision,
    RestartPolicy,
    TokenBucket,
    backoff,
    decide_restart,
)
from worker.supervision.slot import Slot

POLICY = RestartPolicy(budget=6, window_seconds=100.0, backoff_min=0.5, backoff_max=8.0, fleet_rate=2.0, fleet_burst=3)
SMALL_BUDGET = RestartPolicy(budget=2, backoff_min=1.0)
FULL = OSError(errno.EAGAIN, "no room")


def after(number: int, jitter: float) -> float | None:
    """The wait after that many deaths in a row."""
    return backoff(tuple(float(death) for death in range(number)), float(number - 1), POLICY, jitter)


@pytest.mark.claim("000.error-handling.1")
def test_the_first_restart_is_at_once_and_the_wait_then_doubles_up_to_the_longest() -> None:
    """With most of the jitter; after one death more than the budget it is given up."""
    waits = [after(number, 1.0) for number in range(1, 8)]

    assert [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, None] == waits


def test_jitter_spreads_over_the_upper_half() -> None:
    """So that workers that died together do not come back together."""
    assert [1.0, 1.5] == [after(4, 0.0), after(4, 0.5)]


def test_a_crash_every_so_often_still_counts() -> None:
    """A worker that lives a while each time uses up its budget all the same, if the window holds the deaths."""
    deaths = tuple(15.0 * number for number in range(7))

    assert backoff(deaths, deaths[-1], POLICY, 0.0) is None
    assert backoff(deaths[:6], deaths[5], POLICY, 0.0) is not None


def test_deaths_are_forgotten_after_the_window() -> None:
    old = tuple(float(number) for number in range(50))

    assert 0.0 == backoff((*old, 1_000.0), 1_000.0, POLICY, 0.0)


@pytest.mark.parametrize("pause", [0.0, 0.5, 10.0, 1_000.0])
def test_the_fleet_restarts_at_most_so_many(pause: float) -> None:
    """`fleet_burst` at once, then `fleet_rate` a second; a long pause saves up no more than the burst."""
    bucket = TokenBucket(POLICY, tokens=3.0, filled=0.0)
    assert 3 == len(list(takewhile(lambda _: bucket.take(0.0), count())))
    again = len(list(takewhile(lambda _: bucket.take(pause), count())))

    assert min(3, int(pause * 2)) == again


def decision(end: int | OSError, *, draining: bool = False, **slot: Any) -> RestartDecision:
    worker = live_worker(Path("x.db"), settings(SPIKE))
    return decide_restart(Slot(worker, **slot), end, draining=draining, now=100.0, policy=SMALL_BUDGET, jitter=1.0)


def test_an_orderly_exit_has_the_ordered_consequence() -> None:
    """The end, a restart, or removal; in a drain only the end."""
    assert RestartDecision(None, "") == decision(EXIT_COMMITTED)
    assert RestartDecision(0.0, "restarting") == decision(EXIT_COMMITTED, after_exit="restart")
    assert RestartDecision(None, "absent") == decision(EXIT_COMMITTED, after_exit="remove")
    assert RestartDecision(None, "") == decision(EXIT_COMMITTED, draining=True, after_exit="restart")


def test_a_death_is_followed_by_a_restart_until_the_budget_is_used_up() -> None:
    message = "killed by SIGKILL, restart in 0.0 s"
    assert RestartDecision(0.0, "restarting", "killed by SIGKILL", message, died=True) == decision(-signal.SIGKILL)
    message = "killed by SIGKILL, restart in 1.0 s"
    again = RestartDecision(1.0, "restarting", "killed by SIGKILL", message, died=True)
    assert again == decision(-signal.SIGKILL, deaths=(99.0,))
    reason = "died 3 times, last: killed by SIGKILL"
    failed = RestartDecision(None, "failed", reason, f"failed: {reason}", "failed", died=True)

    assert failed == decision(-signal.SIGKILL, deaths=(98.0, 99.0))


def test_no_worker_is_restarted_in_a_drain() -> None:
    """A worker with unwritten readings has put the reason on the scoreboard, a killed one has not."""
    killed = RestartDecision(None, "stopped", "killed by SIGKILL", "killed by SIGKILL while draining", "killed")
    pending = RestartDecision(None, "", message="exited with unwritten readings while draining", outcome_list="pending")

    assert killed == decision(-signal.SIGKILL, draining=True)
    assert killed == decision(-signal.SIGKILL, after_exit="remove")
    assert pending == decision(EXIT_PENDING, draining=True)


def test_a_failed_start_is_no_death_and_is_reported_once() -> None:
    """It is retried, but neither in a drain nor for a worker that is being removed."""
    reason = "no process can be started: no room"

    assert RestartDecision(SPAWN_RETRY_SECONDS, "restarting", reason, reason) == decision(FULL)
    assert RestartDecision(SPAWN_RETRY_SECONDS, "restarting", reason) == decision(FULL, spawn_error=reason)
    assert RestartDecision(None, "stopped") == decision(FULL, draining=True)
    assert RestartDecision(None, "absent") == decision(FULL, after_exit="remove")

"""The restart policy: pure functions that decide the next step after a worker has exited or could not be started.

`decide_restart` takes the slot, its exit status and the policy, and returns a `RestartDecision`; the supervisor only
carries it out. Clock and randomness are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worker.process import EXIT_COMMITTED, EXIT_PENDING
from worker.supervision.child import describe_exit_code
from worker.supervision.slot import Slot

SPAWN_RETRY_SECONDS = 1.0
"""Seconds between two attempts while the system has no room for a process."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to restart a worker and when to give up. All times are seconds.

    A worker may die `budget` times within `window_seconds`; after one more death it has failed until an operator
    restarts it. The first restart within the window follows at once, each later one after an exponential backoff. The whole fleet restarts at most `fleet_rate` workers per
    second, `fleet_burst` at once. A worker without a heartbeat for `hang_seconds` is killed, and so is one that has not
    drained within `drain_seconds`.
    """

    hang_seconds: float = 20.0
    budget: int = 10
    window_seconds: float = 600.0
    backoff_min: float = 0.5
    backoff_max: float = 30.0
    fleet_rate: float = 20.0
    fleet_burst: int = 50
    drain_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """The consequence of one exit.

    `delay` is the seconds until the next start, None if the worker is not started again. `state` and `reason` go to the
    scoreboard, `message` to the operator; an empty string leaves each unchanged or unsaid. `outcome_list` names the list
    of the run's `Outcome` that the worker is added to. `died` counts the exit as a death.
    """

    delay: float | None
    state: str
    reason: str = ""
    message: str = ""
    outcome_list: Literal["failed", "pending", "killed"] | None = None
    died: bool = False

    @property
    def kind(self) -> str:
        """The kind of the event that reports the decision."""
        if self.outcome_list:
            return "failure"
        return "death" if self.died else "trouble"


def decide_restart(
    slot: Slot, end: int | OSError, *, draining: bool, now: float, policy: RestartPolicy, jitter: float
) -> RestartDecision:
    """Decide about a slot whose worker has ended.

    `end` is the exit code, or the error if the worker was never started. `draining` is true while the whole fleet
    drains. `jitter` is a uniform random number in [0, 1).
    """
    removed = slot.after_exit == "remove"
    if isinstance(end, OSError):
        return (
            RestartDecision(None, "absent" if removed else "stopped")
            if draining or removed
            else after_spawn_failure(slot, end)
        )
    if end == EXIT_COMMITTED and slot.after_exit == "restart" and not draining:
        return RestartDecision(0.0, "restarting")
    if end == EXIT_COMMITTED:
        return RestartDecision(None, "absent" if removed else "")
    how = describe_exit_code(end)
    message = f"{how} while draining"
    if end == EXIT_PENDING and (draining or removed):  # the worker has put the reason on the scoreboard
        return RestartDecision(None, "", message=message, outcome_list="pending")
    if draining or removed:
        return RestartDecision(None, "stopped", how, message, "killed")
    return after_death(slot, end, now, policy, jitter)


def after_spawn_failure(slot: Slot, error: OSError) -> RestartDecision:
    """Retry after the system had no room for a process. It is not a death, and is reported once."""
    reason = f"no process can be started: {error.strerror}"
    return RestartDecision(SPAWN_RETRY_SECONDS, "restarting", reason, reason if slot.spawn_error != reason else "")


def after_death(slot: Slot, code: int, now: float, policy: RestartPolicy, jitter: float) -> RestartDecision:
    """Restart a worker that has died, or fail it once its budget is used up."""
    deaths = (*slot.deaths, now)[-policy.budget - 1 :]
    delay = backoff(deaths, now, policy, jitter)
    how = describe_exit_code(code)
    if delay is None:
        reason = f"died {len(deaths)} times, last: {how}"
        return RestartDecision(None, "failed", reason, f"failed: {reason}", "failed", died=True)
    return RestartDecision(delay, "restarting", how, f"{how}, restart in {delay:.1f} s", died=True)


def backoff(deaths: tuple[float, ...], now: float, policy: RestartPolicy, jitter: float) -> float | None:
    """Return the seconds to wait before the next start after a death at `now`, or None to give up. 0 for the first.

    `deaths` are the times of all deaths including this one, oldest first; `jitter` is in [0, 1).
    """
    recent = [death for death in deaths if now - death <= policy.window_seconds]
    if len(recent) > policy.budget:
        return None
    if len(recent) == 1:
        return 0.0
    longest = min(policy.backoff_max, policy.backoff_min * 2.0 ** (len(recent) - 2))
    return longest * (0.5 + 0.5 * jitter)


@dataclass(slots=True)
class TokenBucket:
    """A rate limit for the fleet's restarts: `policy.fleet_rate` per second, at most `policy.fleet_burst` at once."""

    policy: RestartPolicy
    tokens: float
    filled: float

    def take(self, now: float) -> bool:
        """Take one token. Returns False if none is left."""
        self.tokens = min(self.policy.fleet_burst, self.tokens + (now - self.filled) * self.policy.fleet_rate)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

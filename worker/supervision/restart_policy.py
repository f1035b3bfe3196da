"""When a worker that died is started again: a pure function of its deaths."""

from __future__ import annotations

from dataclasses import dataclass

SPAWN_RETRY_SECONDS = 1.0
"""Seconds between two attempts while the system has no room for a process."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to restart and when to give up. All times are seconds.

    A worker may die `budget` times within `window_seconds`; then it has failed until it is restarted by hand. Between a death
    and the restart lies an exponential backoff. The whole fleet restarts at most `fleet_rate` workers a second,
    with `fleet_burst` at once.
    """

    hang_seconds: float = 20.0
    budget: int = 10
    window_seconds: float = 600.0
    backoff_min: float = 0.5
    backoff_max: float = 30.0
    fleet_rate: float = 20.0
    fleet_burst: int = 50
    drain_seconds: float = 30.0


def backoff(deaths: tuple[float, ...], now: float, policy: RestartPolicy, jitter: float) -> float | None:
    """Seconds to wait before the next start after a death at `now`, or None to give up.

    `deaths` are the times of all deaths including this one, oldest first; `jitter` is in [0, 1).
    """
    recent = [death for death in deaths if now - death <= policy.window_seconds]
    if len(recent) > policy.budget:
        return None
    longest = min(policy.backoff_max, policy.backoff_min * 2.0 ** (len(recent) - 1))
    return longest * (0.5 + 0.5 * jitter)


@dataclass(slots=True)
class TokenBucket:
    """The fleet's restarts: `policy.fleet_rate` a second, at most `policy.fleet_burst` at once."""

    policy: RestartPolicy
    tokens: float
    filled: float

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        self.tokens = min(self.policy.fleet_burst, self.tokens + (now - self.filled) * self.policy.fleet_rate)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

"""What follows the end of a worker: a pure function of what became of it and of what was wanted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worker.process import EXIT_COMMITTED, EXIT_PENDING
from worker.supervision.child import describe_exit_code
from worker.supervision.restart_policy import SPAWN_RETRY_SECONDS, RestartPolicy, backoff
from worker.supervision.slot import Slot


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """`delay` is the seconds until the next start, None if there is to be none. `state` and `reason` are for the scoreboard,
    `message` for the operator, each unless it is empty. `outcome_list` is the list of the outcome that it belongs in, `died` whether
    it was a death."""

    delay: float | None
    state: str
    reason: str = ""
    message: str = ""
    outcome_list: Literal["failed", "pending", "killed"] | None = None
    died: bool = False

    @property
    def kind(self) -> str:
        """Of the event."""
        if self.outcome_list:
            return "failure"
        return "death" if self.died else "trouble"


def decide_restart(
    slot: Slot, end: int | OSError, *, draining: bool, now: float, policy: RestartPolicy, jitter: float
) -> RestartDecision:
    """`end` is the exit code, or the reason if it never ran; `draining` is whether the whole fleet ends; `jitter` is in
    [0, 1)."""
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
    message = f"ended with {describe_exit_code(end)} while draining"
    if end == EXIT_PENDING and (draining or removed):  # it has said so itself, with the reason
        return RestartDecision(None, "", message=message, outcome_list="pending")
    if draining or removed:
        return RestartDecision(None, "stopped", describe_exit_code(end), message, "killed")
    return after_death(slot, end, now, policy, jitter)


def after_spawn_failure(slot: Slot, error: OSError) -> RestartDecision:
    """The system has no room for a process: that is nobody's death, will be tried again, and is told once."""
    reason = f"no process can be started: {error.strerror}"
    return RestartDecision(SPAWN_RETRY_SECONDS, "restarting", reason, reason if slot.spawn_error != reason else "")


def after_death(slot: Slot, code: int, now: float, policy: RestartPolicy, jitter: float) -> RestartDecision:
    deaths = (*slot.deaths, now)[-policy.budget - 1 :]
    delay = backoff(deaths, now, policy, jitter)
    if delay is None:
        reason = f"died {len(deaths)} times, last by {describe_exit_code(code)}"
        return RestartDecision(None, "failed", reason, f"failed: {reason}", "failed", died=True)
    message = f"died by {describe_exit_code(code)}, restart in {delay:.1f} s"
    return RestartDecision(delay, "restarting", describe_exit_code(code), message, died=True)

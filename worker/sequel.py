"""What follows the end of a worker: a pure function of what became of it and of what was wanted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worker.child import meaning
from worker.process import SETTLED, UNSETTLED
from worker.restarts import SHORTAGE, Policy, backoff
from worker.slot import Slot


@dataclass(frozen=True, slots=True)
class Sequel:
    """`delay` is the seconds until the next start, None if there is to be none. `state` and `reason` are for the board,
    `told` for the operator, each unless it is empty. `blame` is the list of the outcome that it belongs in, `died` whether
    it was a death."""

    delay: float | None
    state: str
    reason: str = ""
    told: str = ""
    blame: Literal["failed", "unsettled", "killed"] | None = None
    died: bool = False

    @property
    def kind(self) -> str:
        """Of the event."""
        if self.blame:
            return "failure"
        return "death" if self.died else "trouble"


def sequel(slot: Slot, end: int | OSError, *, draining: bool, now: float, policy: Policy, jitter: float) -> Sequel:
    """`end` is the exit code, or the reason if it never ran; `draining` is whether the whole fleet ends; `jitter` is in
    [0, 1)."""
    removed = slot.after == "remove"
    if isinstance(end, OSError):
        return Sequel(None, "absent" if removed else "stopped") if draining or removed else unborn(slot, end)
    if end == SETTLED and slot.after == "restart" and not draining:
        return Sequel(0.0, "restarting")
    if end == SETTLED:
        return Sequel(None, "absent" if removed else "")
    told = f"ended with {meaning(end)} while draining"
    if end == UNSETTLED and (draining or removed):  # it has said so itself, with the reason
        return Sequel(None, "", told=told, blame="unsettled")
    if draining or removed:
        return Sequel(None, "stopped", meaning(end), told, "killed")
    return death(slot, end, now, policy, jitter)


def unborn(slot: Slot, error: OSError) -> Sequel:
    """The system has no room for a process: that is nobody's death, will be tried again, and is told once."""
    reason = f"no process can be started: {error.strerror}"
    return Sequel(SHORTAGE, "restarting", reason, reason if slot.trouble != reason else "")


def death(slot: Slot, code: int, now: float, policy: Policy, jitter: float) -> Sequel:
    deaths = (*slot.deaths, now)[-policy.budget - 1 :]
    delay = backoff(deaths, now, policy, jitter)
    if delay is None:
        reason = f"died {len(deaths)} times, last by {meaning(code)}"
        return Sequel(None, "failed", reason, f"failed: {reason}", "failed", died=True)
    told = f"died by {meaning(code)}, restart in {delay:.1f} s"
    return Sequel(delay, "restarting", meaning(code), told, died=True)

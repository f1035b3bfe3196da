"""The health of a fleet: the state of every sensor as it is displayed, and the sensors that make the fleet unhealthy.

This is the only definition of health. `fleet status`, `fleet top`, `/healthz`, the metrics, the events and the summary of
a run all use it. A sensor is healthy, or waits for its process or its first commit, or is unhealthy. A fleet of healthy
sensors is degraded while a target does not get its readings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleet.datadir.delivery_status import DeliveryStatus, TargetStatus
from fleet.datadir.roster import Member, Roster
from worker.scoreboard import STATE_INDEX, STATES, Rows

OVERDUE_AFTER_NS = 10_000_000_000

TARGET_GRACE_SECONDS = 10.0
"""Seconds for which a target may fail before the fleet is degraded."""

MAX_BACKLOG_AGE_SECONDS = 60.0
"""Seconds for which a reading may wait for its delivery, beyond two intervals, before the fleet is degraded."""

MAX_SILENCE_SECONDS = 15.0
"""Seconds without a word of the delivery process after which it is taken to be stuck or dead."""

DISPLAY_STATES = (*STATES, "hung")
"""The scoreboard's states, and the one that a worker cannot report because it is stuck."""
HUNG_STATE = DISPLAY_STATES.index("hung")

IDLE_STATES = [STATE_INDEX[name] for name in ("done", "stopped", "paused")]
"""No readings are due: the sensor has written all of them, or was stopped or paused by a command."""

ALIVE_STATES = [STATE_INDEX[name] for name in ("starting", "healthy", "unready", "paused", "backfilling")]
WAITING_STATES = [STATE_INDEX[name] for name in ("absent", "pending", "starting", "restarting")]
HEALTHY_STATES = [STATE_INDEX["healthy"], STATE_INDEX["backfilling"], *IDLE_STATES]
UNHEALTHY_STATES = [STATE_INDEX["unready"], STATE_INDEX["failed"], HUNG_STATE]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FleetState:
    """The roster and the scoreboard of a fleet at one moment. `rows` and `target_rates` (readings a second) are in the
    order of `roster.members`. `now_ns` and `roster_changed_ns`, the time of the last change of the roster, are on the
    monotonic clock."""

    roster: Roster
    rows: Rows
    target_rates: npt.NDArray[np.float64]
    roster_changed_ns: int
    now_ns: int

    @property
    def catch_up_rate(self) -> float:
        """The readings a second from which on a target catches up with the history; infinite if there is none."""
        return float(self.target_rates.sum()) if self.roster.live_us else math.inf

    @property
    def members(self) -> tuple[Member, ...]:
        return self.roster.members


class UnhealthyReason(NamedTuple):
    sensor_id: str
    state: str
    reason: str


def display_states(fleet: FleetState) -> Numbers:
    """Return indexes into DISPLAY_STATES: the scoreboard's state, or hung for a live sensor without a heartbeat for
    `hang_seconds`."""
    state = fleet.rows["state"]
    silence_ns = fleet.now_ns - last_heartbeat_ns(fleet)
    hung = np.isin(state, ALIVE_STATES) & (silence_ns > fleet.roster.hang_seconds * 1e9)
    return np.where(hung, HUNG_STATE, state)


def last_heartbeat_ns(fleet: FleetState) -> Numbers:
    """Return the time of each sensor's last heartbeat on the monotonic clock, or of its start if it has sent none."""
    rows = fleet.rows
    beat: Numbers = np.maximum(np.maximum(rows["heartbeat_ns"], rows["started_ns"]), fleet.roster.started_ns)
    return beat


def overdue(fleet: FleetState, states: Numbers) -> npt.NDArray[np.bool_]:
    """Return the sensors that have been waiting for more than 10 seconds over all attempts: for a process, for the end
    of a backoff, or for the first commit, which is due with the first reading and so takes longer at slow rates."""
    rows = fleet.rows
    since = np.where(rows["waiting_ns"] > 0, rows["waiting_ns"], fleet.roster_changed_ns)
    since = np.maximum(since, fleet.roster.started_ns)
    interval_ns = np.where(states == STATE_INDEX["starting"], 1e9 / np.maximum(fleet.target_rates, 1e-9), 0.0)
    late: npt.NDArray[np.bool_] = fleet.now_ns - since > OVERDUE_AFTER_NS + interval_ns
    return late & np.isin(states, WAITING_STATES)


def unhealthy_positions(fleet: FleetState, states: Numbers) -> npt.NDArray[np.intp]:
    """Return the positions in the roster of the sensors that make the fleet unhealthy."""
    return np.flatnonzero(np.isin(states, UNHEALTHY_STATES) | overdue(fleet, states))


def unhealthy_sensors(fleet: FleetState) -> list[UnhealthyReason]:
    """Return the sensors that make the fleet unhealthy, in roster order, with their reasons."""
    states = display_states(fleet)
    positions = unhealthy_positions(fleet, states).tolist()
    return [unhealthy_reason(fleet, position, DISPLAY_STATES[states[position]]) for position in positions]


def count_healthy(states: Numbers) -> int:
    return int(np.isin(states, HEALTHY_STATES).sum())


def count_by_state(states: Numbers) -> dict[str, int]:
    """Count the sensors in each of the DISPLAY_STATES; a state without sensors is left out."""
    counts = np.bincount(states, minlength=len(DISPLAY_STATES)).tolist()
    return {name: count for name, count in zip(DISPLAY_STATES, counts, strict=True) if count}


def unhealthy_reason(fleet: FleetState, position: int, state: str) -> UnhealthyReason:
    """Explain why the sensor at `position` is in an unhealthy state."""
    row = fleet.rows[position]
    recorded = bytes(row["reason"]).decode(errors="replace")
    silence = (fleet.now_ns - int(last_heartbeat_ns(fleet)[position])) / 1e9
    explain = EXPLANATIONS.get(state, recorded_or("no reason was given"))
    return UnhealthyReason(fleet.members[position].sensor_id, state, explain(recorded, silence))


def recorded_or(default: str) -> Callable[[str, float], str]:
    return lambda recorded, _silence: recorded or default


EXPLANATIONS: dict[str, Callable[[str, float], str]] = {
    "hung": lambda _recorded, silence: f"no heartbeat for {silence:.0f} seconds",
    "absent": recorded_or("it has no row on the scoreboard yet"),
    "pending": recorded_or("still waiting for its process"),
    "starting": recorded_or("its first commit is overdue"),
    "restarting": recorded_or("its process died and was not replaced yet"),
}


class FailingTarget(NamedTuple):
    target: str
    reason: str


def failing_targets(
    delivery: DeliveryStatus | None, now: float, catch_up_rate: float = math.inf
) -> list[FailingTarget]:
    """Return the targets that make the fleet degraded at `now`, in seconds since 1970, with their reasons. One that takes more
    than `catch_up_rate` readings a second may be late."""
    if delivery is None:
        return []
    reasons = ((target.name, target_trouble(target, delivery, now, catch_up_rate)) for target in delivery.targets)
    return [FailingTarget(name, reason) for name, reason in reasons if reason]


def target_trouble(target: TargetStatus, delivery: DeliveryStatus, now: float, catch_up_rate: float) -> str:
    """Explain why a target makes the fleet degraded, empty if it does not."""
    if now - delivery.written_at > MAX_SILENCE_SECONDS:
        return f"the delivery process has reported nothing for {now - delivery.written_at:.0f} s"
    if target.failing_since is not None and now - target.failing_since > TARGET_GRACE_SECONDS:
        return target.error_text
    age = target.backlog_age(now)
    if age > MAX_BACKLOG_AGE_SECONDS + 2 * delivery.interval and target.rate <= catch_up_rate:
        return f"it lacks {target.backlog:,} readings, the oldest for {age:.0f} s"
    return ""

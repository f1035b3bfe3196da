"""Who of a fleet is well: the state of every sensor as it is shown, and the reasons why a fleet is unhealthy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from worker.scoreboard import STATE_INDEX, STATES

if TYPE_CHECKING:  # which keeps a history of this
    from fleet.monitoring.observation import Observation

HUNG_AFTER_NS = 20_000_000_000
OVERDUE_AFTER_NS = 10_000_000_000

# What the scoreboard cannot say, because the one who would have to say it is stuck.
DISPLAY_STATES = (*STATES, "hung")
HUNG_STATE = DISPLAY_STATES.index("hung")

# These have written all they were asked for, or were told to stop or to pause: no readings are asked of them.
IDLE_STATES = [STATE_INDEX[name] for name in ("done", "stopped", "paused")]

ALIVE_STATES = [STATE_INDEX[name] for name in ("starting", "healthy", "unready", "paused")]
WAITING_STATES = [STATE_INDEX[name] for name in ("absent", "pending", "starting", "restarting")]
HEALTHY_STATES = [STATE_INDEX["healthy"], *IDLE_STATES]
UNHEALTHY_STATES = [STATE_INDEX["unready"], STATE_INDEX["failed"], HUNG_STATE]

Numbers = npt.NDArray[np.int64]


class UnhealthyReason(NamedTuple):
    sensor_id: str
    state: str
    reason: str


def display_states(observation: Observation) -> Numbers:
    """Indexes into DISPLAY_STATES: the scoreboard's state, or hung where a live sensor's heartbeat is older than 20 seconds."""
    state = observation.rows["state"]
    hung = np.isin(state, ALIVE_STATES) & (observation.now_ns - last_heartbeat_ns(observation) > HUNG_AFTER_NS)
    return np.where(hung, HUNG_STATE, state)


def count_by_state(states: Numbers) -> dict[str, int]:
    """The number of sensors in each state that at least one is in; `states` are indexes into DISPLAY_STATES."""
    counts = np.bincount(states, minlength=len(DISPLAY_STATES)).tolist()
    return {name: count for name, count in zip(DISPLAY_STATES, counts, strict=True) if count}


def last_heartbeat_ns(observation: Observation) -> Numbers:
    """The last sign of life on the monotonic clock; a sensor that has not beaten yet counts from its start."""
    rows = observation.rows
    beat: Numbers = np.maximum(np.maximum(rows["heartbeat_ns"], rows["started_ns"]), observation.roster.started_ns)
    return beat


def overdue(observation: Observation, states: Numbers) -> npt.NDArray[np.bool_]:
    """Those who have been waiting for more than 10 seconds, over all attempts: for a process, for the end of a backoff,
    or for the first commit (which is due with the first reading: at slow rates that is later)."""
    rows = observation.rows
    since = np.where(rows["waiting_ns"] > 0, rows["waiting_ns"], observation.roster_changed_ns)
    since = np.maximum(since, observation.roster.started_ns)
    interval_ns = np.where(states == STATE_INDEX["starting"], 1e9 / np.maximum(observation.target_rates, 1e-9), 0.0)
    late: npt.NDArray[np.bool_] = observation.now_ns - since > OVERDUE_AFTER_NS + interval_ns
    return late & np.isin(states, WAITING_STATES)


def unhealthy_positions(observation: Observation, states: Numbers) -> npt.NDArray[np.intp]:
    """The places in the roster of everyone because of whom the fleet is unhealthy."""
    return np.flatnonzero(np.isin(states, UNHEALTHY_STATES) | overdue(observation, states))


def unhealthy_reason(observation: Observation, number: int, state: str) -> UnhealthyReason:
    """Why the sensor at `number` is in a state that is not well."""
    row = observation.rows[number]
    told = bytes(row["reason"]).decode(errors="replace")
    beat_ns = max(int(row["heartbeat_ns"]), int(row["started_ns"]), observation.roster.started_ns)
    silence = (observation.now_ns - beat_ns) / 1e9
    return UnhealthyReason(
        observation.members[number].sensor_id, state, EXPLANATIONS.get(state, reason_or_default)(told, silence)
    )


def reason_or_default(told: str, _silence: float) -> str:
    return told or "no reason was given"


def default_reason(what: str) -> Callable[[str, float], str]:
    return lambda told, _silence: told or what


EXPLANATIONS: dict[str, Callable[[str, float], str]] = {
    "hung": lambda _told, silence: f"no heartbeat for {silence:.0f} seconds",
    "absent": default_reason("it has no row on the board yet"),
    "pending": default_reason("still waiting for its process"),
    "starting": default_reason("its first commit is overdue"),
    "restarting": default_reason("its process died and was not replaced yet"),
}

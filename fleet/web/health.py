"""Who of a fleet is well: the state of every sensor as it is shown, and the reasons why a fleet is unhealthy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from worker.board import STATE, STATES

if TYPE_CHECKING:  # which keeps a history of this
    from fleet.web.observation import Observation

HUNG_NS = 20_000_000_000
GRACE_NS = 10_000_000_000

# What the board cannot say, because the one who would have to say it is stuck.
SHOWN = (*STATES, "hung")
HUNG = SHOWN.index("hung")

# These have written all they were asked for, or were told to stop or to pause: no readings are asked of them.
FINISHED = [STATE[name] for name in ("done", "stopped", "paused")]

ALIVE = [STATE[name] for name in ("starting", "healthy", "unready", "paused")]
WAITING = [STATE[name] for name in ("absent", "pending", "starting", "restarting")]
WELL = [STATE["healthy"], *FINISHED]
BAD = [STATE["unready"], STATE["failed"], HUNG]

Numbers = npt.NDArray[np.int64]


class Reason(NamedTuple):
    sensor_id: str
    state: str
    reason: str


def shown_states(observation: Observation) -> Numbers:
    """Indexes into SHOWN: the board's state, or hung where a live sensor's heartbeat is older than 20 seconds."""
    state = observation.rows["state"]
    hung = np.isin(state, ALIVE) & (observation.now_ns - last_beat(observation) > HUNG_NS)
    return np.where(hung, HUNG, state)


def last_beat(observation: Observation) -> Numbers:
    """The last sign of life on the monotonic clock; a sensor that has not beaten yet counts from its start."""
    rows = observation.rows
    beat: Numbers = np.maximum(np.maximum(rows["heartbeat_ns"], rows["started_ns"]), observation.roster.started_ns)
    return beat


def overdue(observation: Observation, states: Numbers) -> npt.NDArray[np.bool_]:
    """Those who have been waiting for more than 10 seconds, over all attempts: for a process, for the end of a backoff,
    or for the first commit (which is due with the first reading: at slow rates that is later)."""
    rows = observation.rows
    since = np.where(rows["waiting_ns"] > 0, rows["waiting_ns"], observation.changed_ns)
    since = np.maximum(since, observation.roster.started_ns)
    interval_ns = np.where(states == STATE["starting"], 1e9 / np.maximum(observation.rates, 1e-9), 0.0)
    late: npt.NDArray[np.bool_] = observation.now_ns - since > GRACE_NS + interval_ns
    return late & np.isin(states, WAITING)


def unwell(observation: Observation, states: Numbers) -> npt.NDArray[np.intp]:
    """The places in the roster of everyone because of whom the fleet is unhealthy."""
    return np.flatnonzero(np.isin(states, BAD) | overdue(observation, states))


def reason_for(observation: Observation, number: int, state: str) -> Reason:
    """Why the sensor at `number` is in a state that is not well."""
    row = observation.rows[number]
    told = bytes(row["reason"]).decode(errors="replace")
    beat_ns = max(int(row["heartbeat_ns"]), int(row["started_ns"]), observation.roster.started_ns)
    silence = (observation.now_ns - beat_ns) / 1e9
    return Reason(observation.members[number].sensor_id, state, EXPLAIN.get(state, as_told)(told, silence))


def as_told(told: str, _silence: float) -> str:
    return told or "no reason was given"


def waiting(what: str) -> Callable[[str, float], str]:
    return lambda told, _silence: told or what


EXPLAIN: dict[str, Callable[[str, float], str]] = {
    "hung": lambda _told, silence: f"no heartbeat for {silence:.0f} seconds",
    "absent": waiting("it has no row on the board yet"),
    "pending": waiting("still waiting for its process"),
    "starting": waiting("its first commit is overdue"),
    "restarting": waiting("its process died and was not replaced yet"),
}

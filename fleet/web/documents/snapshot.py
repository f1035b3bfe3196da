"""The two documents that the dashboard lives on, by column: who the sensors are, and how all of them are now.

Who they are is asked for once, and again when the roster is another (`roster` in the snapshot). To show another
measure: a column here, and its name in `static/measures.js`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleet.monitoring.health import DISPLAY_STATES, display_states
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document, current_anomalies
from fleet.monitoring.stats import fleet_stats
from fleet.web.documents import reports
from worker.readings.anomalies import ANOMALY_TYPES

LEGEND_LETTERS = "abcdefghijklmnopqrstuvwxyz"
RECENT_POINTS = 5
MAX_SNAPSHOT_REASONS = 5

# A scoreboard may hold anything, and JSON has neither infinity nor a use for more digits than these.
MAX_CHANNEL_VALUE = 1e12

ROSTER_IDENTITY_FIELDS = ("location", "latitude", "longitude", "manufacturer", "model", "firmware_version")


def roster_tag(observation: Observation) -> str:
    """Differs when the roster is another."""
    return f"{observation.roster_changed_ns:x}"


def roster_document(observation: Observation) -> Document:
    """Who the sensors are, by column, in the order of every other list."""
    members = observation.members
    return {
        "roster": roster_tag(observation),
        "ids": [member.sensor_id for member in members],
        "rates": [member.rate for member in members],
        **{name: [getattr(member.identity, name) for member in members] for name in ROSTER_IDENTITY_FIELDS},
        "channels": [{"name": name, "unit": unit} for name, unit in observation.channels.units],
    }


def snapshot(observation: Observation) -> Document:
    """How all sensors are. `states` and `kinds` have a letter for each sensor, which the legends explain; a channel's
    values are whole numbers, to be divided by its `scale`; lags are in hundredths of a second."""
    rows, states, sums = observation.rows, display_states(observation), fleet_stats(observation.rows)
    health = reports.healthz(observation)
    return {
        "timestamp": health["timestamp"],
        "roster": roster_tag(observation),
        "status": health["status"],
        "unhealthy": health["unhealthy"],
        "reasons": health.get("reasons", [])[:MAX_SNAPSHOT_REASONS],
        "run": {
            "seed": str(observation.roster.seed),
            "layout": observation.roster.layout,
            "started_at": observation.roster.started_at,
        },
        "total_readings": sums.readings,
        "scheduled_readings": sums.scheduled,
        "total_anomalies": sum(sums.anomalies.values()),
        "recent": observation.history.recent(RECENT_POINTS),
        "legend": dict(zip(LEGEND_LETTERS, DISPLAY_STATES, strict=False)),
        "kind_legend": dict(zip(LEGEND_LETTERS, ANOMALY_TYPES, strict=False)),
        "states": encode_letters(states),
        "kinds": encode_letters(current_anomalies(observation)),
        "readings": rows["readings"].tolist(),
        "anomalies": rows["anomalies"].sum(axis=1).tolist(),
        "lags": (rows["lag_us"] // 10_000).tolist(),
        "restarts": rows["restarts"].tolist(),
        "errors": rows["errors"].tolist(),
        "paces": np.rint(observation.measured_rates * 10).astype(np.int64).tolist(),
        "values": {name: scaled_channel(observation, name) for name, _unit in observation.channels.units},
    }


def encode_letters(numbers: npt.NDArray[np.int64]) -> str:
    """A letter each; a hyphen for those below zero."""
    letters = np.frombuffer(("-" + LEGEND_LETTERS).encode(), dtype=np.uint8)
    return letters[np.clip(numbers + 1, 0, len(LEGEND_LETTERS))].tobytes().decode()


def scaled_channel(observation: Observation, channel: str) -> dict[str, Any]:
    """The last values of a channel, None where there is none, as whole numbers of `1 / scale`."""
    values = channel_column(observation, channel)
    known = np.abs(values) < MAX_CHANNEL_VALUE
    size = float(np.median(np.abs(values[known]))) if known.any() else 0.0
    scale = 1 if size >= 1000 else 100 if size >= 10 else 1000
    whole: list[int | None] = np.rint(np.where(known, values, 0.0) * scale).astype(np.int64).tolist()
    for place in np.flatnonzero(~known).tolist():
        whole[place] = None
    return {"scale": scale, "values": whole}


def channel_column(observation: Observation, channel: str) -> npt.NDArray[np.float64]:
    """The channel's values, NaN for the sensors that have none or have written nothing."""
    rows, at = observation.rows, observation.channels.positions[channel]
    there = (at >= 0) & (rows["readings"] > 0)
    values: npt.NDArray[np.float64] = rows["values"][np.arange(len(at)), np.maximum(at, 0)]
    return np.where(there, values, np.nan)

"""The two documents behind the dashboard, by column: the identities of all sensors, and their present state.

A page fetches the identities once, and again when the tag of the roster in a snapshot has changed. To show another
measure: a column in `snapshot`, and an entry in `static/measures.js`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleet.monitoring.health import DISPLAY_STATES, display_states
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document, channel_column, current_anomalies
from fleet.monitoring.stats import fleet_stats
from fleet.web.documents import status
from worker.readings.anomalies import ANOMALY_TYPES

LEGEND_LETTERS = "abcdefghijklmnopqrstuvwxyz"
RECENT_POINTS = 5
MAX_SNAPSHOT_REASONS = 5

MAX_CHANNEL_VALUE = 1e12
"""Values from here on are sent as null: a damaged scoreboard may hold anything, and JSON has no infinity."""

MAX_SCALED_VALUE = 1e15
"""Whole numbers up to here are exact in JavaScript."""

SCALES = ((1000, 1), (10, 100), (0.05, 1000), (0.0005, 100_000), (1e-12, 10_000_000))
"""The scale of a channel by the least of its typical values; 1000 if all are 0."""

ROSTER_IDENTITY_FIELDS = (
    *("sensor_type", "location", "latitude", "longitude", "manufacturer", "model", "firmware_version"),
)


def roster_tag(observation: Observation) -> str:
    """Return a tag that changes with the roster."""
    return f"{observation.roster_changed_ns:x}"


def roster_document(observation: Observation) -> Document:
    """Return the identities of all sensors, by column, in the order of all other lists. `channel_sets` are the keys of the
    channels that sensors have together, `sets` the number of the set of each sensor."""
    members, index = observation.members, observation.channels
    return {
        "roster": roster_tag(observation),
        "ids": [member.sensor_id for member in members],
        "rates": [member.rate for member in members],
        **{name: [getattr(member.identity, name) for member in members] for name in ROSTER_IDENTITY_FIELDS},
        "channels": [channel._asdict() for channel in index.channels],
        "channel_sets": index.sets,
        "sets": index.set_numbers.tolist(),
    }


def snapshot(observation: Observation) -> Document:
    """Return the present state of all sensors. `states` and `kinds` have one letter per sensor, which the legends explain;
    the values of a channel, by its key, are whole numbers, to be divided by its `scale`; lags are hundredths of a second."""
    rows, states, sums = observation.rows, display_states(observation), fleet_stats(observation.rows)
    health = status.healthz(observation)
    return {
        "timestamp": health["timestamp"],
        "roster": roster_tag(observation),
        "status": health["status"],
        "unhealthy": health["unhealthy"],
        "reasons": health.get("reasons", [])[:MAX_SNAPSHOT_REASONS],
        "targets": status.delivery_targets(observation),
        "run": {
            "seed": str(observation.roster.seed),
            "layout": observation.roster.layout,
            "started_at": observation.roster.started_at,
        },
        "backfill": health.get("backfill"),
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
        "values": {channel.key: scaled_channel(observation, channel.key) for channel in observation.channels.channels},
    }


def encode_letters(numbers: npt.NDArray[np.int64]) -> str:
    """Encode each number as a letter, negative ones as a hyphen."""
    letters = np.frombuffer(("-" + LEGEND_LETTERS).encode(), dtype=np.uint8)
    return letters[np.clip(numbers + 1, 0, len(LEGEND_LETTERS))].tobytes().decode()


def scaled_channel(observation: Observation, key: str) -> dict[str, Any]:
    """Return the last values of a channel as whole multiples of `1 / scale`, None where there is no value."""
    values = channel_column(observation, key)
    known = np.abs(values) < MAX_CHANNEL_VALUE
    sizes = np.sort(np.abs(values[known]))
    typical = float(sizes[len(sizes) // 2]) if len(sizes) else 0.0  # numpy.median imports numpy.ma, which takes 7 MB
    scale = next((scale for least, scale in SCALES if typical >= least), 1000)
    known &= np.abs(values) * scale < MAX_SCALED_VALUE
    scaled: list[int | None] = np.rint(np.where(known, values, 0.0) * scale).astype(np.int64).tolist()
    for position in np.flatnonzero(~known).tolist():
        scaled[position] = None
    return {"scale": scale, "values": scaled}

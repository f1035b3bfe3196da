"""Documents about single sensors: the entry in the list of workers, and the whole of one sensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from fleet.datadir.roster import Member
from fleet.monitoring.health import DISPLAY_STATES, display_states, unhealthy_reason
from fleet.monitoring.observation import Observation
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import STATE_INDEX

Document = dict[str, Any]

EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)

NOT_MEASURING_STATES = [
    STATE_INDEX[name] for name in ("absent", "pending", "starting", "restarting", "done", "stopped", "failed", "paused")
]
"""Nothing is measured in these states, so the anomaly of the last reading is over."""

STATES_WITH_REASON = {"unready", "failed", "hung"}

ENTRY_COLUMNS = ("pid", "readings", "lag_us", "restarts", "errors", "timestamp_us", "values")

ENTRY_IDENTITY_FIELDS = (
    *("sensor_type", "manufacturer", "model", "firmware_version", "location", "latitude", "longitude"),
)


def current_anomalies(observation: Observation) -> npt.NDArray[np.int64]:
    """Return the type of anomaly of each sensor at present, an index into ANOMALY_TYPES, -1 for none."""
    rows = observation.rows
    measured = (
        (rows["readings"] > 0) & (rows["anomaly"] < len(ANOMALY_TYPES)) & ~np.isin(rows["state"], NOT_MEASURING_STATES)
    )
    return np.where(measured, rows["anomaly"], -1)


def channel_column(observation: Observation, key: str) -> npt.NDArray[np.float64]:
    """Return the values of the channel with a key, NaN for sensors without the channel or without a reading."""
    rows, positions = observation.rows, observation.channels.positions[key]
    exists = (positions >= 0) & (rows["readings"] > 0)
    values: npt.NDArray[np.float64] = rows["values"][np.arange(len(positions)), np.maximum(positions, 0)]
    return np.where(exists, values, np.nan)


def entries(observation: Observation, numbers: npt.NDArray[np.intp]) -> list[Document]:
    """Return the list's entries of the members at `numbers`."""
    rows = observation.rows[numbers]
    # One conversion per column: a scalar at a time takes ten times as long.
    columns = {name: rows[name].tolist() for name in ENTRY_COLUMNS}
    states = display_states(observation)[numbers].tolist()
    anomalies = rows["anomalies"].sum(axis=1).tolist()
    types = current_anomalies(observation)[numbers].tolist()
    return [
        entry(observation, number, states[index], anomalies[index], types[index], row_at(columns, index))
        for index, number in enumerate(numbers.tolist())
    ]


def row_at(columns: dict[str, list[Any]], index: int) -> Document:
    return {name: column[index] for name, column in columns.items()}


def entry(observation: Observation, number: int, state: int, anomalies: int, type_: int, row: Document) -> Document:
    member = observation.members[number]
    state_name = DISPLAY_STATES[state]
    return {
        "sensor_id": member.sensor_id,
        "worker": member.worker,
        "pid": row["pid"] or None,
        "state": state_name,
        "reason": unhealthy_reason(observation, number, state_name).reason
        if state_name in STATES_WITH_REASON
        else None,
        "readings": row["readings"],
        "anomalies": anomalies,
        "anomaly": ANOMALY_TYPES[type_] if type_ >= 0 else None,
        "lag_seconds": row["lag_us"] / 1e6,
        "last_reading": last_reading(member, row) if row["readings"] else None,
        "restarts": row["restarts"],
        "errors": row["errors"],
        **{name: getattr(member.identity, name) for name in ENTRY_IDENTITY_FIELDS},
    }


def last_reading(member: Member, row: Document) -> Document:
    return {"timestamp": format_timestamp(row["timestamp_us"]), **channel_values(member.channels, row["values"])}


def channel_values(channels: Sequence[tuple[str, str]], numbers: Sequence[float]) -> Document:
    """Return the value of each channel, None if the sensor measured none."""
    pairs = zip(channels, numbers, strict=False)  # the scoreboard has room for more channels than most sensors have
    return {name: number if number == number else None for (name, _unit), number in pairs}  # noqa: PLR0124


def format_timestamp(microseconds: int) -> str:
    """Format microseconds since 1970 as timestamps of readings are written."""
    return (EPOCH_UTC + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


def sensors_by_kind(members: Sequence[Member]) -> dict[str, int]:
    """Count sensors by their kind, in order of appearance; those without one are left out."""
    return dict(Counter(kind for member in members if (kind := member.identity.sensor_type)))


def sensor(observation: Observation, number: int) -> Document:
    """Return the list's entry of a sensor with its whole identity. `attributes` are those that its kind declares."""
    member = observation.members[number]
    (entry,) = entries(observation, np.array([number]))
    return {
        **entry,
        "identity": {**asdict(member.identity), "attributes": dict(member.identity.attributes)},
        "channels": [{"name": name, "unit": unit} for name, unit in member.channels],
        "readings_per_second_asked": member.rate * observation.roster.speed,
        "database": str(member.database),
        "log": str(member.log),
    }

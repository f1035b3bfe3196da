"""One sensor as the aggregator tells of it: its entry in the list, and the documents about it alone."""

from __future__ import annotations

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

# In these states nothing is measured, so the last reading's anomaly is over.
NOT_MEASURING_STATES = [
    STATE_INDEX[name] for name in ("absent", "pending", "starting", "restarting", "done", "stopped", "failed", "paused")
]

STATES_WITH_REASON = {"unready", "failed", "hung"}

ENTRY_COLUMNS = ("pid", "readings", "lag_us", "restarts", "errors", "timestamp_us", "values")

ENTRY_IDENTITY_FIELDS = ("manufacturer", "model", "firmware_version", "location", "latitude", "longitude")


def current_anomalies(observation: Observation) -> npt.NDArray[np.int64]:
    """The kind of anomaly that each sensor is in, an index into ANOMALY_TYPES, -1 for none."""
    rows = observation.rows
    told = (
        (rows["readings"] > 0) & (rows["anomaly"] < len(ANOMALY_TYPES)) & ~np.isin(rows["state"], NOT_MEASURING_STATES)
    )
    return np.where(told, rows["anomaly"], -1)


def entries(observation: Observation, numbers: npt.NDArray[np.intp]) -> list[Document]:
    """The list's entries of the members at `numbers`."""
    rows = observation.rows[numbers]
    # One conversion per column: a scalar at a time takes ten times as long.
    columns = {name: rows[name].tolist() for name in ENTRY_COLUMNS}
    states = display_states(observation)[numbers].tolist()
    anomalies = rows["anomalies"].sum(axis=1).tolist()
    kinds = current_anomalies(observation)[numbers].tolist()
    return [
        entry(observation, number, states[place], anomalies[place], kinds[place], row_at(columns, place))
        for place, number in enumerate(numbers.tolist())
    ]


def row_at(columns: dict[str, list[Any]], place: int) -> Document:
    return {name: column[place] for name, column in columns.items()}


def entry(observation: Observation, number: int, state: int, anomalies: int, kind: int, row: Document) -> Document:
    member = observation.members[number]
    shown = DISPLAY_STATES[state]
    return {
        "sensor_id": member.sensor_id,
        "worker": member.worker,
        "pid": row["pid"] or None,
        "state": shown,
        "reason": unhealthy_reason(observation, number, shown).reason if shown in STATES_WITH_REASON else None,
        "readings": row["readings"],
        "anomalies": anomalies,
        "anomaly": ANOMALY_TYPES[kind] if kind >= 0 else None,
        "lag_seconds": row["lag_us"] / 1e6,
        "last_reading": last_reading(member, row) if row["readings"] else None,
        "restarts": row["restarts"],
        "errors": row["errors"],
        **{name: getattr(member.identity, name) for name in ENTRY_IDENTITY_FIELDS},
    }


def last_reading(member: Member, row: Document) -> Document:
    return {"timestamp": format_timestamp(row["timestamp_us"]), **channel_values(member.channels, row["values"])}


def channel_values(channels: Sequence[tuple[str, str]], numbers: Sequence[float]) -> Document:
    """The value of each channel, None where the sensor measured none."""
    pairs = zip(channels, numbers, strict=False)  # the scoreboard has room for more channels than most sensors have
    return {name: number if number == number else None for (name, _unit), number in pairs}  # noqa: PLR0124


def format_timestamp(microseconds: int) -> str:
    """A time as the readings write it, from microseconds since 1970."""
    return (EPOCH_UTC + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


def sensor(observation: Observation, number: int) -> Document:
    """The list's entry and the whole identity."""
    member = observation.members[number]
    (entry,) = entries(observation, np.array([number]))
    return {
        **entry,
        "identity": asdict(member.identity),
        "channels": [{"name": name, "unit": unit} for name, unit in member.channels],
        "readings_per_second_asked": member.rate,
        "database": str(member.database),
        "log": str(member.log),
    }

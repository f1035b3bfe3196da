"""One sensor as the aggregator tells of it: its entry in the list, and the documents about it alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from fleet.storage.roster import Member
from fleet.web.health import SHOWN, reason_for, shown_states
from fleet.web.observation import Observation
from worker.board import KINDS, STATE

Document = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# In these states nothing is measured, so the last reading's anomaly is over.
SILENT = [
    STATE[name] for name in ("absent", "pending", "starting", "restarting", "done", "stopped", "failed", "paused")
]

NEEDS_REASON = {"unready", "failed", "hung"}

COLUMNS = ("pid", "readings", "lag_us", "restarts", "errors", "timestamp_us", "values")

IDENTITY = ("manufacturer", "model", "firmware_version", "location", "latitude", "longitude")


def current_anomalies(observation: Observation) -> npt.NDArray[np.int64]:
    """The kind of anomaly that each sensor is in, an index into KINDS, -1 for none."""
    rows = observation.rows
    told = (rows["readings"] > 0) & (rows["anomaly"] < len(KINDS)) & ~np.isin(rows["state"], SILENT)
    return np.where(told, rows["anomaly"], -1)


def entries(observation: Observation, numbers: npt.NDArray[np.intp]) -> list[Document]:
    """The list's entries of the members at `numbers`."""
    rows = observation.rows[numbers]
    # One conversion per column: a scalar at a time takes ten times as long.
    columns = {name: rows[name].tolist() for name in COLUMNS}
    states = shown_states(observation)[numbers].tolist()
    anomalies = rows["anomalies"].sum(axis=1).tolist()
    kinds = current_anomalies(observation)[numbers].tolist()
    return [
        entry(observation, number, states[place], anomalies[place], kinds[place], pick(columns, place))
        for place, number in enumerate(numbers.tolist())
    ]


def pick(columns: dict[str, list[Any]], place: int) -> Document:
    return {name: column[place] for name, column in columns.items()}


def entry(observation: Observation, number: int, state: int, anomalies: int, kind: int, row: Document) -> Document:
    member = observation.members[number]
    shown = SHOWN[state]
    return {
        "sensor_id": member.sensor_id,
        "worker": member.worker,
        "pid": row["pid"] or None,
        "state": shown,
        "reason": reason_for(observation, number, shown).reason if shown in NEEDS_REASON else None,
        "readings": row["readings"],
        "anomalies": anomalies,
        "anomaly": KINDS[kind] if kind >= 0 else None,
        "lag_seconds": row["lag_us"] / 1e6,
        "last_reading": last_reading(member, row) if row["readings"] else None,
        "restarts": row["restarts"],
        "errors": row["errors"],
        **{name: getattr(member.identity, name) for name in IDENTITY},
    }


def last_reading(member: Member, row: Document) -> Document:
    return {"timestamp": moment(row["timestamp_us"]), **values(member.channels, row["values"])}


def values(channels: Sequence[tuple[str, str]], numbers: Sequence[float]) -> Document:
    """The value of each channel, None where the sensor measured none."""
    pairs = zip(channels, numbers, strict=False)  # the board has room for more channels than most sensors have
    return {name: number if number == number else None for (name, _unit), number in pairs}  # noqa: PLR0124


def moment(microseconds: int) -> str:
    """A time as the readings write it, from microseconds since 1970."""
    return (EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


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

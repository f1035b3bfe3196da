"""JSON documents about the fleet, and about one sensor where the two have the same form.

All of them are functions of one observation; documents that need the databases are in `fleet.web.documents.databases`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from functools import cache
from importlib import metadata

import numpy as np
import numpy.typing as npt

from fleet.datadir.state_file import state_document
from fleet.monitoring.backfill import backfill_progress
from fleet.monitoring.health import (
    DISPLAY_STATES,
    IDLE_STATES,
    UnhealthyReason,
    count_by_state,
    count_healthy,
    display_states,
    failing_targets,
    unhealthy_positions,
    unhealthy_reason,
)
from fleet.monitoring.memory import MemoryUsage
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document, current_anomalies, entries, sensors_by_kind
from fleet.monitoring.stats import FleetStats, error_classes, fleet_stats
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import STATE_INDEX

MAX_REASONS = 20
MAX_ANOMALOUS_SENSORS = 100

# The states that say something about the database of a sensor; in the others there is no connection.
CONNECTED_STATES = [STATE_INDEX["healthy"], STATE_INDEX["backfilling"]]
UNAVAILABLE_STATES = [STATE_INDEX["unready"]]

Numbers = npt.NDArray[np.intp]


@cache
def version() -> str:
    try:
        return metadata.version("sensor-fleet")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def timestamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def roster_positions(observation: Observation, sensor_id: str | None) -> Numbers:
    """Return the positions in the roster that a document covers: all, or that of one sensor."""
    if sensor_id is None:
        return np.arange(len(observation.members))
    return np.array([observation.index[sensor_id]])


def healthz(observation: Observation, sensor_id: str | None = None) -> Document:
    """Return `status`, "healthy", "degraded" or "unhealthy", with the first reasons, the number of sensors, and the targets
    that do not get their readings."""
    states = display_states(observation)
    unhealthy = unhealthy_positions(observation, states)
    if sensor_id is not None:
        unhealthy = unhealthy[unhealthy == observation.index[sensor_id]]
    document: Document = {
        "status": "unhealthy" if len(unhealthy) else "healthy",
        "timestamp": timestamp(observation.now),
        "sensors": len(observation.members) if sensor_id is None else 1,
        "unhealthy": len(unhealthy),
    }
    if len(unhealthy):
        reasons = [
            unhealthy_reason(observation, number, DISPLAY_STATES[states[number]])
            for number in unhealthy[:MAX_REASONS].tolist()
        ]
        document["reason"] = summarize_reasons(reasons[0], len(unhealthy) - 1)
        document["reasons"] = [reason._asdict() for reason in reasons]
    targets = []
    if sensor_id is None:
        targets = failing_targets(observation.delivery, observation.now.timestamp(), observation.catch_up_rate)
        if progress := backfill_progress(observation):
            document["backfill"] = progress.document(float(observation.measured_rates.sum()))
    if targets:
        document["targets"] = [target._asdict() for target in targets]
        if not len(unhealthy):
            others = f" (and {len(targets) - 1} more)" if len(targets) > 1 else ""
            document["status"] = "degraded"
            document["reason"] = f"{targets[0].target} does not get its readings: {targets[0].reason}{others}"
    return document


def delivery_targets(observation: Observation) -> list[Document]:
    """Return the targets that the readings are delivered to; `healthy` is false for one that makes the fleet degraded."""
    if observation.delivery is None:
        return []
    now = observation.now.timestamp()
    failing = {target.target for target in failing_targets(observation.delivery, now, observation.catch_up_rate)}
    return [{**each, "healthy": each["name"] not in failing} for each in observation.delivery.documents(now)]


def summarize_reasons(first: UnhealthyReason, others: int) -> str:
    sentence = f"{first.sensor_id} is {first.state}: {first.reason}"
    return f"{sentence} (and {others} more)" if others else sentence


def metricz(observation: Observation, memory: MemoryUsage | None, sensor_id: str | None = None) -> Document:
    """Return counts of this run. `anomaly_rate` is the share of the scheduled readings that were anomalous, missing ones
    included; `readings_per_second` is measured over the last `window_seconds`."""
    numbers = roster_positions(observation, sensor_id)
    sums = fleet_stats(observation.rows[numbers])
    states = display_states(observation)[numbers]
    anomalous = sum(sums.anomalies.values())
    running = ~np.isin(states, IDLE_STATES)
    document: Document = {
        "timestamp": timestamp(observation.now),
        "uptime_seconds": round(observation.uptime, 3),
        "total_readings": sums.readings,
        "scheduled_readings": sums.scheduled,
        "readings_per_second": round(float(observation.measured_rates[numbers].sum()), 3),
        "readings_per_second_asked": round(float(observation.target_rates[numbers][running].sum()), 6),
        "window_seconds": round(observation.rate_window_seconds, 3),
        "total_anomalies": anomalous,
        "anomalies_by_type": sums.anomalies,
        "anomaly_rate": round(anomalous / sums.scheduled, 6) if sums.scheduled else 0.0,
        "error_count": sums.errors,
        "errors_by_class": error_classes(sums, observation.reload, observation.backups),
        "restarts": sums.restarts,
        "lag_seconds": sums.lag,
        "database": write_stats(sums),
        "workers": {
            "total": len(numbers),
            "healthy": count_healthy(states),
            "by_state": count_by_state(states),
        },
    }
    if sensor_id is None and observation.delivery is not None:
        document["delivery"] = delivery_targets(observation)
    return document if memory is None else {**document, "memory": asdict(memory)}


def write_stats(sums: FleetStats) -> Document:
    return {
        "commits": sums.commits,
        "retries": sums.retries,
        "renewals": sums.renewals,
        "mean_commit_ms": round(sums.commit_ms, 3),
    }


def statusz(observation: Observation) -> Document:
    roster = observation.roster
    sums = fleet_stats(observation.rows)
    return {
        "timestamp": timestamp(observation.now),
        "version": version(),
        "configuration": {
            "config": roster.config,
            "seed": roster.seed,
            "layout": roster.layout,
            "run": roster.run,
            "start_time": roster.start_time,
            "duration_seconds": roster.duration,
            "sensors": len(roster.members),
            "readings_per_second": round(float(observation.target_rates.sum()), 6),
        },
        "runtime": {
            "supervisor_pid": roster.pid,
            "url": roster.url,
            "started_at": roster.started_at,
            "uptime_seconds": round(observation.uptime, 3),
            "total_readings": sums.readings,
            "error_count": sums.errors,
            "errors_by_class": error_classes(sums, observation.reload, observation.backups),
            "restarts": sums.restarts,
            "by_state": count_by_state(display_states(observation)),
            "by_kind": sensors_by_kind(observation.members),
        },
        "reload": state_document(observation.reload),
        "backups": state_document(observation.backups),
        "delivery": delivery_targets(observation),
        "anomalies": anomalies_now(observation),
        "database": database_status(observation, roster_positions(observation, None)),
    }


def anomalies_now(observation: Observation) -> Document:
    """Return the number of sensors in an anomaly now, by type, and the ids of the first ones."""
    kinds = current_anomalies(observation)
    inside = np.flatnonzero(kinds >= 0)
    counts = np.bincount(kinds[inside], minlength=len(ANOMALY_TYPES)).tolist()
    return {
        "count": len(inside),
        "by_type": dict(zip(ANOMALY_TYPES, counts, strict=True)),
        "sensors": [
            {"sensor_id": observation.members[number].sensor_id, "type": ANOMALY_TYPES[kinds[number]]}
            for number in inside[:MAX_ANOMALOUS_SENSORS].tolist()
        ],
    }


def database_status(observation: Observation, numbers: Numbers) -> Document:
    """Return the state of the connections to the databases, counted in sensors."""
    states = display_states(observation)[numbers]
    connected = int(np.isin(states, CONNECTED_STATES).sum())
    unavailable = int(np.isin(states, UNAVAILABLE_STATES).sum())
    return {
        "status": "unavailable" if unavailable else "connected" if connected else "idle",
        "connected": connected,
        "unavailable": unavailable,
        "idle": len(numbers) - connected - unavailable,
    }


def sensor_statusz(observation: Observation, sensor_id: str) -> Document:
    numbers = roster_positions(observation, sensor_id)
    (entry,) = entries(observation, numbers)
    roster, member = observation.roster, observation.members[numbers[0]]
    return {
        "timestamp": timestamp(observation.now),
        "version": version(),
        "sensor_id": sensor_id,
        "configuration": {
            "config": roster.config,
            "seed": roster.seed,
            "layout": roster.layout,
            "run": roster.run,
            "start_time": roster.start_time,
            "duration_seconds": roster.duration,
            "readings_per_second": member.rate,
            "database": str(member.database),
            "channels": [{"name": name, "unit": unit} for name, unit in member.channels],
        },
        "runtime": entry,
        "anomalies": {"type": entry["anomaly"]},
        "database": database_status(observation, numbers),
    }


def workers(
    observation: Observation, state: str | None, offset: int, limit: int | None, kind: str | None = None
) -> Document:
    """Return at most `limit` entries of the list of sensors from `offset` on; `total` counts all that are in `state` and of
    `kind`."""
    numbers = np.arange(len(observation.members))
    if state is not None:
        numbers = np.flatnonzero(display_states(observation) == DISPLAY_STATES.index(state))
    if kind is not None:
        members = observation.members
        numbers = numbers[[members[number].identity.sensor_type == kind for number in numbers.tolist()]]
    part = numbers[offset : None if limit is None else offset + limit]
    return {"workers": entries(observation, part), "total": len(numbers), "offset": offset}


def grid(observation: Observation) -> Document:
    """Return one letter per sensor for its state (`legend`), upper case for a healthy one that is in an anomaly. A state
    other than healthy takes precedence over an anomaly."""
    letters = np.frombuffer(b"abcdefghijklmnop", dtype=np.uint8)
    states = display_states(observation)
    anomalous = (current_anomalies(observation) >= 0) & (states == STATE_INDEX["healthy"])
    cells = letters[states] - np.where(anomalous, ord("a") - ord("A"), 0).astype(np.uint8)
    return {
        "sensor_ids": [member.sensor_id for member in observation.members],
        "cells": cells.tobytes().decode("ascii"),
        "legend": {chr(letter): name for letter, name in zip(letters.tolist(), DISPLAY_STATES, strict=False)},
    }

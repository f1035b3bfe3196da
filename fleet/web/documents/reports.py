"""The aggregator's JSON documents about the fleet, and about one sensor where the two have the same form.

Everything here is a function of one observation; what is in the databases is in `fleet.web.documents.records`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from functools import cache
from importlib import metadata

import numpy as np
import numpy.typing as npt

from fleet.datadir.state_file import state_document
from fleet.monitoring.health import (
    DISPLAY_STATES,
    IDLE_STATES,
    UnhealthyReason,
    count_by_state,
    count_healthy,
    display_states,
    unhealthy_positions,
    unhealthy_reason,
)
from fleet.monitoring.memory import MemoryUsage
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document, current_anomalies, entries
from fleet.monitoring.stats import FleetStats, error_classes, fleet_stats
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import STATE_INDEX

MAX_REASONS = 20
MAX_ANOMALOUS_SENSORS = 100

# How the database of a sensor in each state is known to be; what is not listed is not connected.
CONNECTED_STATES = [STATE_INDEX["healthy"]]
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
    """The places in the roster that a document is about: all of them, or one sensor's."""
    if sensor_id is None:
        return np.arange(len(observation.members))
    return np.array([observation.index[sensor_id]])


def healthz(observation: Observation, sensor_id: str | None = None) -> Document:
    """`status` is "healthy" or "unhealthy", then with the first reasons and how many there are."""
    states = display_states(observation)
    asked = roster_positions(observation, sensor_id)
    bad = np.intersect1d(unhealthy_positions(observation, states), asked)
    document: Document = {
        "status": "unhealthy" if len(bad) else "healthy",
        "timestamp": timestamp(observation.now),
        "sensors": len(asked),
        "unhealthy": len(bad),
    }
    if len(bad):
        reasons = [
            unhealthy_reason(observation, number, DISPLAY_STATES[states[number]])
            for number in bad[:MAX_REASONS].tolist()
        ]
        document["reason"] = summarize_reasons(reasons[0], len(bad) - 1)
        document["reasons"] = [reason._asdict() for reason in reasons]
    return document


def summarize_reasons(first: UnhealthyReason, others: int) -> str:
    told = f"{first.sensor_id} is {first.state}: {first.reason}"
    return f"{told} (and {others} more)" if others else told


def metricz(observation: Observation, memory: MemoryUsage | None, sensor_id: str | None = None) -> Document:
    """Counts of this run. `anomaly_rate` is the share of the scheduled readings that were anomalous, missing ones
    included; `readings_per_second` is measured over the last `window_seconds`."""
    numbers = roster_positions(observation, sensor_id)
    sums = fleet_stats(observation.rows[numbers])
    states = display_states(observation)[numbers]
    anomalous = sum(sums.anomalies.values())
    running = ~np.isin(states, IDLE_STATES)
    document = {
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
        },
        "reload": state_document(observation.reload),
        "backups": state_document(observation.backups),
        "anomalies": anomalies_now(observation),
        "database": database_status(observation, roster_positions(observation, None)),
    }


def anomalies_now(observation: Observation) -> Document:
    """Which sensors are in which anomaly: how many of each type, and the first ones by name."""
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
    """How the writers stand with their databases, counted in sensors."""
    states = display_states(observation)[numbers]
    connected = int(np.isin(states, CONNECTED_STATES).sum())
    refusing = int(np.isin(states, UNAVAILABLE_STATES).sum())
    return {
        "status": "unavailable" if refusing else "connected" if connected else "idle",
        "connected": connected,
        "unavailable": refusing,
        "idle": len(numbers) - connected - refusing,
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


def workers(observation: Observation, state: str | None, offset: int, limit: int | None) -> Document:
    """The list, or the part of it from `offset` on; `total` counts all that are in `state`."""
    numbers = np.arange(len(observation.members))
    if state is not None:
        numbers = np.flatnonzero(display_states(observation) == DISPLAY_STATES.index(state))
    part = numbers[offset:] if limit is None else numbers[offset : offset + limit]
    return {"workers": entries(observation, part), "total": len(numbers), "offset": offset}


def grid(observation: Observation) -> Document:
    """All sensors in a few bytes each: one letter for the state (`legend`), upper case for a healthy one that is in
    an anomaly (what is wrong with a worker matters more than what is wrong with its readings)."""
    letters = np.frombuffer(b"abcdefghijklmnop", dtype=np.uint8)
    states = display_states(observation)
    anomalous = (current_anomalies(observation) >= 0) & (states == STATE_INDEX["healthy"])
    cells = letters[states] - np.where(anomalous, ord("a") - ord("A"), 0).astype(np.uint8)
    return {
        "sensor_ids": [member.sensor_id for member in observation.members],
        "cells": cells.tobytes().decode("ascii"),
        "legend": {chr(letter): name for letter, name in zip(letters.tolist(), DISPLAY_STATES, strict=False)},
    }

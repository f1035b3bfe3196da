"""The history that the charts show: statistics of the fleet, once a second, over the last ten minutes.

The HTTP server keeps it, so that a page that is reloaded, or was closed for a while, has lost nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fleet.monitoring.health import IDLE_STATES, count_healthy, display_states
from fleet.monitoring.stats import fleet_stats
from worker.readings.anomalies import ANOMALY_TYPES

if TYPE_CHECKING:
    from fleet.monitoring.observation import Observation

MAX_POINTS = 600
MIN_INTERVAL_NS = 900_000_000
"""A second, less the jitter of a caller that comes about once a second."""


class HistoryPoint(NamedTuple):
    """The fleet at one second. `number` counts up, `time_ms` is since 1970, `anomalies` are anomalous readings a second
    by type, `lag` is in seconds, `memory` in bytes or None before the first measurement."""

    number: int
    time_ms: int
    sensors: int
    healthy: int
    pace: float
    asked: float
    lag: float
    errors: int
    restarts: int
    memory: int | None
    anomalies: tuple[float, ...]


class History:
    """The last points. `memory` is the latest measurement in bytes, set by its reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: deque[HistoryPoint] = deque(maxlen=MAX_POINTS)
        self._recorded_ns = 0
        self._anomaly_counts: list[int] = []
        self._number = 0
        self.memory: int | None = None

    def record(self, observation: Observation) -> None:
        """Add a point for the observation, if the last one is a second old."""
        with self._lock:
            passed = observation.now_ns - self._recorded_ns
            if passed < MIN_INTERVAL_NS:
                return
            stats, states = fleet_stats(observation.rows), display_states(observation)
            # A sensor that comes back to the fleet goes on counting, so it is counted while it is away.
            counted: list[int] = observation.all_rows["anomalies"].sum(axis=0).tolist()
            new = [
                max(now - before, 0) / (passed / 1e9)
                for now, before in zip(counted, self._anomaly_counts or counted, strict=True)
            ]
            self._recorded_ns, self._anomaly_counts = observation.now_ns, counted
            self._number += 1
            target_rate = observation.target_rates[~np.isin(states, IDLE_STATES)].sum()
            self._points.append(
                HistoryPoint(
                    number=self._number,
                    time_ms=int(observation.now.timestamp() * 1000),
                    sensors=stats.sensors,
                    healthy=count_healthy(states),
                    pace=round(float(observation.measured_rates.sum()), 2),
                    asked=round(float(target_rate), 2),
                    lag=round(stats.lag, 3),
                    errors=stats.errors,
                    restarts=stats.restarts,
                    memory=self.memory,
                    anomalies=tuple(round(rate, 2) for rate in new),
                )
            )

    def recent(self, count: int = MAX_POINTS) -> dict[str, Any]:
        """Return the last points, oldest first, by column; `anomalies` has a column for each type."""
        with self._lock:
            points = list(self._points)[-count:]
        columns = {name: [getattr(point, name) for point in points] for name in HistoryPoint._fields[:-1]}
        anomalies = {type_: [point.anomalies[number] for point in points] for number, type_ in enumerate(ANOMALY_TYPES)}
        return {**columns, "anomalies": anomalies}

"""What the charts look back on: the figures of the fleet, once a second, over the last ten minutes.

Kept by the server, so that a page that is loaded again, or was away, has lost nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fleet.monitoring.health import HEALTHY_STATES, IDLE_STATES, display_states
from fleet.monitoring.stats import fleet_stats
from worker.readings.anomalies import ANOMALY_TYPES

if TYPE_CHECKING:
    from fleet.monitoring.observation import Observation

MAX_POINTS = 600
MIN_INTERVAL_NS = 900_000_000  # a second, seen by somebody who looks about once a second


class HistoryPoint(NamedTuple):
    """The fleet at one second. `number` counts up, `time_ms` is since 1970, `anomalies` anomalous readings a second by
    kind, `lag` seconds, `memory` bytes or None where nobody has measured it yet."""

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
    """The last points. `memory` is what somebody measured last, bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: deque[HistoryPoint] = deque(maxlen=MAX_POINTS)
        self._recorded_ns = 0
        self._anomaly_counts: list[int] = []
        self._number = 0
        self.memory: int | None = None

    def record(self, observation: Observation) -> None:
        """Keep a point of the observation, if the last one is a second old."""
        with self._lock:
            passed = observation.now_ns - self._recorded_ns
            if passed < MIN_INTERVAL_NS:
                return
            sums, states = fleet_stats(observation.rows), display_states(observation)
            # A sensor that comes back to the fleet goes on counting: it has to be counted while it is away.
            counted: list[int] = observation.all_rows["anomalies"].sum(axis=0).tolist()
            new = [
                max(now - before, 0) / (passed / 1e9)
                for now, before in zip(counted, self._anomaly_counts or counted, strict=True)
            ]
            self._recorded_ns, self._anomaly_counts = observation.now_ns, counted
            self._number += 1
            asked = observation.target_rates[~np.isin(states, IDLE_STATES)].sum()
            self._points.append(
                HistoryPoint(
                    number=self._number,
                    time_ms=int(observation.now.timestamp() * 1000),
                    sensors=sums.sensors,
                    healthy=int(np.isin(states, HEALTHY_STATES).sum()),
                    pace=round(float(observation.measured_rates.sum()), 2),
                    asked=round(float(asked), 2),
                    lag=round(sums.lag, 3),
                    errors=sums.errors,
                    restarts=sums.restarts,
                    memory=self.memory,
                    anomalies=tuple(round(rate, 2) for rate in new),
                )
            )

    def recent(self, count: int = MAX_POINTS) -> dict[str, Any]:
        """The last points, oldest first, by column; `anomalies` is a column for each kind."""
        with self._lock:
            points = list(self._points)[-count:]
        columns = {name: [getattr(point, name) for point in points] for name in HistoryPoint._fields[:-1]}
        kinds = {kind: [point.anomalies[place] for point in points] for place, kind in enumerate(ANOMALY_TYPES)}
        return {**columns, "anomalies": kinds}

"""What the charts look back on: the figures of the fleet, once a second, over the last ten minutes.

Kept by the server, so that a page that is loaded again, or was away, has lost nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fleet.storage.figures import figures
from worker.board import KINDS, STATE

if TYPE_CHECKING:
    from fleet.web.observation import Observation

KEPT = 600
INTERVAL_NS = 900_000_000  # a second, seen by somebody who looks about once a second

RESTING = [STATE[name] for name in ("done", "stopped", "paused")]


class Point(NamedTuple):
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
        self._points: deque[Point] = deque(maxlen=KEPT)
        self._noted_ns = 0
        self._counted: dict[str, int] = {}
        self._number = 0
        self.memory: int | None = None

    def note(self, observation: Observation) -> None:
        """Keep a point of the observation, if the last one is a second old."""
        with self._lock:
            passed = observation.now_ns - self._noted_ns
            if passed < INTERVAL_NS:
                return
            sums = figures(observation.rows)
            before = self._counted or sums.anomalies
            new = tuple(max(sums.anomalies[kind] - before[kind], 0) / (passed / 1e9) for kind in KINDS)
            self._noted_ns, self._counted = observation.now_ns, sums.anomalies
            self._number += 1
            asked = observation.rates[~np.isin(observation.rows["state"], RESTING)].sum()
            self._points.append(
                Point(
                    number=self._number,
                    time_ms=int(observation.now.timestamp() * 1000),
                    sensors=sums.sensors,
                    healthy=sums.healthy,
                    pace=round(float(observation.pace.sum()), 2),
                    asked=round(float(asked), 2),
                    lag=round(sums.lag, 3),
                    errors=sums.errors,
                    restarts=sums.restarts,
                    memory=self.memory,
                    anomalies=tuple(round(rate, 2) for rate in new),
                )
            )

    def last(self, count: int = KEPT) -> dict[str, Any]:
        """The last points, oldest first, by column; `anomalies` is a column for each kind."""
        with self._lock:
            points = list(self._points)[-count:]
        columns = {name: [getattr(point, name) for point in points] for name in Point._fields[:-1]}
        kinds = {kind: [point.anomalies[place] for point in points] for place, kind in enumerate(KINDS)}
        return {**columns, "anomalies": kinds}

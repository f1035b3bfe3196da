"""What the charts look back on: the figures of the fleet, once a second, over the last ten minutes.

Kept by the server, so that a page that is loaded again, or was away, has lost nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fleet.storage.figures import figures
from fleet.web.health import FINISHED, WELL, shown_states
from worker.board import KINDS

if TYPE_CHECKING:
    from fleet.web.observation import Observation

KEPT = 600
INTERVAL_NS = 900_000_000  # a second, seen by somebody who looks about once a second


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
        self._counted: list[int] = []
        self._number = 0
        self.memory: int | None = None

    def note(self, observation: Observation) -> None:
        """Keep a point of the observation, if the last one is a second old."""
        with self._lock:
            passed = observation.now_ns - self._noted_ns
            if passed < INTERVAL_NS:
                return
            sums, states = figures(observation.rows), shown_states(observation)
            # A sensor that comes back to the fleet goes on counting: it has to be counted while it is away.
            counted: list[int] = observation.everyone["anomalies"].sum(axis=0).tolist()
            new = [
                max(now - before, 0) / (passed / 1e9)
                for now, before in zip(counted, self._counted or counted, strict=True)
            ]
            self._noted_ns, self._counted = observation.now_ns, counted
            self._number += 1
            asked = observation.rates[~np.isin(states, FINISHED)].sum()
            self._points.append(
                Point(
                    number=self._number,
                    time_ms=int(observation.now.timestamp() * 1000),
                    sensors=sums.sensors,
                    healthy=int(np.isin(states, WELL).sum()),
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

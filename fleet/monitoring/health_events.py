"""Events about the health of sensors: a database that cannot be written or was replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fleet.monitoring.health import UNHEALTHY_STATES, FleetState, display_states, unhealthy_reason
from worker.scoreboard import STATE_INDEX

MAX_SENSORS_PER_CHECK = 5
"""Sensors named by one check; if a whole fleet is on one full disk, all others would report the same."""

RecordEvent = Callable[[str, str], None]


class HealthEvents:
    """Observe the fleet when called, and pass to `record_event` the changes since the last call: sensors that became
    unready, sensors that are no longer unready, and databases that their workers found damaged, deleted or replaced."""

    def __init__(self, observe: Callable[[], FleetState], record_event: RecordEvent) -> None:
        self._observe, self._record_event = observe, record_event
        self._unready: set[str] = set()
        self._renewals: dict[str, int] = {}

    def __call__(self) -> None:
        fleet = self._observe()
        self._check_databases(fleet)
        self._check_unready(fleet)

    def _check_databases(self, fleet: FleetState) -> None:
        counts = dict(zip((member.sensor_id for member in fleet.members), fleet.rows["renewals"].tolist(), strict=True))
        before = self._renewals
        self._renewals = before | counts  # a sensor that comes back has its earlier count
        sensors: dict[Path, list[str]] = {}
        for member in fleet.members:
            if counts[member.sensor_id] > before.get(member.sensor_id, 0):
                sensors.setdefault(member.database, []).append(member.sensor_id)
        for database, (first, *others) in sensors.items():
            more = f" (and {len(others)} more)" if others else ""
            text = f"{database.name} was damaged, deleted or replaced: a new one was created"
            self._record_event(f"{first}{more}", text)

    def _check_unready(self, fleet: FleetState) -> None:
        """A sensor that has become hung or failed, or has left the fleet, is reported by others."""
        states = display_states(fleet)
        names = [member.sensor_id for member in fleet.members]
        unready = {
            names[position]: unhealthy_reason(fleet, position, "unready").reason
            for position in np.flatnonzero(states == STATE_INDEX["unready"]).tolist()
        }
        unhealthy = {names[position] for position in np.flatnonzero(np.isin(states, UNHEALTHY_STATES)).tolist()}
        before, self._unready = self._unready, set(unready)
        self._record({sensor: f"unready: {reason}" for sensor, reason in unready.items() if sensor not in before})
        self._record({sensor: "no longer unready" for sensor in names if sensor in before - unhealthy})

    def _record(self, texts: dict[str, str]) -> None:
        for number, (sensor, text) in enumerate(texts.items()):
            if number == MAX_SENSORS_PER_CHECK:
                self._record_event("fleet", f"and {len(texts) - MAX_SENSORS_PER_CHECK} sensors more")
                return
            self._record_event(sensor, text)

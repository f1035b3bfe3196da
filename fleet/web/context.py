"""The state that the views of one application share, and how a view reaches it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flask import current_app

from fleet.datadir.events import read_events
from fleet.datadir.points import PointCache
from fleet.monitoring.memory import MemoryGauge
from fleet.monitoring.observation import FileVersion, Observation, Observer, file_version

EXTENSION_NAME = "fleet"

MAX_WAITING_COMMANDS = 2
"""Commands that may wait for an answer at the same time: each holds a thread, and other requests need some."""

MAX_DOWNLOADS = 2
"""Downloads at the same time: each holds a thread for as long as its client takes."""


class SensorNotFound(Exception):
    """The fleet has no sensor with this id, which is `str(error)`."""


class EventReader:
    """Reads the event log again only after it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: tuple[FileVersion, list[dict[str, Any]]] | None = None

    def read(self) -> list[dict[str, Any]]:
        """Return all events, oldest first; none if there is no log."""
        try:
            version = file_version(self._path)
        except OSError:
            return []
        last = self._last
        if last is None or last[0] != version:
            last = self._last = (version, read_events(self._path))
        return last[1]


class FleetContext:
    """One fleet, as the views see it. `command_slots` bounds the commands that wait for an answer, `download_slots`
    the files that are sent."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.run_directory = observer.run_directory
        self.data_directory = observer.run_directory.parent
        self.memory = MemoryGauge()
        self.events = EventReader(observer.run_directory / "events.jsonl")
        self.points = PointCache()
        self.download_slots = threading.BoundedSemaphore(MAX_DOWNLOADS)
        self.command_slots = threading.BoundedSemaphore(MAX_WAITING_COMMANDS)


def fleet_context() -> FleetContext:
    """Return the context of the application that handles the current request."""
    context: FleetContext = current_app.extensions[EXTENSION_NAME]
    return context


def observe(sensor_id: str | None = None) -> Observation:
    """Return the fleet as it is now. Raises FleetUnavailable, or SensorNotFound if `sensor_id` is not in it."""
    observation = fleet_context().observer.observe()
    if sensor_id is not None and sensor_id not in observation.index:
        raise SensorNotFound(sensor_id)
    return observation

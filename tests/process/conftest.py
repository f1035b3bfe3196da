"""Fleets for tests: whatever becomes of a test, its processes end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.running_fleet import FleetProcess

Up = Callable[..., FleetProcess]

# Half of all readings anomalous, a third of those missing, in episodes short enough to see many in seconds.
LIVELY = """
version: 2
replicas: {count: 3}
simulation: {readings_per_second: 20}
anomalies:
  probability: 0.4
  types:
    spike: {weight: 0.3, duration_readings: 1}
    trend: {weight: 0.2, duration_readings: 4}
    noise: {weight: 0.2, duration_readings: 3}
    missing_data: {weight: 0.3, duration_readings: 3}
database: {batch_interval: 0.2}
supervision:
  hang_seconds: 20
  restart_budget: 10
  restart_window_seconds: 600
  backoff_min_seconds: 0.2
  drain_seconds: 10
"""


@pytest.fixture
def lively(tmp_path: Path) -> Path:
    """A config with many anomalies, three sensors at 20 readings a second, and short delays."""
    path = tmp_path / "lively.yaml"
    path.write_text(LIVELY)
    return path


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Starts fleets, by default in the directory `data`."""
    started: list[FleetProcess] = []

    def start(*arguments: object, data: Path | None = None, cwd: Path | None = None) -> FleetProcess:
        output = tmp_path / f"output-{len(started)}"
        running = FleetProcess(data or tmp_path / "data", output, *arguments, cwd=cwd)
        started.append(running)
        return running

    yield start
    for running in started:
        running.end()

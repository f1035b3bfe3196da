"""Fleets that can be sabotaged, and the small and quick config that fault tests run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.faults.fault_injection import FaultInjector
from tests.process.running_fleet import FleetProcess

Up = Callable[..., FleetProcess]
Write = Callable[..., Path]

# Half of all readings anomalous, a third of those missing; every delay is as short as it may be.
QUICK = """
version: 2
replicas: {{count: {count}, prefix: S, database: {database}}}
simulation: {{readings_per_second: 20}}
anomalies:
  probability: 0.4
  types:
    spike: {{weight: 0.3, duration_readings: 1}}
    trend: {{weight: 0.2, duration_readings: 4}}
    noise: {{weight: 0.2, duration_readings: 3}}
    missing_data: {{weight: 0.3, duration_readings: 3}}
database: {{batch_interval: {batch_interval}, retry_delay: 0.2}}
supervision:
  hang_seconds: {hang}
  restart_budget: {budget}
  restart_window_seconds: 600
  backoff_min_seconds: 0.05
  backoff_max_seconds: {backoff_max}
  drain_seconds: {drain}
"""


@pytest.fixture
def quick(tmp_path: Path) -> Write:
    """Writes a config: sensors S_000001, ... at 20 readings a second."""

    def write(
        *,
        count: int = 3,
        database: str = "own",
        batch_interval: float = 0.1,
        hang: float = 20,
        budget: int = 1000,
        backoff_max: float = 0.2,
        drain: float = 10,
    ) -> Path:
        path = tmp_path / "quick.yaml"
        path.write_text(
            QUICK.format(
                count=count,
                database=database,
                batch_interval=batch_interval,
                hang=hang,
                budget=budget,
                backoff_max=backoff_max,
                drain=drain,
            )
        )
        return path

    return write


@pytest.fixture
def fault_injector(tmp_path: Path) -> FaultInjector:
    return FaultInjector(tmp_path / "sabotage")


@pytest.fixture
def up(tmp_path: Path, fault_injector: FaultInjector) -> Iterator[Up]:
    """Starts fleets, by default in the directory `data`, whose workers obey the fault_injector."""
    with fleets(tmp_path, fault_injector.environment) as start:
        yield start


@contextmanager
def fleets(folder: Path, environment: Mapping[str, str], wrapper: Sequence[str] = ()) -> Iterator[Up]:
    """Within it fleets can be started, by default in the directory `data` of the folder."""
    started: list[FleetProcess] = []

    def start(*arguments: object, data: Path | None = None) -> FleetProcess:
        output = folder / f"output-{len(started)}"
        running = FleetProcess(data or folder / "data", output, *arguments, environment=environment, wrapper=wrapper)
        started.append(running)
        return running

    try:
        yield start
    finally:
        for running in started:
            running.end()

"""Sensors, settings and runs for the tests of a worker, and waiting with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from worker.clock import elapsed_ns
from worker.sensor import Sensor
from worker.spec import AnomalySpec, Channel, Identity, RunSpec, SensorSpec, Settings, StoreSpec, WorkerSpec
from worker.storage.sinks import Portion, Position

SECOND_US = 1_000_000
NEW = Position(0, None)
"""The position of a sensor that has never written a reading."""
NEW_YEAR = 1_767_225_600 * SECOND_US
"""2026-01-01T00:00:00Z"""

TEMPERATURE = Channel("temperature", "°C", 22.0, 2.0, -10.0, 50.0, -273.15, 2000.0, 2)
HUMIDITY = Channel("humidity", "%", 60.0, 5.0, 0.0, 100.0, 0.0, 100.0, 2)
PRESSURE = Channel("pressure", "Pa", 101325.0, 100.0, 95000.0, 105000.0, 0.0, 1e7, 0)
VIBRATION = Channel("vibration", "mm/s²", 0.5, 0.1, 0.0, 10.0, 0.0, 1000.0, 3)
VOLTAGE = Channel("voltage", "V", 24.0, 0.5, 20.0, 28.0, 0.0, 1000.0, 2)
CHANNELS = (TEMPERATURE, HUMIDITY, PRESSURE, VIBRATION, VOLTAGE)

SPIKE = AnomalySpec("spike", 0.05, 1, "readings")
TREND = AnomalySpec("trend", 0.05, 20, "readings")
PATTERN = AnomalySpec("pattern", 0.05, 40, "readings")
MISSING = AnomalySpec("missing_data", 0.05, 5, "readings")
NOISE = AnomalySpec("noise", 0.05, 20, "readings")
ANOMALIES = (SPIKE, TREND, PATTERN, MISSING, NOISE)

IDENTITY = Identity(
    "CHI_123456",
    firmware_version="1.4",
    model="EnvMonitor-3000",
    manufacturer="SensorTech",
    serial_number="SN-1",
    manufacture_date="2024-01-02",
    location="Chicago, Illinois, United States",
    latitude=41.85,
    longitude=-87.65,
    timezone="America/Chicago",
    deployment_type="indoor_fixed",
    installation_date="2024-03-04",
    height_meters=2.5,
    orientation_degrees=90.0,
    instance_id="i-1",
    sensor_type="environmental_monitoring",
)


def settings(*anomalies: AnomalySpec, rate: str = "1", channels: tuple[Channel, ...] = CHANNELS) -> Settings:
    return Settings(rate, channels, anomalies)


def with_onset_mode(sensor_settings: Settings) -> Settings:
    return replace(sensor_settings, mode="onset")


def run(number: int = 1, start_us: int = NEW_YEAR, seconds: float | None = None) -> RunSpec:
    duration = None if seconds is None else round(seconds * SECOND_US)
    return RunSpec(seed=42, number=number, start_us=start_us, origin_ns=0, duration_us=duration)


def with_catch_up(run_spec: RunSpec) -> RunSpec:
    return replace(run_spec, resume="catch_up")


def sensor(
    sensor_settings: Settings, run_spec: RunSpec, identity: Identity = IDENTITY, position: Position = NEW
) -> Sensor:
    return Sensor(SensorSpec(identity, sensor_settings, row=0), run_spec, position)


def commit_due(subject: Sensor, now_us: int, most: int = 10_000, *, final: bool = False) -> list[Portion]:
    """All that is due at `now_us`, settled at once."""
    portions = subject.portions(now_us, most, final=final)
    for portion in portions:
        subject.commit(portion)
    return portions


def live_worker(
    path: Path, sensor_settings: Settings, *, seconds: float | None = None, retry_delay: float = 0.1
) -> WorkerSpec:
    """A worker of one sensor that runs from now on in real time and writes to `path`."""
    store = StoreSpec(path, batch_interval=0.1, retry_attempts=2, retry_delay=retry_delay)
    run_spec = replace(run(seconds=seconds), origin_ns=elapsed_ns())
    return WorkerSpec(IDENTITY.sensor_id, (SensorSpec(IDENTITY, sensor_settings, row=0),), store, run_spec)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; fails after that many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)

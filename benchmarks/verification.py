"""How fast `fleet verify` is in one process: readings per second, median of five runs."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from fleet.verify.verification import verify
from worker.readings.generator import SignalGenerator
from worker.spec import Identity, Settings, StoreSpec
from worker.storage.database import Database
from worker.storage.sinks import Epoch, Portion

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
ROUND = 20
"""Readings of a sensor between those of the others."""

RUNS = 5


def main() -> None:
    for sensors in (1, 50, 1000):
        rate, cpu = measure(sensors)
        print(
            f"{COUNT:,} readings of {sensors:5,} sensors in one database {rate:10,.0f} readings/s ({cpu:,.0f} of CPU)"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory, writing included: {peak:,.0f} MB")


def measure(sensors: int) -> tuple[float, float]:
    """Readings per second of wall time and of processor time."""
    identities = [Identity(f"BENCH_{number:06d}", model="M", timezone="America/Denver") for number in range(sensors)]
    settings = settings_for(load_config(None), load_catalogue(), identities[0])
    with tempfile.TemporaryDirectory() as folder:
        store(Path(folder, "sensor_data.db"), identities, settings)
        wall, cpu = [], []
        for _ in range(RUNS):
            begun, used = time.perf_counter(), time.process_time()
            verdict = verify(Path(folder))
            wall.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - used)
            assert verdict.ok, verdict.findings
            assert verdict.sensors == sensors
    return COUNT / statistics.median(wall), COUNT / statistics.median(cpu)


def store(path: Path, identities: Sequence[Identity], settings: Settings) -> None:
    generators = [SignalGenerator(1, identity, settings, 0, 0) for identity in identities]
    size = ROUND if len(generators) > 1 else 1000
    database = Database(StoreSpec(path))
    database.claim(identities, 1)
    for first in range(0, COUNT // len(generators), size):
        portions = []
        for identity, generator in zip(identities, generators, strict=True):
            epoch = None if first else Epoch(1, 1, "start", identity, settings, generator.schedule)
            portions.append(Portion(identity, settings, generator.schedule, first, generator.block(first, size), epoch))
        database.deliver(portions)
    database.close()


if __name__ == "__main__":
    main()

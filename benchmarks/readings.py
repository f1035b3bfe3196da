"""How fast readings are made and stored in one process: readings per second, median of five runs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from worker.readings.generator import SignalGenerator
from worker.spec import Identity, Settings, StoreSpec
from worker.storage.database import Database
from worker.storage.sinks import Portion

COUNT = 200_000
BATCH = 1000
RUNS = 5
SIZES = (10_000, COUNT, 1_000_000)
RATES = {"every second": "1", "100 a second": "100", "every 5 minutes": "1/300"}
START_US = 1_767_225_600_000_000


def main() -> None:
    identity = Identity("BENCH_000001", latitude=39.7, longitude=-105.0, timezone="America/Denver")
    settings = settings_for(load_config(None), load_catalogue(), identity)
    calm = replace(settings, anomalies=())
    plain = settings_for(load_config(None), load_catalogue(), identity, version=1)
    for size in SIZES:
        for name, text in RATES.items():
            of_rate = replace(calm, rate=text)
            print_rate(f"generate {size:9,} {name}, healthy", size, partial(generate, identity, of_rate, size))
        print_rate(f"generate {size:9,} every second, 5 % anomalies", size, partial(generate, identity, settings, size))
        print_rate(f"generate {size:9,} every second, version 1", size, partial(generate, identity, plain, size))
    print_rate("generate and store, by 1000", COUNT, partial(store, identity, settings))


def print_rate(what: str, count: int, work: Callable[[], None]) -> None:
    print(f"{what:48} {rate(count, work):12,.0f} readings/s", flush=True)


def generate(identity: Identity, settings: Settings, count: int) -> None:
    SignalGenerator(1, identity, settings, 0, START_US).block(0, count)


def store(identity: Identity, settings: Settings) -> None:
    generator = SignalGenerator(1, identity, settings, 0, START_US)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(StoreSpec(Path(folder, "bench.db")))
        database.claim([identity], 1)
        for first in range(0, COUNT, BATCH):
            block = generator.block(first, BATCH)
            database.deliver([Portion(identity, settings, generator.schedule, first, block)])
        database.close()


def rate(count: int, work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return count / statistics.median(seconds)


if __name__ == "__main__":
    main()

"""How fast readings are made and stored in one process: readings per second, median of five runs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
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


def main() -> None:
    identity = Identity("BENCH_000001", timezone="America/Denver")
    settings = settings_for(load_config(None), load_catalogue(), identity)
    print(f"generate                    {rate(lambda: generate(identity, settings)):12,.0f} readings/s")
    print(f"generate and store, by 1000 {rate(lambda: store(identity, settings)):12,.0f} readings/s")


def generate(identity: Identity, settings: Settings) -> None:
    SignalGenerator(1, identity, settings, 0, 0).block(0, COUNT)


def store(identity: Identity, settings: Settings) -> None:
    generator = SignalGenerator(1, identity, settings, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(StoreSpec(Path(folder, "bench.db")))
        database.claim([identity], 1)
        for first in range(0, COUNT, BATCH):
            block = generator.block(first, BATCH)
            database.deliver([Portion(identity, settings, generator.schedule, first, block)])
        database.close()


def rate(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return COUNT / statistics.median(seconds)


if __name__ == "__main__":
    main()

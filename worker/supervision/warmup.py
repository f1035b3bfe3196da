"""Doing a worker's work once before forking, so that what it allocates and specialises is shared by all workers."""

from __future__ import annotations

from pathlib import Path

from worker.sensor import Sensor
from worker.spec import RunSpec, SensorSpec, StoreSpec
from worker.storage.database import IN_MEMORY_PATH, Database

WARMUP_ROUNDS = 40
"""Enough for the interpreter to have specialised the code of the loop."""


def warm_up(sensor: SensorSpec) -> None:
    """Generate and store readings of `sensor` in a database in memory, which is gone afterwards."""
    run = RunSpec(seed=0, number=1, start_us=0, origin_ns=0)
    subject = Sensor(sensor, run)
    sink = Database(StoreSpec(Path(IN_MEMORY_PATH)))
    identity = sensor.identity
    (position,) = sink.claim([identity], 1)
    subject.resume(position)
    step = int(10_000_000 / float(sensor.settings.exact_rate))
    for number in range(1, WARMUP_ROUNDS + 1):
        portions = subject.portions(number * step, 100)
        sink.deliver(portions)
        for portion in portions:
            subject.commit(portion)
    sink.close()

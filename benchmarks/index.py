"""What the unique index (sensor_id, seq) costs at writing: processor time to compute and commit a reading, and bytes of a
reading, with and without it, by turns in one process. Medians of nine.

`python benchmarks/index.py [FOLDER]` writes to the disk of FOLDER.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.worker.samples import ANOMALIES, IDENTITY, run, settings  # noqa: E402
from worker.sensor import Sensor  # noqa: E402
from worker.spec import SensorSpec, StoreSpec  # noqa: E402
from worker.storage.connection import checkpoint_wal  # noqa: E402
from worker.storage.database import Database  # noqa: E402
from worker.storage.schema import READINGS_KEY  # noqa: E402

CASES = ((1, 1, 3_000), (10, 1, 20_000), (100, 1, 60_000), (1, 100, 3_000), (10, 100, 30_000), (100, 100, 60_000))
"""Readings in a commit, sensors, readings in all."""

TIMES = 9


def main() -> None:
    disk = sys.argv[1] if len(sys.argv) > 1 else None
    print("readings in a commit  sensors  us/reading: without  with  ratio  bytes/reading: without  with  ratio")
    for batch, sensors, total in CASES:
        pairs = [
            (measured(disk, batch, sensors, total, index=False), measured(disk, batch, sensors, total))
            for _ in range(TIMES)
        ]
        without, indexed = (
            [statistics.median(each) for each in zip(*side, strict=True)] for side in zip(*pairs, strict=True)
        )
        figures = (f"{a:10.1f} {b:8.1f} {b / a:6.3f}" for a, b in zip(without, indexed, strict=True))
        print(f"{batch:20} {sensors:8} ", *figures, flush=True)


def measured(disk: str | None, batch: int, count: int, total: int, *, index: bool = True) -> tuple[float, float]:
    """Return the microseconds of processor time and the bytes of one reading."""
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        path = Path(folder, "x.db")
        sink, run_spec = Database(StoreSpec(path, shared=count > 1)), run()
        identities = [replace(IDENTITY, sensor_id=f"CHI_{number:06d}") for number in range(count)]
        positions = sink.claim(identities, 1)
        if not index and sink._connection:
            sink._connection.execute(f"DROP INDEX {READINGS_KEY}")
        sensors = [
            Sensor(SensorSpec(identity, settings(*ANOMALIES), row), run_spec, position)
            for row, (identity, position) in enumerate(zip(identities, positions, strict=True))
        ]
        begun = time.process_time()
        for turn in range(total // batch):
            sensor = sensors[turn % count]
            portions = sensor.portions(run_spec.start_us + 10**12, batch)
            sink.deliver(portions)
            for portion in portions:
                sensor.commit(portion)
        took = time.process_time() - begun
        sink.close()
        checkpoint_wal(path)
        return took / total * 1e6, path.stat().st_size / total


if __name__ == "__main__":
    main()

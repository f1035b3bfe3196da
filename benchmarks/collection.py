"""How fast `fleet collect` is: readings per second into SQLite, and over HTTP into `fleet receive` beside it; medians.

python benchmarks/collection.py [DATABASES] [READINGS IN EACH]
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from worker.readings.generator import SignalGenerator
from worker.spec import Identity, StoreSpec
from worker.storage.database import Database
from worker.storage.sinks import Epoch, Portion

DATABASES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
READINGS = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
RUNS = 3
FLEET = [sys.executable, "-m", "fleet"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        origin = Path(folder, "origin")
        origin.mkdir()
        for number in range(DATABASES):
            store(origin, number)
        sqlite = [into_sqlite(origin, Path(folder)) for _ in range(RUNS)]
        http = [over_http(origin, Path(folder)) for _ in range(RUNS)]
    for name, runs in (("SQLite", sqlite), ("HTTP", http)):
        rates = [rate for rate, _ in runs]
        peak = max(peak for _, peak in runs)
        print(
            f"{DATABASES} databases of {READINGS:,} readings into {name:6} {statistics.median(rates):9,.0f} readings/s "
            f"(from {min(rates):,.0f} to {max(rates):,.0f}), collector's memory at most {peak:,.0f} MB"
        )


def store(folder: Path, number: int) -> None:
    identity = Identity(f"BENCH_{number:06d}", model="M", timezone="America/Denver")
    settings = settings_for(load_config(None), load_catalogue(), identity)
    generator = SignalGenerator(1, identity, settings, 0, 0)
    database = Database(StoreSpec(folder / f"{identity.sensor_id}.db"))
    database.claim([identity], 1)
    for first in range(0, READINGS, 1000):
        epoch = None if first else Epoch(1, 1, "start", identity, settings, generator.schedule)
        block = generator.block(first, min(1000, READINGS - first))
        database.deliver([Portion(identity, settings, generator.schedule, first, block, epoch)])
    database.close()


def into_sqlite(origin: Path, folder: Path) -> tuple[float, float]:
    central = folder / "central.db"
    with swept(origin, folder) as data:
        found = collect(data, f"sqlite:///{central}")
    for path in folder.glob("central.db*"):
        path.unlink()
    return found


def over_http(origin: Path, folder: Path) -> tuple[float, float]:
    receive = [*FLEET, "receive", "--to", str(folder / "central.db"), "--port", "0"]
    with swept(origin, folder) as data, subprocess.Popen(receive, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout
        told = re.search(r"http://\S+?:\d+", receiver.stdout.readline())
        assert told
        try:
            found = collect(data, told[0])
        finally:
            receiver.send_signal(signal.SIGTERM)
    for path in folder.glob("central.db*"):
        path.unlink()
    return found


@contextmanager
def swept(origin: Path, folder: Path) -> Iterator[Path]:
    """A copy, which nobody has collected yet."""
    data = folder / "data"
    shutil.copytree(origin, data)
    os.sync()
    try:
        yield data
    finally:
        shutil.rmtree(data)


def collect(data: Path, target: str) -> tuple[float, float]:
    """Readings per second, and the peak of the collector's memory in MB."""
    command = [*FLEET, "collect", "--data-dir", str(data), "--to", target, "--once", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as collector:
        assert collector.stdout
        summary = json.load(collector.stdout)
        _, status, usage = os.wait4(collector.pid, 0)
        collector.returncode = os.waitstatus_to_exitcode(status)
    assert summary["ok"], summary
    delivered = sum(account["delivered"] for account in summary["databases"])
    return delivered / summary["seconds"], usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""Every answer behind the pages over a week of readings: milliseconds of processor time, the longest of several; at most 200.

`python benchmarks/ranges.py [FOLDER]` writes, in FOLDER, a hundred sensors of one reading a minute and one of one a second.
The ranges of the latter are asked for until all of it is read, as a page does; after that they come from the cache.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fleet.catalogue.catalogue import load_catalogue  # noqa: E402
from fleet.config.config import load_config  # noqa: E402
from fleet.config.settings import settings_for  # noqa: E402
from tests.fleet.staged import StagedFleet, client_of  # noqa: E402
from tests.worker.samples import SECOND_US, run  # noqa: E402
from worker.sensor import Sensor  # noqa: E402
from worker.spec import SensorSpec, StoreSpec  # noqa: E402
from worker.storage.connection import checkpoint_wal  # noqa: E402
from worker.storage.database import Database  # noqa: E402

SENSORS = 100
WEEK_S = 604_800
COMMIT_READINGS = 10_000
TIMES = 5
MAX_MS = 200
RANGES = ("now-15m", "now-1h", "now-6h", "now-1d", "now-3d", "now-7d", "first")
FLEET_PATHS = ("/", "/api/snapshot", "/api/sensors", "/api/history", "/api/events", "/compare?place=Berlin")
SENSOR_PATHS = ("", "/db_stats", "/samplez?limit=20", "/epochs", "/log?lines=60", "/episodes?limit=100")


def main() -> int:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        staged = StagedFleet(Path(folder, "data"), SENSORS + 1)
        for number in range(SENSORS + 1):
            write(staged, number, "1" if number == SENSORS else "1/60")
        client = client_of(staged)
        minutes, seconds = (staged.members[number].sensor_id for number in (0, SENSORS))
        slow = [measure(client, path) for path in FLEET_PATHS]
        for sensor in (minutes, seconds):
            slow.append(measure(client, f"/sensors/{sensor}"))
            slow += [measure(client, f"/workers/{sensor}{path}") for path in SENSOR_PATHS]
            slow += [measure_range(client, sensor, begin) for begin in reversed(RANGES)]
    return int(any(slow))


def write(staged: StagedFleet, number: int, rate: str) -> None:
    """Write a week of readings of a sensor by the default config."""
    member = staged.members[number]
    settings = replace(settings_for(load_config(None), load_catalogue(), member.identity), rate=rate)
    run_spec, sink = run(), Database(StoreSpec(member.database))
    (position,) = sink.claim([member.identity], 1)
    sensor = Sensor(SensorSpec(member.identity, settings, 0), run_spec, position)
    while portions := sensor.portions(run_spec.start_us + WEEK_S * SECOND_US - 1, COMMIT_READINGS):
        sink.deliver(portions)
        for portion in portions:
            sensor.commit(portion)
    sink.close()
    checkpoint_wal(member.database)


def measure(client: FlaskClient, path: str) -> bool:
    return report(path, [took for took, _ in (answer(client, path) for _ in range(TIMES))])


def measure_range(client: FlaskClient, sensor: str, begin: str) -> bool:
    path = f"/workers/{sensor}/series?from={begin}&points=1200"
    first = list(answers(client, path))
    slow = report(f"{path}, until all is read", first)
    return report(f"{path}, again", [answer(client, path)[0] for _ in range(TIMES)]) or slow


def answers(client: FlaskClient, path: str) -> Iterator[float]:
    """Ask for a range until all of it is read; yields the milliseconds of each answer."""
    read = 0.0
    while read < 1:
        took, body = answer(client, path)
        document: dict[str, Any] = json.loads(gzip.decompress(body))
        read = document["read"]
        yield took


def answer(client: FlaskClient, path: str) -> tuple[float, bytes]:
    begun = time.thread_time()
    response = client.get(path, headers={"Accept-Encoding": "gzip"})
    body = response.get_data()
    took = (time.thread_time() - begun) * 1000
    assert response.status_code == 200, (path, response.status_code, body[:200])
    return took, body


def report(what: str, times: list[float]) -> bool:
    """Print the longest time. Return whether it is too long."""
    print(f"{max(times):8.1f} ms, {len(times):2} answers  {what}", flush=True)
    return max(times) > MAX_MS


if __name__ == "__main__":
    sys.exit(main())

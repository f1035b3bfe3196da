"""One database for all, ruined again and again while its writers come and go."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.faults.conftest import Up, Write
from tests.process.running_fleet import FleetProcess, fleet, wait_for

pytestmark = pytest.mark.thorough

DAMAGES = 6


def kill_some(running: FleetProcess, rng: random.Random) -> None:
    for sensor in rng.sample(running.sensors, 4):
        if pid := int(running.row(sensor)["pid"]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def put_aside(data: Path) -> int:
    """How many databases were."""
    return len({path.name.removesuffix("-wal").removesuffix("-shm") for path in data.glob("*.quarantined-*")})


@pytest.mark.timed
def test_each_damage_is_mended_once(up: Up, quick: Write, tmp_path: Path) -> None:
    """Many open it at the same time, while others move it aside: nobody takes the log of one database for that of
    another, or moves a healthy one away, so no damage brings about the next."""
    data, rng = tmp_path / "data", random.Random(5)
    running = up("-c", quick(count=20, database="shared"), "--no-http", "--for", "12s").ready()
    for number in range(DAMAGES):
        damaged = data / ("sensor_data.db" if number % 2 else "sensor_data.db-wal")
        wait_for(damaged.exists, "it is there")
        damaged.unlink()
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            kill_some(running, rng)
            time.sleep(0.1)

    assert 0 == running.wait()
    verdict = fleet("verify", "--complete", "--data", data)
    assert 0 == verdict.returncode, verdict.stdout
    assert DAMAGES >= put_aside(data)

"""A collector that is killed again and again, a target that fails on purpose, a fleet that writes all the while: every
reading arrives exactly once."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fleet.delivery.collecting import CollectProcess, collect
from tests.fleet.verify.damage import select
from tests.process.conftest import Up, up
from tests.process.delivery.receiver_process import receiving
from tests.process.running_fleet import fleet, wait_for

pytestmark = [pytest.mark.thorough, pytest.mark.claim("002.use-case.6")]

__all__ = ["up"]

MISBEHAVING = ("--fail-rate", "20%", "--drop-ack", "5%", "--delay", "0-200ms")


@dataclass(frozen=True)
class Size:
    """How much of it: a fleet, how often it is swept, how long each collector lives; times in seconds."""

    sensors: int
    rate: int
    lasts: int
    interval: float
    life: float


BRIEF = Size(sensors=10, rate=10, lasts=8, interval=0.5, life=2.0)
WHOLE = Size(sensors=100, rate=10, lasts=60, interval=2, life=10)
SIZES = [pytest.param(BRIEF, id="brief"), pytest.param(WHOLE, id="whole", marks=pytest.mark.slow)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.claim("000.collector-script.3")
def test_into_a_receiver_that_misbehaves(size: Size, up: Up, tmp_path: Path) -> None:
    """It fails, loses acknowledgements and takes its time."""
    central = tmp_path / "central.db"
    with receiving(central, *MISBEHAVING) as receiver:
        killed_again_and_again(up, size, f"http://127.0.0.1:{receiver.port}", f"sqlite:///{central}")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", SIZES)
def test_into_sqlite(size: Size, up: Up, tmp_path: Path) -> None:
    central = f"sqlite:///{tmp_path}/central.db"
    killed_again_and_again(up, size, central, central)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.claim("001.troubleshooting.13")
def test_into_postgres(size: Size, up: Up, postgres_url: str) -> None:
    killed_again_and_again(up, size, postgres_url, postgres_url)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", SIZES)
def test_into_parquet(size: Size, up: Up, tmp_path: Path) -> None:
    killed_again_and_again(up, size, f"parquet:{tmp_path}/lake", f"parquet:{tmp_path}/lake")


def killed_again_and_again(up: Up, size: Size, target: str, compared: str) -> None:
    """`fleet verify --against` says that all is there once, and nothing is left that is not marked."""
    running = up("--replicas", size.sensors, "--rate", size.rate, "--seed", 3, "--for", f"{size.lasts}s", "--no-http")
    wait_for(lambda: list(running.data.glob("*.db")), "a database")
    killed = 0
    while running.process.poll() is None:
        collecting = CollectProcess(running.data, target, "--interval", f"{size.interval}s", "--batch-size", 50)
        end = time.monotonic() + size.life
        while running.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        collecting.kill()
        killed += 1
    assert 0 == running.wait()

    code, summary, said = collect(running.data, target)

    assert (0, False) == (code, "fleet collect:" in said), (said, summary)
    done = fleet("verify", "--data", running.data, "--complete", "--against", compared, "--json", timeout=120)
    assert done.stdout, done.stderr
    verdict = json.loads(done.stdout)
    assert (0, True) == (done.returncode, verdict["ok"]), done.stdout[-2000:]
    assert killed >= size.lasts // size.life - 1
    for path in running.data.glob("*.db"):
        assert [(0,)] == select(path, "SELECT count(*) FROM sensor_readings WHERE synced = 0")
    assert verdict["readings"] >= size.sensors * size.rate * size.lasts * 0.9

"""A fleet that delivers to six targets at once, each of which is away for a while, with workers and the delivery killed.

`ALL_TARGETS_SECONDS=300` makes it five minutes, with outages of twenty seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.delivery.test_receive_from_brokers import receiving
from tests.process.running_fleet import ENVIRONMENT, FleetProcess, fleet, wait_for
from tests.servers.influxdb import influxdb
from tests.servers.kafka import kafka_broker
from tests.servers.mosquitto import broker
from tests.servers.moto import ANYBODY, object_server
from tests.servers.postgres import PostgresServer
from tests.servers.program import free_port
from tests.servers.tcp_proxy import TcpProxy

SECONDS = float(os.environ.get("ALL_TARGETS_SECONDS", "36"))
OUTAGE_SECONDS = SECONDS / 15
SENSORS, RATE = 20, 10


class Servers:
    """Five servers, and how each is away. Those that have their data in memory alone are suspended, or cut off."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.mosquitto = stack.enter_context(broker(folder))
        port = free_port()
        self.proxy = TcpProxy(port)
        stack.callback(self.proxy.cut)
        stack.enter_context(kafka_broker(folder, advertised=self.proxy.port, port=port))
        self.influx = stack.enter_context(influxdb(folder))
        self.objects = stack.enter_context(object_server(folder))
        self.objects.create_bucket("plant")
        self.postgres = stack.enter_context(PostgresServer.started())

    @property
    def brokers(self) -> dict[str, str]:
        return {
            "mqtt": f"{self.mosquitto.url}/plant/{{sensor_id}}",
            "kafka": f"kafka://127.0.0.1:{self.proxy.port}/plant",
        }

    @property
    def stores(self) -> dict[str, str]:
        return {
            "influx": self.influx.url(),
            "s3": f"s3://plant/readings?endpoint={self.objects.endpoint}&size=500",
            "postgresql": self.postgres.url(),
        }

    def mqtt_outage(self) -> None:
        with self.mosquitto.suspended():
            time.sleep(OUTAGE_SECONDS)

    def kafka_outage(self) -> None:
        self.proxy.cut()
        time.sleep(OUTAGE_SECONDS)
        self.proxy.restore()

    def influx_outage(self) -> None:
        self.influx.kill()
        time.sleep(OUTAGE_SECONDS)
        self.influx.start()

    def s3_outage(self) -> None:
        with self.objects.suspended():
            time.sleep(OUTAGE_SECONDS)

    def postgres_outage(self) -> None:
        self.postgres.stop()
        time.sleep(OUTAGE_SECONDS)
        self.postgres.start()


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    for name, value in ANYBODY.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    with ExitStack() as stack:
        yield Servers(tmp_path, stack)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_six_targets_that_are_away_in_turn_have_everything(servers: Servers, up: Up, tmp_path: Path) -> None:
    data, lines = tmp_path / "data", f"jsonl:{tmp_path / 'readings.jsonl'}"
    with ExitStack() as stack:
        ends = [stack.enter_context(receiving(url, tmp_path / f"{name}.db")) for name, url in servers.brokers.items()]
        targets = [
            word for url in (*servers.brokers.values(), *servers.stores.values(), lines) for word in ("--to", url)
        ]
        run = up("--replicas", SENSORS, "--rate", RATE, "--for", f"{SECONDS:g}s", "--seed", 3, *targets).ready()
        disturb(run, servers)

        assert 0 == run.wait(SECONDS + 120), run.output
        for end in ends:
            wait_for(lambda end=end: end.count() >= rows(data), "all is received", 60)  # type: ignore[misc]
            end.stop()
            assert rows(data) == end.count()
        for url in (*(f"sqlite:///{end.central}" for end in ends), *servers.stores.values(), lines):
            verified = fleet("verify", "--data", data, "--against", url, "--complete", timeout=300)
            assert 0 == verified.returncode, verified.stdout + verified.stderr


def disturb(run: FleetProcess, servers: Servers) -> None:
    """Let each server be away, and kill two workers and the delivery in between."""

    def pause() -> None:
        time.sleep(SECONDS / 24)

    for outage in (servers.mqtt_outage, servers.kafka_outage, servers.influx_outage):
        pause()
        outage()
    for name in (f"{run.sensors[0]}.db", f"{run.sensors[1]}.db", "readings.jsonl"):
        pause()
        holder(run, name).kill()
    for outage in (servers.s3_outage, servers.postgres_outage):
        pause()
        outage()


def holder(run: FleetProcess, name: str) -> psutil.Process:
    """The process that has a file of that name open, and the fewest others."""
    opened: dict[psutil.Process, list[str]] = {}
    for process in run.processes():
        opened[process] = [Path(file.path).name for file in process.open_files()]
    return min((process for process, names in opened.items() if name in names), key=lambda each: len(opened[each]))


def rows(data: Path) -> int:
    return sum(int(select(path, "SELECT count(*) FROM sensor_readings")[0][0]) for path in data.glob("*.db"))

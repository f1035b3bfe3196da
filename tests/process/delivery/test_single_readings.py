"""One reading per request, from a fleet and from a single worker."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.running_fleet import fleet, wait_for
from tests.servers.single_readings import PATH, reading_server

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "1"))


def stored_keys(data: Path) -> list[str]:
    query = "SELECT i.generation || '/' || r.sensor_id || '/' || r.seq FROM sensor_readings r, database_info i"
    return sorted(key for path in data.glob("*.db") for (key,) in select(path, query))


def test_a_server_that_is_down_for_a_while_has_everything_once(up: Up, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with reading_server(schema=None) as server:
        running = up("--replicas", 3, "--rate", 10, "--to", f"{server.url}#each").ready()
        wait_for(lambda: len(server.keys) > 15, "readings arrive")
        server.stop()
        wait_for(lambda: "no connection" in fleet("status", "--data", data).stdout, "the fleet knows")
        server.start()
        running.interrupt()
        assert 0 == running.wait(), running.output
        assert stored_keys(data) == sorted(server.keys)


def test_a_server_of_bme280_readings_has_all_of_them_once(up: Up, tmp_path: Path) -> None:
    """By the schema and at the path of such a server, which is down for a while."""
    data = tmp_path / "data"
    with reading_server() as server:
        address = server.url.removesuffix(PATH)
        running = up("--kind", "bme280", "--replicas", 3, "--rate", 10, "--record", "bme280", "--to", address).ready()
        wait_for(lambda: len(server.keys) > 15, "readings arrive")
        server.stop()
        wait_for(lambda: "no connection" in fleet("status", "--data", data).stdout, "the fleet knows")
        time.sleep(OUTAGE_SECONDS)
        server.start()
        running.interrupt()
        assert 0 == running.wait(), running.output
        assert stored_keys(data) == sorted(server.keys)
        assert len(server.keys) == len(server.stored)
        assert {"generator", "version", "in_weather_event", "weather_event_type"} == set(server.stored[0]["metadata"])


def test_the_lines_of_a_single_sensor(up: Up, tmp_path: Path) -> None:
    data = tmp_path / "data"
    up("--replicas", 1, "--rate", 60, "--for", "2s").wait()
    with reading_server(schema=None) as server:
        collected = fleet("collect", "--data", data, "--to", f"{server.url}#each=1", "--once", "--show-readings")
    assert 0 == collected.returncode, collected.stderr
    lines = collected.stdout.splitlines()
    (seconds,) = [document["timestamp"][11:19] for document in server.stored[:1]]
    assert lines[0].startswith(f"✓ #0001 | {seconds} | T:")
    count = len(server.stored)
    assert [f"Stats: {min(count, 100)} sent, 0 failed"] * (count // 100) == [
        line for line in lines if line.startswith("Stats")
    ]
    assert f"Final stats: {count} sent, 0 failed" in lines

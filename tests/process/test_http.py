"""The fleet over HTTP while it runs."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.process.conftest import Up
from tests.process.running_fleet import wait_for

pytestmark = pytest.mark.claim("000.testing.7")

FLEET = {
    "/healthz": {"status", "timestamp"},
    "/statusz": {"timestamp", "version", "configuration", "runtime", "anomalies", "database"},
    "/metricz": {"uptime_seconds", "total_readings", "readings_per_second", "total_anomalies", "anomaly_rate"},
    "/samplez": {"timestamp", "count", "samples"},
    "/db_stats": {"total_records", "databases", "disk_usage", "tables"},
    "/workers": {"workers"},
}
SENSOR = {path: names for path, names in FLEET.items() if path != "/workers"} | {
    "/db_stats": {"sensor_id", "path", "total_records", "tables"},
    "/episodes": {"episodes"},
    "": {"sensor_id", "pid", "state", "readings", "identity", "channels"},
}
ENTRY = {"sensor_id", "pid", "state", "readings", "last_reading", "restarts", "errors", "lag_seconds"}


@pytest.mark.claim("000.integration-points.1", "000.use-cases.4", "001.http-monitoring.2", "001.simulator.6")
def test_every_document_is_there(up: Up, lively: Path) -> None:
    """For the fleet and for one sensor, with the names that others look for, while it runs."""
    running = up("-c", lively).ready()
    sensor = running.sensors[1]
    wait_for(lambda: running.get("/metricz")[1]["total_readings"] > 20, "readings")

    for path, names in FLEET.items():
        status, document = running.get(path)
        assert (200, set()) == (status, names - document.keys()), path
    for path, names in SENSOR.items():
        status, document = running.get(f"/workers/{sensor}{path}")
        assert (200, set()) == (status, names - document.keys()), path
    assert 404 == running.get("/workers/NOBODY/healthz")[0]
    assert "error" in running.get("/nothing")[1]
    with urllib.request.urlopen(running.url + "/", timeout=10) as page:
        assert "text/html" in page.headers["Content-Type"]
        assert sensor in page.read().decode()
    running.interrupt()
    assert 0 == running.wait()


def test_the_list_of_workers_is_true(up: Up, lively: Path) -> None:
    """Every pid is a live process of this fleet, every state is healthy, and what is counted grows."""
    running = up("-c", lively).ready()

    before = running.get("/workers")[1]["workers"]

    assert running.sensors == [entry["sensor_id"] for entry in before]
    assert not ENTRY - before[0].keys()
    ours = {process.pid for process in running.processes()}
    pids = {entry["pid"] for entry in before}
    assert 3 == len(pids)
    assert pids < ours
    assert all(psutil.Process(pid).name().startswith("python") for pid in pids)
    assert {"healthy"} == {entry["state"] for entry in before}
    wait_for(lambda: readings(running.get("/workers")[1]) > readings({"workers": before}), "more readings")
    assert 3 == running.get("/workers?state=healthy")[1]["total"]
    assert 400 == running.get("/workers?state=nonsense")[0]
    running.interrupt()
    assert 0 == running.wait()


def readings(document: dict[str, list[dict[str, int]]]) -> int:
    return sum(entry["readings"] for entry in document["workers"])

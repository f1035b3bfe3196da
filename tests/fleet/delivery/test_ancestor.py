"""The ancestor's collector on our databases, and our collector on databases of older simulators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleet.delivery.compare.against import ComparisonOptions, compare
from tests.fleet.delivery import foreign_databases
from tests.fleet.delivery.collecting import collect
from tests.fleet.verify.damage import select
from tests.process.conftest import Up, lively, up
from tests.process.delivery.receiver_process import receiving

pytestmark = pytest.mark.thorough

__all__ = ["lively", "up"]

COLLECTOR = """
import json, sqlite3, sys, urllib.request

path, url, batch_size = sys.argv[1], sys.argv[2], 100
connection = sqlite3.connect(path)
connection.execute("PRAGMA journal_mode=WAL;")
connection.row_factory = sqlite3.Row
while True:
    rows = connection.execute(
        "SELECT * FROM sensor_readings WHERE synced = 0 ORDER BY timestamp ASC LIMIT ?", (batch_size,)).fetchall()
    if not rows:
        break
    readings = [dict(row) for row in rows]
    body = json.dumps({"readings": readings, "source_db": path}).encode()
    request = urllib.request.Request(f"{url}/api/readings/batch", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
    ids = [reading["id"] for reading in readings]
    connection.execute(f"UPDATE sensor_readings SET synced = 1 WHERE id IN ({','.join('?' * len(ids))})", ids)
    connection.commit()
"""
"""What the ancestor's collector does with one database, on Python's own SQLite."""

COLUMNS = "timestamp, sensor_id, temperature, humidity, voltage, anomaly_type, firmware_version, location, seq"


@pytest.mark.claim("000.collector-script.3")
def test_their_collector_on_our_databases(up: Up, lively: Path, tmp_path: Path) -> None:
    """While the fleet writes, too; our receiver takes what it sends."""
    running = up("--config", lively, "--seed", 5, "--for", "4s", "--no-http").ready()
    with receiving(tmp_path / "central.db") as receiver:
        while True:
            ended = running.process.poll() is not None
            for path in sorted(running.data.glob("*.db")):
                arguments = [sys.executable, "-c", COLLECTOR, str(path), f"http://127.0.0.1:{receiver.port}"]
                subprocess.run(arguments, check=True, timeout=60)
            if ended:
                break
    assert 0 == running.wait()

    ours = [row for path in running.data.glob("*.db") for row in select(path, f"SELECT {COLUMNS} FROM sensor_readings")]
    theirs = select(tmp_path / "central.db", f"SELECT {COLUMNS} FROM sensor_readings")
    assert len(ours) > 100
    assert sorted(ours, key=repr) == sorted(theirs, key=repr)
    for path in running.data.glob("*.db"):
        assert [(0,)] == select(path, "SELECT count(*) FROM sensor_readings WHERE synced = 0")
    verdict = compare(running.data, ComparisonOptions(f"sqlite:///{tmp_path / 'central.db'}", complete=True))
    assert (True, len(ours)) == (verdict.ok, verdict.arrived)


def test_our_collector_on_their_databases(tmp_path: Path) -> None:
    """Every age of them, over HTTP."""
    data = tmp_path / "data"
    data.mkdir()
    for age, schema in foreign_databases.SCHEMAS.items():
        foreign_databases.write(data / f"{age}.db", schema, 120, sensor=f"SENSOR-{age[:3]}")

    with receiving(tmp_path / "central.db") as receiver:
        code, _, said = collect(data, f"http://127.0.0.1:{receiver.port}", "--batch-size", 50)

    assert (0, "") == (code, said)
    query = "SELECT sensor_id, timestamp, temperature FROM sensor_readings"
    expected = [row for path in data.glob("*.db") for row in select(path, query)]
    assert sorted(expected) == sorted(select(tmp_path / "central.db", query))
    for path in data.glob("*.db"):
        assert [(0,)] == select(path, "SELECT count(*) FROM sensor_readings WHERE synced IS NOT 1")

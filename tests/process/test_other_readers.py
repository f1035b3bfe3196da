"""Programs that others wrote for these databases, with Python's own SQLite, while the fleet writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.process.conftest import Up
from tests.process.running_fleet import fleet, wait_for

READER = """
import json, sqlite3, sys, time

path, least = sys.argv[1], int(sys.argv[2])
COLUMNS = (
    "id, timestamp, sensor_id, temperature, humidity, pressure, vibration, voltage, status_code, anomaly_flag, "
    "anomaly_type, synced, firmware_version, model, manufacturer, serial_number, manufacture_date, location, latitude, "
    "longitude, original_timezone, deployment_type, installation_date, height_meters, orientation_degrees, instance_id, "
    "sensor_type"
)
reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
seen, last = [], ""
end = time.monotonic() + 20
while len(seen) < least and time.monotonic() < end:
    page = reader.execute(
        f"SELECT {COLUMNS} FROM sensor_readings WHERE timestamp > ? ORDER BY timestamp LIMIT ?", (last, 7)
    ).fetchall()
    seen += [row[0] for row in page]
    last = page[-1][1] if page else last
    time.sleep(0 if page else 0.05)
print(json.dumps(seen))
"""

MARKER = """
import json, sqlite3, sys, time

path, least = sys.argv[1], int(sys.argv[2])
database = sqlite3.connect(path, timeout=10)
marked = []
end = time.monotonic() + 20
while len(marked) < least and time.monotonic() < end:
    ids = [row[0] for row in database.execute(
        "SELECT * FROM sensor_readings WHERE synced = 0 ORDER BY timestamp ASC LIMIT 100").fetchall()]
    with database:
        database.execute(f"UPDATE sensor_readings SET synced = 1 WHERE id IN ({','.join('?' * len(ids))})", ids)
    marked += ids
    time.sleep(0.02)
print(json.dumps([marked, [row[0] for row in database.execute("SELECT id FROM sensor_readings WHERE synced = 1 ORDER BY id")]]))
"""

LEAST = 150
"""Three seconds of readings: several commits come in between."""


def started(program: str, database: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", program, str(database), str(LEAST)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_they_page_and_mark_while_the_worker_writes(up: Up, tmp_path: Path) -> None:
    """A read-only connection pages by timestamp, all columns by name, and misses nothing; another marks rows by their ids;
    the worker is not disturbed, and the data is what it must be."""
    running = up("--replicas", 1, "--rate", 50, "--seed", 5).ready()
    (sensor,) = running.sensors
    database = running.data / f"{sensor}.db"

    reader, marker = started(READER, database), started(MARKER, database)
    seen = json.loads(reader.communicate(timeout=60)[0])
    marked, found = json.loads(marker.communicate(timeout=60)[0])

    assert len(seen) >= LEAST
    assert seen == list(range(1, len(seen) + 1))
    assert len(marked) >= LEAST
    assert sorted(marked) == found == list(range(1, len(marked) + 1))
    assert "healthy" == running.state(sensor)
    wait_for(lambda: int(running.row(sensor)["readings"]) > len(marked), "the worker goes on")
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == fleet("verify", "--data", running.data).returncode

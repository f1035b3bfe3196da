"""Databases as older simulators write them: their columns, and none of ours."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

SCHEMAS = {
    "000": """
        CREATE TABLE sensor_readings (
            id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, sensor_id TEXT NOT NULL, temperature REAL,
            humidity REAL, pressure REAL, vibration REAL, voltage REAL, status_code INTEGER, anomaly_flag INTEGER,
            anomaly_type TEXT, synced INTEGER DEFAULT 0, firmware_version TEXT, model TEXT, manufacturer TEXT,
            serial_number TEXT, manufacture_date TEXT, location TEXT, latitude REAL, longitude REAL,
            original_timezone TEXT, deployment_type TEXT, installation_date TEXT, height_meters REAL,
            orientation_degrees REAL, instance_id TEXT, sensor_type TEXT)""",
    "001": """
        CREATE TABLE sensor_readings (
            id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp DATETIME, sensor_id TEXT, temperature REAL, humidity REAL,
            pressure REAL, vibration REAL, voltage REAL, status_code INTEGER, anomaly_flag BOOLEAN, anomaly_type TEXT,
            firmware_version TEXT, model TEXT, manufacturer TEXT, location TEXT, latitude REAL, longitude REAL,
            original_timezone TEXT, synced BOOLEAN DEFAULT 0, serial_number TEXT, manufacture_date TEXT,
            deployment_type TEXT, installation_date TEXT, height_meters REAL, orientation_degrees REAL,
            instance_id TEXT, sensor_type TEXT)""",
    "002": """
        CREATE TABLE sensor_readings (
            id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT, sensor_id TEXT, temperature REAL, vibration REAL,
            voltage REAL, status_code INTEGER, anomaly_flag BOOLEAN, anomaly_type TEXT, firmware_version TEXT,
            model TEXT, manufacturer TEXT, location TEXT, synced BOOLEAN DEFAULT 0)""",
    "with a column of its own": """
        CREATE TABLE sensor_readings (
            id INTEGER PRIMARY KEY, timestamp TEXT, sensor_id TEXT, temperature REAL, battery REAL, synced INTEGER)""",
}
"""The table as each of the documents that a simulator was specified in has it."""


def write(path: Path, schema: str, count: int, sensor: str = "SENSOR001") -> None:
    """`count` more readings, a second apart, in a database with that schema."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("journal_mode", "WAL")
        if not connection.execute("SELECT 1 FROM sqlite_master").get:
            connection.execute(schema)
        first = connection.execute("SELECT count(*) FROM sensor_readings").get or 0
        begin = datetime(2025, 5, 1, tzinfo=UTC)
        rows = [
            ((begin + timedelta(seconds=number)).isoformat(), sensor, 20 + number / 7)
            for number in range(first, first + count)
        ]
        insert = "INSERT INTO sensor_readings (timestamp, sensor_id, temperature) VALUES (?,?,?)"
        with connection:
            connection.executemany(insert, rows)

"""The tables of a central database, in SQL for SQLite and PostgreSQL; the words in braces differ between the two.

`sensor_readings` has the columns of a sensor's own database under the same names. `id` counts arrivals, and the key of a
reading is (source, sensor_id, seq). For a source of another simulator, which has no seq, the row id is stored as seq.
"""

from __future__ import annotations

CENTRAL_SCHEMA_VERSION = 1
CENTRAL_ROLE = "central"
"""The role in `database_info`."""

SERIAL = {"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT", "postgres": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}
REAL = {"sqlite": "REAL", "postgres": "DOUBLE PRECISION"}
INTEGER = {"sqlite": "INTEGER", "postgres": "BIGINT"}
# A PostgreSQL index takes no text longer than 2.7 kB.
DIGEST = {"sqlite": "reading", "postgres": "hashtextextended(reading, 0)"}

# `time` is `timestamp` as a point in time, NULL if it is none. SQLite has no such type, and the text sorts the same.
TIME_COLUMN = {"sqlite": "", "postgres": ",\n    time TIMESTAMPTZ"}
TIME_INDEX = {"sqlite": "", "postgres": "CREATE INDEX IF NOT EXISTS reading_time ON sensor_readings (sensor_id, time);"}

STATEMENTS = """
-- The databases that readings came from. cursor: with --cursor, the row id up to which all readings have arrived or were
-- given up.
CREATE TABLE IF NOT EXISTS sources (
    source {serial},
    generation TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    cursor {integer} NOT NULL DEFAULT 0
);
-- Deliveries. received_at is the writer's clock, in UTC.
CREATE TABLE IF NOT EXISTS batches (
    batch {serial},
    source {integer} NOT NULL,
    received_at TEXT NOT NULL,
    readings {integer} NOT NULL,
    token TEXT NOT NULL
);
-- source_id is the id in the source; extra has the source's columns that this table lacks, as JSON.
CREATE TABLE IF NOT EXISTS sensor_readings (
    id {serial},
    timestamp TEXT NOT NULL,
    sensor_id TEXT NOT NULL,
    temperature {real},
    humidity {real},
    pressure {real},
    vibration {real},
    voltage {real},
    status_code {integer},
    anomaly_flag {integer},
    anomaly_type TEXT,
    synced {integer} DEFAULT 0,
    firmware_version TEXT,
    model TEXT,
    manufacturer TEXT,
    serial_number TEXT,
    manufacture_date TEXT,
    location TEXT,
    latitude {real},
    longitude {real},
    original_timezone TEXT,
    deployment_type TEXT,
    installation_date TEXT,
    height_meters {real},
    orientation_degrees {real},
    instance_id TEXT,
    sensor_type TEXT,
    seq {integer} NOT NULL,
    source {integer} NOT NULL,
    source_id {integer} NOT NULL,
    batch {integer} NOT NULL,
    extra TEXT{time_column}
);
CREATE UNIQUE INDEX IF NOT EXISTS reading_key ON sensor_readings (source, sensor_id, seq);
{time_index}
CREATE TABLE IF NOT EXISTS anomaly_episodes (
    source {integer} NOT NULL,
    sensor_id TEXT NOT NULL,
    type TEXT NOT NULL,
    channel TEXT,
    first_seq {integer} NOT NULL,
    last_seq {integer} NOT NULL,
    start_time TEXT NOT NULL,
    end_time TEXT NOT NULL,
    parameters TEXT NOT NULL,
    PRIMARY KEY (source, sensor_id, first_seq)
);
CREATE TABLE IF NOT EXISTS epochs (
    source {integer} NOT NULL,
    sensor_id TEXT NOT NULL,
    first_seq {integer} NOT NULL,
    start_time TEXT NOT NULL,
    start_us {integer} NOT NULL,
    reason TEXT NOT NULL,
    run {integer} NOT NULL,
    seed TEXT NOT NULL,
    identity TEXT NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (source, sensor_id, first_seq)
);
-- Alarms: readings that came again with other content. The first stays in sensor_readings; this is the later one.
CREATE TABLE IF NOT EXISTS conflicts (
    source {integer} NOT NULL,
    sensor_id TEXT NOT NULL,
    seq {integer} NOT NULL,
    received_at TEXT NOT NULL,
    columns TEXT NOT NULL,
    reading TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS conflict_key ON conflicts (source, sensor_id, seq, {digest});
-- role is 'central', so that no sweep takes this for a sensor's database.
CREATE TABLE IF NOT EXISTS database_info (
    role TEXT NOT NULL,
    generation TEXT NOT NULL,
    schema_version {integer} NOT NULL
);
"""


def central_schema(dialect: str) -> str:
    """The CREATE statements for a dialect, `sqlite` or `postgres`."""
    return STATEMENTS.format(
        serial=SERIAL[dialect],
        real=REAL[dialect],
        integer=INTEGER[dialect],
        digest=DIGEST[dialect],
        time_column=TIME_COLUMN[dialect],
        time_index=TIME_INDEX[dialect],
    )

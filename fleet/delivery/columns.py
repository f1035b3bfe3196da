"""The tables of a central database, in SQL that SQLite and PostgreSQL both take but for the words in braces.

`sensor_readings` has the columns that a sensor's own database has, under the same names; `id` counts arrivals here, and
the key of a reading is (source, sensor_id, seq). Where the source has no seq, because another simulator wrote it, its
row id stands there.
"""

from __future__ import annotations

from worker.storage.schema import CHANNEL_COLUMNS, IDENTITY_COLUMNS, READING_COLUMNS

CENTRAL_SCHEMA_VERSION = 1

CENTRAL_ROLE = "central"

SERIAL = {"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT", "postgres": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}
REAL = {"sqlite": "REAL", "postgres": "DOUBLE PRECISION"}
INTEGER = {"sqlite": "INTEGER", "postgres": "BIGINT"}
# An index of PostgreSQL takes no text of more than 2.7 kB.
DIGEST = {"sqlite": "reading", "postgres": "hashtextextended(reading, 0)"}

DELIVERED_COLUMNS = (*READING_COLUMNS, *IDENTITY_COLUMNS)
"""What is known of a reading. `synced` stays behind: it is the source's own note."""

REAL_COLUMNS = (*CHANNEL_COLUMNS, "latitude", "longitude", "height_meters", "orientation_degrees")
INTEGER_COLUMNS = ("status_code", "anomaly_flag", "seq")
TEXT_COLUMNS = tuple(column for column in DELIVERED_COLUMNS if column not in (*REAL_COLUMNS, *INTEGER_COLUMNS))


STATEMENTS = """
-- Databases that readings came from. cursor: the last row id that has arrived.
CREATE TABLE IF NOT EXISTS sources (
    source {serial},
    generation TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    cursor {integer} NOT NULL DEFAULT 0
);
-- Deliveries. received_at is the clock of whoever wrote them here, in UTC.
CREATE TABLE IF NOT EXISTS batches (
    batch {serial},
    source {integer} NOT NULL,
    received_at TEXT NOT NULL,
    readings {integer} NOT NULL,
    token TEXT NOT NULL
);
-- source_id is the id in the source; extra has as JSON what columns the source has and this table has not.
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
    extra TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS reading_key ON sensor_readings (source, sensor_id, seq);
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
-- An alarm each: a reading that came again with other content. What was here first stays; this is what came later.
CREATE TABLE IF NOT EXISTS conflicts (
    source {integer} NOT NULL,
    sensor_id TEXT NOT NULL,
    seq {integer} NOT NULL,
    received_at TEXT NOT NULL,
    columns TEXT NOT NULL,
    reading TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS conflict_key ON conflicts (source, sensor_id, seq, {digest});
-- role: central, so that no sweep takes it for a sensor's.
CREATE TABLE IF NOT EXISTS database_info (
    role TEXT NOT NULL,
    generation TEXT NOT NULL,
    schema_version {integer} NOT NULL
);
"""


def central_schema(dialect: str) -> str:
    """The statements for `sqlite` or `postgres`."""
    return STATEMENTS.format(
        serial=SERIAL[dialect], real=REAL[dialect], integer=INTEGER[dialect], digest=DIGEST[dialect]
    )

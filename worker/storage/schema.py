"""The tables of a sensor database, and the JSON texts in them.

`sensor_readings` has the 27 columns of the original data set in their order, then `seq`, then the further columns of the
kinds of sensors in it. Its rows are never updated, except `synced`, which belongs to the collector.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from functools import lru_cache
from typing import Any, NamedTuple

import apsw

from worker.schedule import Schedule, format_time
from worker.spec import (
    CHANNEL_NAMES,
    SETTINGS_VERSION,
    AnomalySpec,
    AttributeRule,
    AttributeValue,
    Channel,
    ColumnType,
    Identity,
    Injection,
    Instrument,
    ReadingAttribute,
    Settings,
    SignalSpec,
    WorkingHours,
)
from worker.storage.sinks import Epoch

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS sensor_readings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp TEXT NOT NULL,
    sensor_id TEXT NOT NULL,
    temperature REAL,
    humidity REAL,
    pressure REAL,
    vibration REAL,
    voltage REAL,
    status_code INTEGER,
    anomaly_flag INTEGER,
    anomaly_type TEXT,
    synced INTEGER DEFAULT 0,
    firmware_version TEXT,
    model TEXT,
    manufacturer TEXT,
    serial_number TEXT,
    manufacture_date TEXT,
    location TEXT,
    latitude REAL,
    longitude REAL,
    original_timezone TEXT,
    deployment_type TEXT,
    installation_date TEXT,
    height_meters REAL,
    orientation_degrees REAL,
    instance_id TEXT,
    sensor_type TEXT,
    seq INTEGER NOT NULL
);
-- Ground truth. `channel` is the names joined by commas, NULL for whole readings; last_seq and end_time are inclusive.
CREATE TABLE IF NOT EXISTS anomaly_episodes (
    sensor_id TEXT NOT NULL,
    type TEXT NOT NULL,
    channel TEXT,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    start_time TEXT NOT NULL,
    end_time TEXT NOT NULL,
    parameters TEXT NOT NULL,
    PRIMARY KEY (sensor_id, first_seq)
) WITHOUT ROWID;
-- Everything that is needed to compute the readings from first_seq on again.
CREATE TABLE IF NOT EXISTS epochs (
    sensor_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    start_time TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    reason TEXT NOT NULL,
    run INTEGER NOT NULL,
    seed TEXT NOT NULL,
    identity TEXT NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (sensor_id, first_seq)
) WITHOUT ROWID;
-- next_seq: scheduled readings settled so far. incarnation: the only worker that may write.
CREATE TABLE IF NOT EXISTS checkpoints (
    sensor_id TEXT PRIMARY KEY,
    next_seq INTEGER NOT NULL,
    incarnation INTEGER NOT NULL
) WITHOUT ROWID;
-- role: live, rotated, backup, quarantined. generation: with sensor_id and seq, a reading's key in the world.
CREATE TABLE IF NOT EXISTS database_info (
    role TEXT NOT NULL,
    generation TEXT NOT NULL,
    schema_version INTEGER NOT NULL
);
"""

READINGS_KEY = "sensor_readings_key"
CREATE_READINGS_KEY = f"""
-- A reading is stored once, and the readings of an episode are found quickly. Databases of version 0.1.0 have no such index.
CREATE UNIQUE INDEX IF NOT EXISTS {READINGS_KEY} ON sensor_readings (sensor_id, seq);
"""

CHANNEL_COLUMNS = CHANNEL_NAMES

COLUMN_TYPES: dict[type, ColumnType] = {float: "REAL", int: "INTEGER", str: "TEXT"}

# The columns that are constant for a sensor, each with the field of its Identity.
IDENTITY_COLUMNS = {
    "sensor_id": "sensor_id",
    "firmware_version": "firmware_version",
    "model": "model",
    "manufacturer": "manufacturer",
    "serial_number": "serial_number",
    "manufacture_date": "manufacture_date",
    "location": "location",
    "latitude": "latitude",
    "longitude": "longitude",
    "original_timezone": "timezone",
    "deployment_type": "deployment_type",
    "installation_date": "installation_date",
    "height_meters": "height_meters",
    "orientation_degrees": "orientation_degrees",
    "instance_id": "instance_id",
    "sensor_type": "sensor_type",
}

# The columns that differ in every row, in the order in which rows are bound.
READING_COLUMNS = ("timestamp", *CHANNEL_COLUMNS, "status_code", "anomaly_flag", "anomaly_type", "seq")

STORED_COLUMNS = tuple(
    dict.fromkeys(("id", "timestamp", "sensor_id", *READING_COLUMNS[1:-1], "synced", *IDENTITY_COLUMNS, "seq"))
)
"""The columns of `sensor_readings` that every database has, in their order."""

CREATE_EMPTY_READINGS = f"""
-- The readings are not stored: they follow from the epochs up to the checkpoint.
CREATE VIEW sensor_readings AS SELECT {", ".join(f"NULL AS {name}" for name in STORED_COLUMNS)} WHERE 0;
"""

RESERVED_COLUMN_NAMES = frozenset(
    [
        "id",
        "synced",
        "source",
        "source_id",
        "batch",
        "extra",
        "time",
        "generation",
        "key",
        "received_at",
        "date",
        "hour",
        "identity",
        "rowid",
        "oid",
        "_rowid_",
        "tableoid",
        "ctid",
        "xmin",
        "xmax",
        "cmin",
        "cmax",
    ]
)
"""Names that no further column may have: those of the other columns of a target, and of SQLite and PostgreSQL themselves."""


class FurtherColumn(NamedTuple):
    """A column behind `seq`, which a kind of sensor has and the original data set did not."""

    name: str
    column_type: ColumnType


def further_columns(identity: Identity, settings: Settings) -> tuple[FurtherColumn, ...]:
    """Return the columns behind `seq` that a sensor has values for: its other channels, the attributes of its readings, its
    own attributes, in this order."""
    return (*further_reading_columns(settings), *further_identity_columns(identity))


def further_reading_columns(settings: Settings) -> tuple[FurtherColumn, ...]:
    """Return the further columns that differ in every row: other channels, then the attributes of a reading."""
    channels = [
        FurtherColumn(channel.name, "REAL") for channel in settings.channels if channel.name not in CHANNEL_NAMES
    ]
    return (*channels, *(FurtherColumn(attribute.name, attribute.column_type) for attribute in settings.attributes))


def create_tables(connection: apsw.Connection, *, readings: bool = True, key: bool = True) -> None:
    """Create the missing tables. The index of readings is created together with their table, and never for an older one,
    which may be large or have a reading twice; without `key` the caller creates it. A new database without `readings` has
    a view in the table's place.
    """
    new = not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sensor_readings'").get
    if new and not readings:
        connection.execute(CREATE_EMPTY_READINGS)
    connection.execute(SCHEMA)
    if new and readings and key:
        connection.execute(CREATE_READINGS_KEY)


def stores_readings(connection: apsw.Connection) -> bool:
    """Return whether the database stores readings; if not, they are computed again where they are needed."""
    return bool(connection.execute("SELECT type FROM main.sqlite_schema WHERE name = 'sensor_readings'").get != "view")


def has_readings_key(connection: apsw.Connection) -> bool:
    """Return whether the index of readings exists."""
    return bool(
        connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?", (READINGS_KEY,)).get
    )


def further_identity_columns(identity: Identity) -> tuple[FurtherColumn, ...]:
    """Return the further columns that are constant for a sensor. An attribute without a value needs none."""
    return tuple(
        FurtherColumn(name, COLUMN_TYPES[type(value)]) for name, value in identity.attributes if value is not None
    )


def further_identity_values(identity: Identity) -> tuple[AttributeValue, ...]:
    """Return the values of `further_identity_columns`."""
    return tuple(value for _, value in identity.attributes if value is not None)


def quote_identifier(name: str) -> str:
    """Return the name of a column or table as SQL has it: it may be a keyword."""
    return '"' + name.replace('"', '""') + '"'


@lru_cache(maxsize=256)
def insert_readings_sql(rows: int, varying: tuple[str, ...] = (), constant: tuple[str, ...] = ()) -> str:
    """Return an INSERT of that many readings of one sensor, with further columns that differ in every row (`varying`) or
    not (`constant`).

    The identity and the constant columns are bound once as ?1 .. ?16 and on, the columns of each row after it: binding
    the identity for every row would be most of the work.
    """
    reading_columns = (*READING_COLUMNS, *map(quote_identifier, varying))
    constant_columns = (*IDENTITY_COLUMNS, *map(quote_identifier, constant))
    begin = len(constant_columns)
    same = ",".join(f"?{number + 1}" for number in range(begin))
    width = len(reading_columns)
    values = (
        "(" + ",".join(f"?{begin + row * width + number + 1}" for number in range(width)) + f",{same})"
        for row in range(rows)
    )
    return f"INSERT INTO sensor_readings ({','.join((*reading_columns, *constant_columns))}) VALUES {','.join(values)}"


def identity_values(identity: Identity) -> tuple[str | float | None, ...]:
    """Return the values of IDENTITY_COLUMNS."""
    return tuple(getattr(identity, field) for field in IDENTITY_COLUMNS.values())


def epoch_values(epoch: Epoch) -> tuple[Any, ...]:
    """Return an epoch as a row of `epochs`, in the order of its columns."""
    schedule = epoch.schedule
    return (
        epoch.identity.sensor_id,
        schedule.first_seq,
        format_time(schedule.start_us),
        schedule.start_us,
        epoch.reason,
        epoch.run,
        str(epoch.seed),
        json.dumps(identity_to_json(epoch.identity), separators=(",", ":"), ensure_ascii=False),
        settings_text(epoch.settings),
    )


@lru_cache(maxsize=64)
def settings_text(settings: Settings) -> str:
    """Return settings as JSON text. Cached: the sensors of a pack share their settings, and each writes an epoch."""
    return json.dumps(settings_to_json(settings), separators=(",", ":"), ensure_ascii=False)


def epoch_from_row(
    first_seq: int, start_us: int, reason: str, run: int, seed: str, identity: str, settings: str
) -> Epoch:
    """Return the epoch of a row of `epochs`. Raises ValueError, TypeError or KeyError for a damaged row."""
    parsed = settings_from_json(json.loads(settings))
    schedule = Schedule(first_seq, start_us, parsed.exact_rate)
    return Epoch(int(seed), run, reason, identity_from_json(json.loads(identity)), parsed, schedule)


def identity_to_json(identity: Identity) -> dict[str, Any]:
    """Return an identity as `identity_from_json` reads it. The key `attributes` is left out if there are none."""
    stored = asdict(identity)
    if not identity.attributes:
        del stored["attributes"]
    return stored


def identity_from_json(stored: dict[str, Any]) -> Identity:
    """Return the identity that `identity_to_json` made. Raises ValueError, TypeError or KeyError."""
    attributes = tuple((name, value) for name, value in stored.get("attributes", ()))
    return Identity(**{**stored, "attributes": attributes})


def defaults(data_class: type[Any]) -> dict[str, Any]:
    return {field.name: field.default for field in fields(data_class)}


ADDED_FIELDS: dict[str, dict[str, Any]] = {
    name: {key: value for key, value in defaults(data_class).items() if key in added}
    for name, data_class, added in (
        ("settings", Settings, ("injection", "attributes", "version", "overlap", "jitter", "placement")),
        ("channel", Channel, ("daily_peak", "daily_trough", "signals", "instrument")),
        ("anomaly", AnomalySpec, ("lengths", "longest")),
    )
}
"""Fields that version 0.1.0 did not have, with their defaults; they are left out where they have their default."""


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Return settings as `settings_from_json` reads them. What version 0.1.0 did not have is left out where it has its
    default."""
    stored = without_defaults("settings", settings, asdict(settings))
    pairs = zip(settings.channels, stored["channels"], strict=True)
    stored["channels"] = [without_defaults("channel", channel, values) for channel, values in pairs]
    anomalies = zip(settings.anomalies, stored["anomalies"], strict=True)
    stored["anomalies"] = [without_defaults("anomaly", anomaly, values) for anomaly, values in anomalies]
    if settings.injection is not None:
        injection = stored["injection"]
        injection["anomaly"] = without_defaults("anomaly", settings.injection.anomaly, injection["anomaly"])
    return stored


def without_defaults(name: str, value: object, stored: dict[str, Any]) -> dict[str, Any]:
    absent = [key for key, default in ADDED_FIELDS[name].items() if getattr(value, key) == default]
    return {key: each for key, each in stored.items() if key not in absent}


def settings_from_json(stored: dict[str, Any]) -> Settings:
    """Return the settings that `settings_to_json` made. Raises ValueError, TypeError or KeyError."""
    anomalies = tuple(anomaly_from_json(spec) for spec in stored["anomalies"])
    channels = tuple(channel_from_json(channel) for channel in stored["channels"])
    hours = WorkingHours(**stored.get("working_hours", {}))  # missing in epochs of older versions
    injection = injection_from_json(stored["injection"]) if stored.get("injection") is not None else None
    attributes = tuple(attribute_from_json(attribute) for attribute in stored.get("attributes", ()))
    version = stored.get("version", 1)
    if version not in range(1, SETTINGS_VERSION + 1):
        raise ValueError(f"settings of version {version!r} are not known to this version of the program")
    return Settings(
        stored["rate"],
        channels,
        anomalies,
        stored["mode"],
        hours,
        injection,
        attributes,
        version,
        stored.get("overlap", "none"),
        stored.get("jitter", 0.0),
        stored.get("placement", "even"),
    )


def channel_from_json(stored: dict[str, Any]) -> Channel:
    signals = tuple(
        SignalSpec(signal["name"], tuple((name, value) for name, value in signal["parameters"]))
        for signal in stored.get("signals", ())
    )
    return Channel(**{**stored, "signals": signals, "instrument": Instrument(**stored.get("instrument", {}))})


def attribute_from_json(stored: dict[str, Any]) -> ReadingAttribute:
    rules = tuple(
        AttributeRule(**{**rule, "values": tuple(rule["values"]), "weights": tuple(rule["weights"])})
        for rule in stored["rules"]
    )
    return ReadingAttribute(stored["name"], stored["column_type"], rules)


def injection_from_json(stored: dict[str, Any]) -> Injection:
    return Injection(**{**stored, "anomaly": anomaly_from_json(stored["anomaly"])})


def anomaly_from_json(stored: dict[str, Any]) -> AnomalySpec:
    return AnomalySpec(
        **{
            **stored,
            "parameters": tuple((name, value) for name, value in stored["parameters"]),
            "channel_odds": tuple((name, value) for name, value in stored["channel_odds"]),
        }
    )

"""A staged fleet of sensors of different kinds: other channels, the same channel in another unit, attributes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import apsw
import numpy as np

from fleet.datadir.roster import Member
from tests.fleet.staged import SECOND_NS, START, StagedFleet
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import Block, SignalGenerator
from worker.spec import AnomalySpec, AttributeRule, Channel, ColumnType, Identity, ReadingAttribute, Settings, StoreSpec
from worker.storage.database import Database
from worker.storage.schema import further_columns
from worker.storage.sinks import Epoch, Portion

SEED = 7
START_US = int(START.timestamp()) * 1_000_000
ANOMALIES = (
    AnomalySpec("spike", 0.05, 5, "readings"),
    AnomalySpec("noise", 0.1, 40, "readings"),
    AnomalySpec("trend", 0.1, 60, "readings"),
)


def channel(name: str, unit: str, mean: float, decimals: int = 2) -> Channel:
    size = abs(mean)
    return Channel(name, unit, mean, size * 0.02, 0.0, size * 2, 0.0, size * 4, decimals)


def attribute(name: str, healthy: str | int, anomalous: str | int) -> ReadingAttribute:
    rules = (AttributeRule(anomalous=True, values=(anomalous,), weights=(1.0,)),)
    column_type: ColumnType = "TEXT" if isinstance(healthy, str) else "INTEGER"
    return ReadingAttribute(name, column_type, (*rules, AttributeRule(values=(healthy,), weights=(1.0,))))


ROOM = Settings("1", (channel("temperature", "°C", 22.0), channel("humidity", "%", 45.0)), ANOMALIES)

PIPELINE = Settings(
    "1",
    (
        channel("flow_rate", "gpm", 650.0, 1),
        channel("temperature", "fahrenheit", 110.0, 1),
        channel("line_pressure", "psi", 1210.0, 1),
        channel("vibration", "mm/s²", 0.51, 3),
        channel("ph_level", "", 7.2),
        channel("leak_rate", "ppm", 0.0021, 6),
        channel("density", "kg/m³", 861.0, 1),
        channel("valve_position", "%", 55.0),
    ),
    ANOMALIES,
    attributes=(attribute("status", "OK", "ALERT"), attribute("alert_level", 0, 2)),
)
COUNTER = Settings("1", (channel("people", "persons", 14.0, 0),), ANOMALIES)

KINDS: dict[str, Settings] = {"environmental_monitoring": ROOM, "pipeline": PIPELINE, "people_counter": COUNTER}
ATTRIBUTES = {"pipeline": (("pipeline_id", "PIPE-NORTH-7"), ("mile_post", 12.4), ("crew", None))}
LOCATIONS = (("Berlin, DE", 52.52, 13.405), ("Houston, TX, USA", 29.76, -95.37), ("Lagos, NG", 6.45, 3.39))


def mixed_sensor(number: int) -> str:
    return f"{('ROOM', 'PIPE', 'DOOR')[number % 3]}_{number:06d}"


class MixedFleet(StagedFleet):
    """Sensors of the three KINDS in turn."""

    def __init__(self, data: Path, sensors: int = 6) -> None:
        super().__init__(data, sensors)
        self.scoreboard.rows["values"] = np.nan

    def member(self, number: int) -> Member:
        kind = list(KINDS)[number % 3]
        location, latitude, longitude = LOCATIONS[number // 2 % 3]
        plain = super().member(number)
        identity = replace(
            plain.identity,
            sensor_id=mixed_sensor(number),
            sensor_type=kind,
            location=location,
            latitude=latitude,
            longitude=longitude,
            attributes=ATTRIBUTES.get(kind, ()),
        )
        channels = tuple((each.name, each.unit) for each in KINDS[kind].channels)
        database = self.data / f"{identity.sensor_id}.db"
        return replace(
            plain, worker=identity.sensor_id, database=database, channels=channels, identity=identity, rate=1.0
        )

    def settings(self, number: int) -> Settings:
        return KINDS[self.members[number].identity.sensor_type or ""]

    def write(self, number: int, readings: int, kind: str | None = None) -> None:
        """Commit that many readings of a sensor, with the columns of its kind. `kind` is not used: anomalies occur as in
        the settings."""
        identity, settings = self.members[number].identity, self.settings(number)
        generator = SignalGenerator(SEED, identity, settings, 0, START_US)
        block = generator.block(0, readings)
        path = self.members[number].database
        database = Database(StoreSpec(path))
        database.claim([identity], 1)
        epoch = Epoch(SEED, 1, "start", identity, settings, generator.schedule)
        database.deliver([Portion(identity, settings, generator.schedule, 0, block, epoch)])
        database.close()
        add_further_columns(path, identity, settings, block)
        self.show(number, block)

    def show(self, number: int, block: Block) -> None:
        """Put the last reading of a block on the scoreboard."""
        kinds = block.kinds[block.kinds >= 0].tolist()
        with self.scoreboard.row(number) as row:
            row["readings"] = row["next_seq"] = block.end
            row["commits"], row["committed_at_us"] = block.end, int(time.time() * 1_000_000)
            row["timestamp_us"], row["anomaly"] = block.times[-1], block.kinds[-1]
            row["heartbeat_ns"] = time.monotonic_ns() + 3600 * SECOND_NS  # no sensor hangs while a browser looks at it
            row["values"][: len(block.values)] = block.values[:, -1]
            row["anomalies"] = np.bincount(kinds, minlength=len(ANOMALY_TYPES))


def add_further_columns(path: Path, identity: Identity, settings: Settings, block: Block) -> None:
    """Add the columns of a kind behind `seq`, with their values, unless they are there."""
    names = [channel.name for channel in settings.channels]
    values = dict(zip(names, block.values.tolist(), strict=True))
    values |= {each.name: column for each, column in zip(settings.attributes, block.attributes, strict=True)}
    values |= {name: [value] * len(block.kinds) for name, value in identity.attributes}
    connection = apsw.Connection(str(path))
    there = {name for _, name, *_ in connection.execute("PRAGMA table_info(sensor_readings)")}
    with connection:
        for column in further_columns(identity, settings):
            if column.name in there:
                continue
            connection.execute(f'ALTER TABLE sensor_readings ADD COLUMN "{column.name}" {column.column_type}')
            rows = [(value, block.first + number) for number, value in enumerate(values[column.name])]
            connection.executemany(f'UPDATE sensor_readings SET "{column.name}" = ? WHERE seq = ?', rows)
    connection.close()


def mixed_with_readings(data: Path, sensors: int = 6, readings: int = 300) -> MixedFleet:
    staged = MixedFleet(data, sensors)
    for number in range(sensors):
        staged.write(number, readings + number)
    return staged

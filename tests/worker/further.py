"""Settings and identities with columns beyond those of the original data set, and generators that fill them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.worker.samples import (
    ANOMALIES,
    IDENTITY,
    MISSING,
    NEW_YEAR,
    SECOND_US,
    SPIKE,
    TEMPERATURE,
    run,
    settings,
    with_catch_up,
)
from worker.readings.attributes import AttributeColumn
from worker.readings.generator import Block, SignalGenerator
from worker.sensor import Sensor
from worker.spec import (
    AttributeRule,
    AttributeValue,
    Channel,
    Identity,
    ReadingAttribute,
    SensorSpec,
    Settings,
    StoreSpec,
)
from worker.storage.database import Database

CO2 = Channel("co2", "ppm", 600.0, 50.0, 300.0, 5000.0, 0.0, 10000.0, 1)
POWER = Channel("power", "kW", 900.0, 90.0, 0.0, 2000.0, 0.0, 4000.0, 1)
ORDER = Channel("order", "1", 3.0, 0.5, 0.0, 9.0, 0.0, 9.0, 2)
"""Its name is a keyword of SQL."""

STATUS = ReadingAttribute(
    "status",
    "TEXT",
    (AttributeRule(anomalous=True, values=("ALERT",), weights=(1.0,)), AttributeRule(values=("OK",), weights=(1.0,))),
)
QUALITY = ReadingAttribute("quality", "REAL", (AttributeRule(low=0.5, high=1.0, decimals=3),))
ALERT_LEVEL = ReadingAttribute("alert_level", "INTEGER", (AttributeRule(values=(0,), weights=(1.0,)),))

AIR = Settings("1", (TEMPERATURE, CO2, ORDER), ANOMALIES, attributes=(STATUS, QUALITY, ALERT_LEVEL))
AIR_IDENTITY = replace(IDENTITY, attributes=(("room", "4.12"), ("floor", 4), ("volume", 61.5), ("owner", None)))
AIR_COLUMNS = ("co2", "order", "status", "quality", "alert_level", "room", "floor", "volume")

TURBINE = Settings("1", (POWER, TEMPERATURE), (SPIKE, MISSING), attributes=(STATUS,))
TURBINE_IDENTITY = replace(IDENTITY, sensor_id="TUR_000001", attributes=(("park", "North 1"),))
TURBINE_COLUMNS = ("power", "status", "park")

PLAIN_IDENTITY = replace(IDENTITY, sensor_id="PLA_000001")


def filled(block: Block, settings: Settings) -> Block:
    """Return the block with values of the settings' attributes, unless it has them."""
    if block.attributes or not settings.attributes:
        return block
    seqs = range(block.first, block.end)
    values: dict[str, list[AttributeValue]] = {
        "TEXT": ["OK" if kind < 0 else "ALERT" for kind in block.kinds.tolist()],
        "REAL": [round(0.5 + seq % 499 / 1000, 3) for seq in seqs],
        "INTEGER": [seq % 7 for seq in seqs],
    }
    return block._replace(
        attributes=tuple(column_of(values[attribute.column_type]) for attribute in settings.attributes)
    )


def column_of(values: Sequence[AttributeValue]) -> AttributeColumn:
    return AttributeColumn(tuple(values), np.arange(len(values)))


@pytest.fixture
def attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every generator of this process fill the attributes of its readings."""
    computed = SignalGenerator.block

    def block(self: SignalGenerator, first: int, count: int) -> Block:
        return filled(computed(self, first, count), self.settings)

    monkeypatch.setattr(SignalGenerator, "block", block)


class Writer:
    """Sensors of several kinds and the database that they share."""

    def __init__(self, path: Path, *sensors: tuple[Identity, Settings], incarnation: int = 1, **store: Any) -> None:
        self.run = with_catch_up(run())
        self.sink = Database(StoreSpec(path, **store))
        self.specs = [
            SensorSpec(identity, sensor_settings, row) for row, (identity, sensor_settings) in enumerate(sensors)
        ]
        positions = self.sink.claim([spec.identity for spec in self.specs], incarnation)
        self.sensors = [Sensor(spec, self.run, position) for spec, position in zip(self.specs, positions, strict=True)]

    def deliver(self, seconds: float) -> None:
        due = NEW_YEAR + round(seconds * SECOND_US)
        portions = [
            (sensor, portion) for sensor in self.sensors for portion in sensor.portions(due, 100_000, final=False)
        ]
        self.sink.deliver([portion for _, portion in portions])
        for sensor, portion in portions:
            sensor.commit(portion)

    def change(self, number: int, sensor_settings: Settings, identity: Identity | None = None) -> None:
        """Continue a sensor with other settings, as after a reload."""
        spec = self.specs[number]
        self.sensors[number].change(replace(spec, settings=sensor_settings, identity=identity or spec.identity))


def kinds_writer(path: Path, incarnation: int = 1, **store: Any) -> Writer:
    """Return a writer of sensors of three kinds."""
    sensors = ((AIR_IDENTITY, AIR), (TURBINE_IDENTITY, TURBINE), (PLAIN_IDENTITY, settings(*ANOMALIES)))
    return Writer(path, *sensors, incarnation=incarnation, **store)


def become_turbine(writer: Writer) -> None:
    """Make the first sensor of `kinds_writer` another kind."""
    writer.change(0, TURBINE, replace(AIR_IDENTITY, attributes=(("park", "South"),)))


def write_kinds(path: Path, seconds: float = 500) -> None:
    """Write a database of three kinds, the first with a reload to another kind in the middle."""
    writer = kinds_writer(path)
    writer.deliver(seconds / 2)
    become_turbine(writer)
    writer.deliver(seconds)
    writer.sink.close()


def write_rotated_kinds(path: Path) -> list[Path]:
    """Write the same with rotations, before and after the reload. Return the files in their order."""
    writer = kinds_writer(path, max_bytes=200_000)
    for number in range(20):
        writer.deliver(100 * number)
        if number == 10:
            become_turbine(writer)
    writer.sink.close()
    return [*sorted(path.parent.glob(f"{path.stem}.rotated-*.db")), path]

"""Lines that are put together from parts are those that `json.dumps` makes of the records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from fleet.config.config import load_config
from fleet.resources import resource_path
from fleet.streaming.lines import LineFormatter
from fleet.streaming.sensors import StreamSensor, stream_sensors
from fleet.streaming.stream import StreamReadings
from tests.worker.further import column_of
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import HEALTHY_INDEX, MISSING_DATA_INDEX, Block, SignalGenerator
from worker.schedule import Schedule
from worker.spec import AttributeValue, Channel, ColumnType, Identity, Instrument, ReadingAttribute, Settings
from worker.storage.schema import IDENTITY_COLUMNS, SCHEMA

NEW_YEAR = 1_767_225_600_000_000
KINDS = tuple(path.stem for path in sorted(resource_path("kinds").glob("*.yaml")))


def database_value(value: Any, column_type: str) -> Any:
    """A value as a column of that type has it: SQLite has no negative zero."""
    return value if value is None or column_type != "REAL" else float(value) + 0.0


def plain_record(sensor: StreamSensor, block: Block, number: int) -> dict[str, Any]:
    """The record of a reading, field by field."""
    identity, behaviour = sensor
    time = str(np.datetime64(int(block.times[number]), "us"))
    kind = int(block.kinds[number])
    values = {
        channel.name: float(block.values[index, number]) + 0.0 for index, channel in enumerate(behaviour.channels)
    }
    attributes = {
        attribute.name: database_value(block.attributes[index][number], attribute.column_type)
        for index, attribute in enumerate(behaviour.attributes)
    }
    own = dict(identity.attributes)
    if {"type", "unit", "pipeline_id", "mile_post"} <= own.keys() and "alert_level" in attributes:
        (value,) = values.values()
        return {
            "sensor_id": identity.sensor_id,
            "timestamp": f"{time}Z",
            "type": own["type"],
            "value": value,
            "unit": own["unit"],
            "location": {"lat": identity.latitude, "lon": identity.longitude, "mile_post": own["mile_post"]},
            "pipeline_id": own["pipeline_id"],
            "status": attributes["status"],
            "quality_score": attributes["quality_score"],
            "alert_level": attributes["alert_level"],
        }
    columns = [line.split()[0] for line in SCHEMA.split("(", 1)[1].split(");")[0].splitlines() if line.strip()]
    anomaly = None if kind == HEALTHY_INDEX else ANOMALY_TYPES[kind]
    row: dict[str, Any] = {name: None for name in columns if name not in ("id", "synced")}
    row |= {name: getattr(identity, field) for name, field in IDENTITY_COLUMNS.items()}
    row |= {"timestamp": f"{time}+00:00", "seq": block.first + number, "anomaly_type": anomaly}
    row |= dict.fromkeys(("status_code", "anomaly_flag"), int(anomaly is not None))
    return row | values | attributes | {name: value for name, value in own.items() if value is not None}


def plain_lines(sensors: Sequence[StreamSensor], blocks: Sequence[Block]) -> list[str]:
    """The lines of blocks with the same sequence numbers, sensor after sensor for each number."""
    return [
        json.dumps(plain_record(sensor, block, number), separators=(",", ":"))
        for number in range(blocks[0].size)
        for sensor, block in zip(sensors, blocks, strict=True)
        if block.kinds[number] != MISSING_DATA_INDEX
    ]


def fast_lines(sensors: Sequence[StreamSensor], blocks: Sequence[Block]) -> list[str]:
    formatter = LineFormatter(sensors, blocks[0].size)
    formatter.load(blocks)
    formatted = formatter.format(blocks[0].first, blocks[0].end)
    lines = formatted.lines(0, len(formatted))
    assert lines.records == lines.text.count("\n")
    return lines.text.splitlines()


def sensors_of(kinds: dict[str, str], count: int, rate: str = "10") -> list[StreamSensor]:
    overrides = {"replicas.kinds": kinds, "replicas.count": count, "simulation.readings_per_second": rate}
    return stream_sensors(load_config(None, {}, {"sensor.type": next(iter(kinds)), **overrides}), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_lines_of_its_records(kind: str) -> None:
    sensors = sensors_of({kind: "1"}, 10)
    blocks = [SignalGenerator(3, *sensor, 0, NEW_YEAR).block(0, 1000) for sensor in sensors]
    expected = plain_lines(sensors, blocks)

    assert expected == fast_lines(sensors, blocks)


def test_kinds_mix() -> None:
    """Their records have different fields."""
    sensors = sensors_of(dict.fromkeys(KINDS, "1"), 60)
    blocks = [SignalGenerator(3, *sensor, 0, NEW_YEAR).block(0, 300) for sensor in sensors]

    assert 1 < len({tuple(json.loads(line)) for line in fast_lines(sensors, blocks)})
    assert plain_lines(sensors, blocks) == fast_lines(sensors, blocks)


NAMES = some.text(max_size=8) | some.sampled_from(
    ['O"Hare', "Zürich", "São Paulo", "back\\slash", "東京", "line\nbreak"]
)
NUMBERS = some.floats(-1e6, 1e6, allow_nan=False)


COLUMN_TYPES: tuple[ColumnType, ...] = ("REAL", "TEXT")
NUMBER_GRADES: list[AttributeValue] = [1, 1.0, -0.0, 0.07, 1e-7]


@some.composite
def channels(draw: some.DrawFn, name: str) -> Channel:
    """A channel of any range and decimals."""
    decimals = draw(some.integers(0, 9))
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    resolution = draw(some.sampled_from([0.0, 0.25, 5.0]))
    return Channel(name, "", 0.0, 1.0, low, high, low, high, decimals, instrument=Instrument(resolution=resolution))


@some.composite
def sensors_and_blocks(draw: some.DrawFn) -> tuple[list[StreamSensor], list[Block]]:
    """Sensors of equal columns or not, and readings with values at the limits, zeros of both signs and NULLs."""
    count = draw(some.integers(1, 6))
    first = draw(some.sampled_from([0, 7, 99_999]))
    sensors, blocks = [], []
    for number in range(draw(some.integers(1, 3))):
        names = draw(some.sampled_from([("temperature",), ("wind", "pressure"), ("wind", "temperature", 'q"')]))
        measured = tuple(draw(channels(name)) for name in names)
        column_type = draw(some.sampled_from(COLUMN_TYPES))
        attribute = ReadingAttribute("grade", column_type, ())
        identity = Identity(
            draw(NAMES),
            location=draw(some.none() | NAMES),
            latitude=draw(some.none() | NUMBERS),
            attributes=(("sité", draw(NAMES | NUMBERS | some.integers(-9, 9) | some.none())),),
        )
        times = Schedule(first, NEW_YEAR + number, Fraction(draw(some.sampled_from([1, 7, 1000])), 3)).times(
            first, count
        )
        raw = [
            [draw(some.sampled_from([c.lowest, c.highest, -0.0, 0.1 + 0.2]) | NUMBERS) for _ in range(count)]
            for c in measured
        ]
        values = np.array([
            np.rint(np.clip(line, c.lowest, c.highest) * 10.0**c.decimals) / 10.0**c.decimals
            for line, c in zip(raw, measured, strict=True)
        ])  # fmt: skip
        kinds = draw(some.lists(some.integers(-1, len(ANOMALY_TYPES) - 1), min_size=count, max_size=count))
        grades: list[AttributeValue] = [
            draw(some.none() | (NAMES if column_type == "TEXT" else some.sampled_from(NUMBER_GRADES)))
            for _ in range(count)
        ]
        sensors.append(StreamSensor(identity, Settings("1", measured, attributes=(attribute,))))
        blocks.append(Block(first, times, np.array(kinds, dtype=np.int8), values, (), (column_of(grades),)))
    return sensors, blocks


@settings(max_examples=60, deadline=None)
@given(sensors_and_blocks())
def test_any_readings_have_the_lines_of_their_records(drawn: tuple[list[StreamSensor], list[Block]]) -> None:
    """Negative values, zero, decimals, NULL, names with quotes or of other scripts."""
    assert plain_lines(*drawn) == fast_lines(*drawn)


def test_the_parts_in_which_a_stream_is_taken_do_not_matter() -> None:
    sensors = sensors_of({"environmental": "1"}, 7)
    whole = StreamReadings(sensors, 3, Fraction(70), NEW_YEAR)
    parts = StreamReadings(sensors, 3, Fraction(70), NEW_YEAR)
    text = ""
    while text.count("\n") < 10_000:
        text += whole.take(1_000_000).text
    taken = ""
    size = 1
    while len(taken) < len(text):
        taken += parts.take(size).text
        size = size % 997 + 13

    assert taken.startswith(text)


def test_records_are_in_the_order_of_time() -> None:
    """A sensor reads every tenth of a second, another one between."""
    readings = StreamReadings(sensors_of({"pipeline": "1"}, 30), 3, Fraction(300), NEW_YEAR)
    records = [json.loads(line) for line in readings.take(600).text.splitlines()]

    times = np.array([np.datetime64(record["timestamp"][:-1]) for record in records]).astype(np.int64)
    assert (times - NEW_YEAR).tolist() == [-(-(number * 20_000 - 3) // 6) for number in range(600)]
    assert [record["sensor_id"] for record in records] == [records[number % 30]["sensor_id"] for number in range(600)]

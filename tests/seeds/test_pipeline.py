"""Document 003: telemetry of pipelines, as a sensor that keeps its place sends it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, load_config
from fleet.config.settings import fleet_settings
from fleet.identities.files import read_identity, write_identity
from fleet.identities.provisioning import generator_for
from fleet.verify.verification import verify
from tests.process.evidence import open_database
from tests.process.running_fleet import fleet
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import HEALTHY_INDEX, SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.spec import AttributeValue, Identity

RANGES = {
    "pressure": ("psi", 200, 1500),
    "temperature": ("fahrenheit", -20, 180),
    "flow_rate": ("bbl/hr", 0, 50_000),
    "vibration": ("mm/s", 0, 25),
    "corrosion": ("mpy", 0, 50),
    "humidity": ("percent", 0, 100),
    "gas_detector": ("ppm", 0, 1000),
    "valve_position": ("percent", 0, 100),
}
"""The table of the document: type, unit and range."""
PER_SENSOR = 2000
NEW_YEAR = 1_767_225_600_000_000


class Telemetry(NamedTuple):
    """The readings of one sensor, which has one quantity. `anomalous` marks those that are no healthy ones."""

    identity: Identity
    values: FloatArray
    anomalous: FloatArray
    attributes: Mapping[str, Sequence[AttributeValue]]

    @property
    def constants(self) -> dict[str, AttributeValue]:
        return dict(self.identity.attributes)

    @property
    def range(self) -> tuple[float, float]:
        return RANGES[str(self.constants["type"])][1:]


def config() -> Config:
    return load_config(None, {}, {"sensor.type": "pipeline", "replicas.count": 100})


@cache
def identities() -> list[Identity]:
    generator = generator_for(config(), load_catalogue(), 3)
    return [generator.generate(number).identity for number in range(1, 101)]


@cache
def telemetry() -> list[Telemetry]:
    """A hundred sensors, every tenth of a second."""
    found = []
    for identity, settings in zip(identities(), fleet_settings(config(), load_catalogue(), identities()), strict=True):
        block = SignalGenerator(3, identity, settings, 0, NEW_YEAR).block(0, PER_SENSOR)
        (values,) = block.values
        names = [each.name for each in settings.attributes]
        anomalous = block.kinds != HEALTHY_INDEX
        assert {"out_of_range"} == {ANOMALY_TYPES[kind] for kind in block.kinds[anomalous]}
        found.append(Telemetry(identity, values, anomalous, dict(zip(names, block.attributes, strict=True))))
    return found


@pytest.mark.claim("003.sensor-types.1", "003.features.2")
def test_the_eight_types_have_their_units_and_ranges() -> None:
    """Healthy values are within the range, whose limits are those of the channel."""
    units = {(each.constants["type"], each.constants["unit"]) for each in telemetry()}

    assert {(name, unit) for name, (unit, _, _) in RANGES.items()} == units
    for each in telemetry():
        healthy, (low, high) = each.values[each.anomalous == 0], each.range
        assert low <= healthy.min() <= healthy.max() <= high
    channels = load_catalogue().sensor_type("pipeline").channels
    assert {name: each[1:] for name, each in RANGES.items()} == {
        name: (channel.min, channel.max) for name, channel in channels.items()
    }


@pytest.mark.claim("003.sample-output.1")
def test_ids_are_like_that_of_the_document() -> None:
    """SNS-flo-2977: three letters of the type, four digits."""
    for each in telemetry():
        kind = str(each.constants["type"])[:3]
        assert re.fullmatch(rf"SNS-{kind}-\d{{4}}", each.identity.sensor_id)
    assert 100 == len({each.identity.sensor_id for each in telemetry()})


@pytest.mark.claim("003.features.4", "003.sample-output.2")
def test_there_are_eight_pipelines_and_a_mile_post_on_each() -> None:
    """In the United States, with coordinates."""
    pipelines = Counter(each.constants["pipeline_id"] for each in telemetry())
    posts = [each.constants["mile_post"] for each in telemetry()]

    assert 8 == len(pipelines)
    assert all(re.fullmatch(r"PIPE-[A-Z]{2}-\d{3}", str(name)) for name in pipelines)
    assert "PIPE-LA-001" in pipelines
    assert all(isinstance(post, float) and 0 <= post <= 500 and post == round(post, 1) for post in posts)
    assert all(18 < (each.latitude or 0) < 72 and -180 < (each.longitude or 0) < -65 for each in identities())


@pytest.mark.claim("003.features.3")
def test_2_percent_of_readings_exceed_the_range_by_at_most_20_percent() -> None:
    """These and no others."""
    outside, largest = [], 0.0
    for each in telemetry():
        low, high = each.range
        beyond = np.maximum(each.values - high, low - each.values)
        assert ((beyond > 0) == (each.anomalous != 0)).all()
        assert beyond.max() <= 0.2 * (high - low) * 1.0001
        outside.append((beyond > 0).mean())
        largest = max(largest, beyond.max() / (high - low))

    assert 0.018 < np.mean(outside) < 0.022
    assert largest > 0.19


@pytest.mark.claim("003.features.5", "003.features.6", "003.sample-output.3")
def test_an_anomaly_raises_status_and_alert_level_and_lowers_the_quality() -> None:
    """A healthy reading is normal, low and of good quality."""
    states: dict[bool, set[tuple[AttributeValue, ...]]] = {True: set(), False: set()}
    quality: dict[bool, list[float]] = {True: [], False: []}
    for each in telemetry():
        rows = zip(
            each.anomalous, *(each.attributes[name] for name in ("status", "alert_level", "quality_score")), strict=True
        )
        for anomalous, status, alert, score in rows:
            states[bool(anomalous)].add((status, alert))
            quality[bool(anomalous)].append(float(score or 0))

    assert {("normal", "low")} == states[False]
    assert {(status, alert) for status in ("warning", "critical") for alert in ("medium", "high")} == states[True]
    assert (0.85, 1.0) == (min(quality[False]), max(quality[False]))
    assert (0.5, 0.8) == (min(quality[True]), max(quality[True]))


@pytest.mark.claim("003.features.4")
def test_a_sensor_keeps_id_type_pipeline_and_place(tmp_path: Path) -> None:
    """They are in its file, and the same seed and number give them again."""
    generator = generator_for(config(), load_catalogue(), 3)
    for number in (1, 50, 100):
        sensor = generator.generate(number)
        path = write_identity(tmp_path, sensor)
        assert identities()[number - 1] == sensor.identity == read_identity(path).identity
        assert {"type", "unit", "pipeline_id", "mile_post"} == set(json.loads(path.read_text())["attributes"])


@pytest.mark.process
@pytest.mark.claim(
    "003.features.1", "003.quick-start.1", "003.sample-output.2", "003.command-line.2", "003.command-line.3"
)
def test_100_sensors_make_10_000_readings_a_second(tmp_path: Path) -> None:
    """Every one that is due in two seconds is in a database, with all that the document's sample has."""
    kind = ("--kind", "pipeline", "--replicas", 100, "--rate", 100, "--seed", 3)
    ran = fleet("up", *kind, "--for", "2s", "--no-http", "--data", "data", cwd=tmp_path)
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    places: Counter[str] = Counter()
    rows = 0
    for path in (tmp_path / "data").glob("*.db"):
        with open_database(path) as connection:
            found = connection.execute(
                "SELECT sensor_id, type, unit, pipeline_id, mile_post, latitude, longitude, count(*), "
                "count(status), count(quality_score), count(alert_level) FROM sensor_readings GROUP BY 1, 2, 3, 4, 5, 6, 7"
            )
            for sensor, *_, readings, statuses, scores, alerts in found:
                places[sensor] += 1
                rows += readings
                assert readings == statuses == scores == alerts

    assert 20_000 == rows
    assert {1} == set(places.values())
    assert 100 == len(places)
    assert verify(tmp_path / "data", complete=True).ok

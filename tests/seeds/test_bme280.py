"""Document 004: a BME280 that drifts, has a daily rhythm and shows the weather; its test ideas over many readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from fleet.identities.provisioning import generator_for
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import Block, SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.spec import AttributeValue, Identity, Settings

CATALOGUE = load_catalogue()
PLACE = Identity("bme280_001", sensor_type="bme280", location="Test bench", timezone="UTC")
NEW_YEAR = 1_767_225_600_000_000
HOURS_OF_A_DAY = 24
TEST_SETTINGS = {
    "TEMP_MIN": "15.0",
    "TEMP_MAX": "30.0",
    "HUMIDITY_MIN": "20.0",
    "HUMIDITY_MAX": "80.0",
    "PRESSURE_MIN": "995.0",
    "PRESSURE_MAX": "1030.0",
    "ADD_NOISE": "false",
    "ENABLE_DAILY_PATTERN": "false",
    "ENABLE_WEATHER_EVENTS": "false",
}
"""The settings of the document's tests."""
FAULTS = ("power_up", "stuck_at_limit", "uncompensated")
EVERY_10_S = {"INTERVAL_SECONDS": "10"}


class Readings(NamedTuple):
    """Readings of one sensor; `values` has shape (channels, readings)."""

    block: Block
    values: FloatArray
    attributes: Mapping[str, Sequence[AttributeValue]]


def read(
    count: int,
    environment: Mapping[str, str] = EVERY_10_S,
    identity: Identity = PLACE,
    seed: int = 4,
    anomalies: bool = False,
) -> Readings:
    settings = settings_of(tuple(environment.items()), identity.sensor_type or "", anomalies)
    block = SignalGenerator(seed, identity, settings, 0, NEW_YEAR).block(0, count)
    values = np.array([np.round(row, each.decimals) for row, each in zip(block.values, settings.channels, strict=True)])
    names = [each.name for each in settings.attributes]
    return Readings(block, values, dict(zip(names, block.attributes, strict=True)))


@cache
def settings_of(environment: tuple[tuple[str, str], ...], kind: str, anomalies: bool) -> Settings:
    overrides = {"sensor.type": kind, "replicas.count": 1, "anomalies.enabled": anomalies}
    return settings_for(load_config(None, dict(environment), overrides), CATALOGUE, Identity("A", sensor_type=kind))


def largest_changes(values: FloatArray) -> list[float]:
    return [float(change) for change in np.abs(np.diff(values)).max(axis=1)]


@pytest.fixture(autouse=True)
def _without_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.claim("004.testing.1", "004.generator.1")
def test_a_reading_has_what_the_document_says() -> None:
    """Three quantities within the limits of the chip, and the state of the weather beside them."""
    readings = read(1000, anomalies=True)

    assert (3, 1000) == readings.values.shape
    assert {"in_weather_event", "weather_event_type"} == set(readings.attributes)
    for row, (lowest, highest) in zip(readings.values, ((-40, 85), (0, 100), (300, 1100)), strict=True):
        assert lowest <= np.nanmin(row) <= np.nanmax(row) <= highest


@pytest.mark.claim("004.testing.2", "004.generator.5")
@pytest.mark.parametrize("range_of", ["the tests", "a narrow one"])
def test_bounds_hold_for_100_000_readings(range_of: str) -> None:
    """And they are reached, so that there is something to hold."""
    narrow = {"TEMP_MIN": "20", "TEMP_MAX": "20.4", "TEMP_DRIFT": "1"} if range_of == "a narrow one" else {}
    values = read(100_000, TEST_SETTINGS | narrow | EVERY_10_S).values
    bounds = [(20.0, 20.4) if narrow else (15.0, 30.0), (20.0, 80.0), (995.0, 1030.0)]

    for row, (low, high) in zip(values, bounds, strict=True):
        assert low <= row.min() <= row.max() <= high
        assert row.max() - row.min() > 0.5 * (high - low)


@pytest.mark.claim("004.testing.3", "004.generator.4")
@pytest.mark.parametrize("place", range(5))
def test_neighbours_are_close(place: int) -> None:
    """Everything on but anomalies: less than 5 °C, 10 % and 5 hPa from one reading to the next."""
    temperature, humidity, pressure = largest_changes(
        read(100_000, identity=replace(PLACE, location=f"Bench {place}")).values
    )

    assert temperature < 5
    assert humidity < 10
    assert pressure < 5


@pytest.mark.claim("004.generator.4")
@pytest.mark.parametrize("steps", [(0.5, 2.0, 0.5), (0.1, 0.3, 0.05)])
def test_a_step_is_at_most_the_drift(steps: tuple[float, ...]) -> None:
    """Without noise and patterns, up to the rounding to two decimals."""
    drifts = {f"{name}_DRIFT": str(step) for name, step in zip(("TEMP", "HUMIDITY", "PRESSURE"), steps, strict=True)}

    for change, step in zip(largest_changes(read(100_000, TEST_SETTINGS | drifts).values), steps, strict=True):
        assert 0.9 * step < change <= step + 0.0101


@pytest.mark.claim("004.testing.4", "004.generator.2")
def test_a_reset_starts_elsewhere() -> None:
    """A new data directory has a new seed; the same seed is the same sensor again."""
    one, again, other = (read(100, seed=seed).values for seed in (1, 1, 2))

    assert (one == again).all()
    assert (one[:, 0] != other[:, 0]).all()
    assert (one != other).mean() > 0.95


@pytest.mark.claim("004.generator.3", "004.data-patterns.1", "004.success-criteria.6")
def test_the_day_has_its_peak_at_14_and_its_trough_at_6() -> None:
    """3 °C up and down; the humidity goes the other way, by 10 %. The average day of two years shows it."""
    hourly = {"INTERVAL_SECONDS": "3600", "ENABLE_WEATHER_EVENTS": "0"}
    wide = {"TEMP_MIN": "3", "TEMP_MAX": "43", "HUMIDITY_MIN": "0", "HUMIDITY_MAX": "100"}
    days = 700
    temperature, humidity, _ = (
        row.reshape(days, HOURS_OF_A_DAY).mean(axis=0) for row in read(days * HOURS_OF_A_DAY, hourly | wide).values
    )

    assert (14, 6) == (temperature.argmax(), temperature.argmin())
    assert (6, 14) == (humidity.argmax(), humidity.argmin())
    assert temperature.max() - temperature.min() == pytest.approx(6, abs=0.8)
    assert humidity.max() - humidity.min() == pytest.approx(20, abs=3)


@pytest.mark.claim("004.generator.6", "004.data-patterns.2", "004.success-criteria.7")
def test_a_weather_event_shows_in_all_three_channels_and_in_the_columns() -> None:
    """The difference to the same sensor without events is what the document states, at once in all three."""
    quiet = {**EVERY_10_S, "ENABLE_WEATHER_EVENTS": "0"}
    # far from the bounds, at which a walk is reflected
    wide = {"TEMP_MIN": "-7", "TEMP_MAX": "53", "HUMIDITY_MIN": "0", "HUMIDITY_MAX": "100"}
    wide |= {"PRESSURE_MIN": "950", "PRESSURE_MAX": "1075"}
    with_events, without = (read(20_000, each | wide) for each in (EVERY_10_S, quiet))
    difference = with_events.values - without.values
    events = np.array(with_events.attributes["weather_event_type"], dtype=object)

    for event, offsets in (("storm", (-1, 5, -2)), ("front", (2, -3, 3)), ("clear", (0.5, -5, 1.5))):
        strongest = np.median(difference[:, events == event], axis=1)
        assert list(strongest) == pytest.approx(offsets, abs=0.06)
    assert np.abs(difference[:, events == None]).max() < 0.02  # noqa: E711 - of each element
    assert [value is not None for value in events] == [
        bool(each) for each in with_events.attributes["in_weather_event"]
    ]
    assert {0} == set(without.attributes["in_weather_event"])
    assert {None} == set(without.attributes["weather_event_type"])


@pytest.mark.claim("004.data-patterns.3")
def test_events_last_10_to_50_readings_and_begin_at_1_percent_of_them() -> None:
    inside = np.array(read(100_000).attributes["in_weather_event"], dtype=np.int8)
    begins, ends = np.flatnonzero(np.diff(inside) == 1), np.flatnonzero(np.diff(inside) == -1)
    lengths = ends[1:] - begins[: len(ends) - 1] if ends[0] < begins[0] else ends - begins[: len(ends)]

    assert 10 <= lengths.min() <= 12
    assert 48 <= lengths.max() <= 51 * 2  # two may follow each other
    assert 950 <= len(begins) <= 1000


@pytest.mark.claim("004.next-steps.1")
def test_several_devices_differ_and_share_their_weather() -> None:
    """Each walks on its own; those in one place have the same storms."""
    three = [read(5000, identity=replace(PLACE, sensor_id=f"device_00{number}")) for number in (1, 2, 3)]
    away = read(5000, identity=replace(PLACE, sensor_id="device_004", location="Another bench"))

    assert 3 == len({each.values.tobytes() for each in three})
    assert 1 == len({str([*map(list, each.attributes.values())]) for each in three})
    assert away.attributes != three[0].attributes
    assert [["bme280_", 3]] * 3 == [[name[:7], len(name[7:])] for name in ids(3)]


def ids(count: int) -> list[str]:
    config = load_config(None, {}, {"sensor.type": "bme280", "replicas.count": count})
    generator = generator_for(config, CATALOGUE, 4)
    return [generator.generate(number).sensor_id for number in range(1, count + 1)]


@pytest.mark.claim("004.next-steps.6")
def test_winter_is_cold_and_dry_and_summer_warm_and_moist() -> None:
    """Each within the range of its kind; the lows of winter are deeper."""
    bounds = {
        "bme280_winter": [(16, 25), (18, 55), (980, 1040)],
        "bme280": [(18, 28), (30, 70), (1000, 1025)],
        "bme280_summer": [(20, 34), (35, 85), (1003, 1026)],
    }
    means, lows = [], []
    for kind, ranges in bounds.items():
        values = read(50_000, identity=replace(PLACE, sensor_type=kind)).values
        means.append(values.mean(axis=1))
        lows.append(values[2].min())
        for row, (low, high) in zip(values, ranges, strict=True):
            assert low <= row.min() <= row.max() <= high

    winter, usual, summer = means
    assert winter[0] < usual[0] - 1 < summer[0] - 3
    assert winter[1] < usual[1] - 10 < summer[1] - 15
    assert lows[0] < lows[1] < lows[2] + 5


@pytest.mark.claim("004.next-steps.5")
def test_the_faults_of_the_chip_are_labelled() -> None:
    """They are enabled, rare beside the usual types, and each looks as it is called."""
    readings = read(200_000, anomalies=True)
    parts = {name: float((readings.block.kinds == index).mean()) for index, name in enumerate(ANOMALY_TYPES)}
    power_up, stuck, uncompensated = (
        readings.values[:, readings.block.kinds == ANOMALY_TYPES.index(name)] for name in FAULTS
    )
    channels = {each.channels for each in readings.block.episodes if each.kind == "stuck_at_limit"}

    for name in FAULTS:
        assert 0.0002 < parts[name] < parts["spike"] / 4
    assert {"spike", "trend", "pattern", "missing_data", "noise", *FAULTS} == {name for name in parts if parts[name]}
    assert [1, 1, 1] == [len(set(row)) for row in power_up]
    assert {("temperature",), ("humidity",), ("pressure",)} == channels
    assert all(({18, 28} | {30, 70} | {1000, 1025}) & set(column) for column in stuck.T)
    assert (np.abs(uncompensated[2] - 1012.5) > 12.5).all()

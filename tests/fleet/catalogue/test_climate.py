"""A city has its own climate, where a config asks for it: by its latitude, its altitude and the season."""

from __future__ import annotations

import json
from dataclasses import replace
from math import cos, radians
from pathlib import Path

import numpy as np
import pytest

from fleet.catalogue.climate import Climate, climate_of, elevation_of, interpolate_parallel, pressure_ratio
from fleet.config.config import load_config
from fleet.config.settings import fleet_settings
from tests.fleet.config.behaving_sensors import CATALOGUE, channels, generate_block, generator_of, sensor_settings
from tests.worker.samples import NEW_YEAR, SECOND_US
from worker.spec import Identity, WorkingHours
from worker.storage.schema import settings_from_json, settings_text

ON = "climate: true\n"
DAY = 86_400 * SECOND_US
DENVER = Identity("DEN_000001", latitude=39.733741, longitude=-104.990653, timezone="America/Denver")
MIAMI = Identity("MIA_000001", latitude=25.7743, longitude=-80.1937, timezone="America/New_York")
SYDNEY = Identity("SYD_000001", latitude=-33.8679, longitude=151.2073, timezone="Australia/Sydney")
AT_SEA = Identity("SEA_000001", latitude=0.0, longitude=-30.0)


def test_the_table_has_the_means_that_are_published_for_it() -> None:
    """Of the hemispheres and the globe, weighted by area: year, January and July, to 0.2 degC."""
    latitudes = np.arange(-89.75, 90, 0.5)
    areas = np.array([cos(radians(latitude)) for latitude in latitudes])
    values = np.array([interpolate_parallel(float(latitude))[1:] for latitude in latitudes])
    halves = {
        name: np.average(values[mask], axis=0, weights=areas[mask]).tolist()
        for name, mask in {"north": latitudes > 0, "south": latitudes < 0, "globe": latitudes < 91}.items()
    }

    assert [15.2, 8.1, 22.4] == pytest.approx(halves["north"], abs=0.2)
    assert [13.3, 17.0, 9.7] == pytest.approx(halves["south"], abs=0.2)
    assert [14.3, 12.5, 16.1] == pytest.approx(halves["globe"], abs=0.2)


@pytest.mark.parametrize(
    ("metres", "pascals"),
    [(0, 101_325), (500, 95_461), (1000, 89_874), (2000, 79_495), (5000, 54_020), (-500, 107_478)],
)
def test_pressure_is_that_of_the_standard_atmosphere(metres: int, pascals: int) -> None:
    """The values of its table, to a pascal."""
    assert pascals == pytest.approx(101_325 * pressure_ratio(metres), abs=1)


def test_the_series_is_the_power() -> None:
    """Up to the top of the troposphere."""
    heights = np.linspace(-5000, 11_000, 161)

    assert ((1 - 0.0065 * heights / 288.15) ** 5.25588).tolist() == pytest.approx(
        [pressure_ratio(float(height)) for height in heights], rel=1e-12
    )


def test_altitude_cools_as_the_standard_atmosphere() -> None:
    """6.5 K per kilometre; heights beyond its first layer count as the ends of it."""
    assert -6.5 == pytest.approx(
        climate_of(40, 1000).temperature_offset - climate_of(40, 0).temperature_offset, abs=0.05
    )
    assert climate_of(40, 11_000) == climate_of(40, 99_000)
    assert climate_of(90, 0) == Climate(-37.7, 20.0, 1.0)
    assert climate_of(-90, 0) == Climate(-48.1, -17.1, 1.0)


def test_a_place_lies_as_high_as_the_nearest_city() -> None:
    """Within half a degree; elsewhere at the sea."""
    assert 1636 == elevation_of(39.733741, -104.990653)
    assert 2240 == elevation_of(19.4285, -99.1277)
    assert 0 == elevation_of(0.0, -30.0)
    assert 0 == elevation_of(90.0, 180.0)


@pytest.mark.claim("001.key-features.4", "001.simulator.3")
def test_denver_differs_from_miami(tmp_path: Path) -> None:
    """In temperature and pressure, by what the sources say of their places; bounds move along, nothing else does."""
    text = ON + "daily_pattern: false"
    denver, miami, before = (
        channels(sensor_settings(tmp_path, *some))
        for some in ((DENVER, text), (MIAMI, text), (DENVER, "daily_pattern: false"))
    )

    assert 22 - 11.4 == pytest.approx(denver["temperature"].mean)
    assert 22 + 7.3 == pytest.approx(miami["temperature"].mean)
    assert (9.4, 5.0) == (denver["temperature"].yearly_amplitude, miami["temperature"].yearly_amplitude)
    assert 83_154 == pytest.approx(denver["pressure"].mean, abs=1)
    assert 101_025 == pytest.approx(miami["pressure"].mean, abs=1)
    assert (-10 - 11.4, 50 - 11.4) == (denver["temperature"].minimum, denver["temperature"].maximum)
    assert 95_000 * 0.82067 == pytest.approx(denver["pressure"].minimum)
    for name in ("humidity", "vibration", "voltage"):
        assert denver[name] == miami[name] == before[name]


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    """And has no effect on a sensor that nobody knows the place of."""
    assert sensor_settings(tmp_path, DENVER) == sensor_settings(tmp_path, MIAMI)
    nowhere = Identity("A", location="Denver")
    assert sensor_settings(tmp_path, nowhere, ON) == sensor_settings(tmp_path, nowhere)
    at_sea = channels(sensor_settings(tmp_path, AT_SEA, ON))
    assert 22 + 26.2 - 15 == pytest.approx(at_sea["temperature"].mean)
    assert 101_325 == at_sea["pressure"].mean


def test_fahrenheit_is_shifted_in_its_degrees(tmp_path: Path) -> None:
    """A kelvin is 1.8 of them."""
    config = ON + "normal_parameters: {temperature: {mean: 70, min: 0, max: 120, unit: °F, lowest: -459}}"
    there = channels(sensor_settings(tmp_path, DENVER, config))["temperature"]

    assert 70 - 11.4 * 1.8 == pytest.approx(there.mean)
    assert 9.4 * 1.8 == pytest.approx(there.yearly_amplitude)


@pytest.mark.parametrize(("identity", "swing", "warm"), [(DENVER, 9.4, 7), (SYDNEY, 3.5, 1)], ids=["Denver", "Sydney"])
def test_the_year_has_seasons(identity: Identity, swing: float, warm: int, tmp_path: Path) -> None:
    """In the north July is the warm month, in the south January; the months' means are those of the table."""
    text = (
        "{climate: true, simulation: {readings_per_second: 0.001}, daily_pattern: false, anomalies: {enabled: false}}"
    )
    settings = sensor_settings(tmp_path, identity, text)
    block = generate_block(settings, identity, 31_557)
    mean = channels(settings)["temperature"].mean
    months = np.array(block.times // DAY - NEW_YEAR // DAY)
    july, january = (block.values[0, (months >= first) & (months < first + 31)].mean() for first in (181, 0))
    error = 4 * 2 / np.sqrt(2_600)
    sign = 1 if warm == 7 else -1

    assert mean + sign * swing == pytest.approx(july, abs=error + 0.15)
    assert mean - sign * swing == pytest.approx(january, abs=error + 0.15)
    assert mean == pytest.approx(block.values[0].mean(), abs=0.1)
    assert block.values[2].std() == pytest.approx(500, rel=0.02)


def test_bounds_go_with_the_seasons(tmp_path: Path) -> None:
    """Narrow ones clip the noise and not the year."""
    narrow = "normal_parameters: {temperature: {mean: 22, min: 21.5, max: 22.5}}"
    text = (
        "{climate: true, simulation: {readings_per_second: 0.001}, daily_pattern: false, anomalies: {enabled: false}, "
    )
    settings = sensor_settings(tmp_path, DENVER, text + narrow + "}")
    values = generate_block(settings, DENVER, 31_557).values[0]

    assert 22 - 11.4 + 9.4 + 0.5 == pytest.approx(values.max(), abs=0.02)
    assert 22 - 11.4 - 9.4 - 0.5 == pytest.approx(values.min(), abs=0.02)


def test_blocks_join_bit_for_bit_under_all_effects(tmp_path: Path) -> None:
    """Climate, surroundings and firmware with every kind of anomaly, cut anywhere."""
    who = replace(DENVER, location="Factory A", sensor_type="temperature_vibration", firmware_version="1.3")
    subject = generator_of(sensor_settings(tmp_path, who, ON + "anomalies: {probability: 0.4}"), who)
    whole = subject.block(0, 5_000)
    parts = [subject.block(first, end - first) for first, end in ((0, 1), (1, 777), (777, 3_000), (3_000, 5_000))]

    assert whole.values.tobytes() == np.concatenate([part.values for part in parts], axis=1).tobytes()


def test_sensors_of_a_city_share_their_settings(tmp_path: Path) -> None:
    """Scattered by a kilometre they have one climate, so that ten thousand cost what their cities cost."""
    (tmp_path / "fleet.yaml").write_text(ON)
    near = [replace(DENVER, sensor_id=f"A{n}", latitude=39.7392 + n * 0.0001) for n in range(90)]
    found = fleet_settings(load_config(tmp_path / "fleet.yaml"), CATALOGUE, [*near, MIAMI])

    assert 2 <= len({id(settings) for settings in found}) <= 3
    assert found[0] != found[-1]


def test_epochs_of_older_versions_are_read_and_go_on(tmp_path: Path) -> None:
    """Those without working hours and seasons are what they were; those with them come back whole."""
    plain = sensor_settings(tmp_path, Identity("A"))
    old = json.loads(settings_text(plain))
    del old["working_hours"]
    for channel in old["channels"]:
        del channel["working_hours"], channel["yearly_amplitude"]
    full = replace(
        sensor_settings(tmp_path, replace(DENVER, location="Factory A"), ON), working_hours=WorkingHours(5, 13, 6)
    )

    assert plain == settings_from_json(old)
    assert full == settings_from_json(json.loads(settings_text(full)))
    assert full != plain

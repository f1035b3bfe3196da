"""New identities: the same from the same seed, unique, and true to life."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.catalogue.cities import City, CityFilters, filter_cities, read_cities
from fleet.errors import UserError
from fleet.identities.files import IdentityOrigin, StoredIdentity
from fleet.identities.generator import DEPLOYMENTS, NUMBER_COUNT, IdentityGenerator, permute
from fleet.identities.places import city_address, city_code
from worker.spec import Identity

pytestmark = pytest.mark.claim("000.testing.6")

ROOT = Path(__file__).parents[3]
KIND = load_catalogue().sensor_type("environmental")
CITIES = filter_cities(read_cities(), CityFilters(number_of_cities=10))
GENERATOR = IdentityGenerator(7, CITIES, KIND)
MANY = [GENERATOR.generate(number) for number in range(1, 4001)]


def even(counts: Counter[str], shares: dict[str, float]) -> bool:
    """Whether counts are what the shares lead one to expect (chi-square; wrong once in a thousand for these sizes)."""
    total = sum(counts.values())
    assert set(counts) <= set(shares)
    statistic = sum((counts[name] - total * share) ** 2 / (total * share) for name, share in shares.items())
    freedom = len(shares) - 1
    # Wilson and Hilferty's approximation to the 99.9 % point of chi-square.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3
    return bool(statistic < limit)


def test_an_identity_is_the_same_for_ever() -> None:
    """Seed 7, number 1, the ten largest cities: these values on every machine, until the catalogue changes."""
    assert (
        StoredIdentity(
            Identity(
                sensor_id="BEI_921380",
                firmware_version="1.0",
                model="EnvMonitor-3000",
                manufacturer="SensorTech",
                serial_number="ST-2107-697483",
                manufacture_date="2021-07-20",
                location="Beijing, CN",
                latitude=39.9075,
                longitude=116.396699,
                timezone="Asia/Shanghai",
                deployment_type="fixed_outdoor",
                installation_date="2022-05-29",
                height_meters=4.0,
                orientation_degrees=313.0,
                instance_id="i-0676ca9ae5e398a74",
                sensor_type="environmental_monitoring",
            ),
            type="environmental",
            city="Beijing",
            country="CN",
            origin=IdentityOrigin(seed=7, index=1, settings="dcb85445599f"),
        )
        == MANY[0]
    )


def test_an_identity_does_not_depend_on_the_process() -> None:
    """Another interpreter with another hash seed generates the same."""
    code = (
        "from fleet.catalogue.catalogue import load_catalogue; from fleet.catalogue.cities import *; from fleet.identities.generator import IdentityGenerator;"
        "cities = filter_cities(read_cities(), CityFilters(number_of_cities=10));"
        "print(IdentityGenerator(7, cities, load_catalogue().sensor_type('environmental')).generate(5))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert run.stdout.strip() == str(MANY[4])


def test_seeds_and_numbers_tell_identities_apart() -> None:
    """Another seed changes every field that is drawn, for some sensor; no two instance ids or serials are alike."""
    others = [replace(GENERATOR, seed=8).generate(number) for number in range(1, 101)]

    assert not {sensor.sensor_id for sensor in MANY} & {sensor.sensor_id for sensor in others}
    assert len({sensor.identity.instance_id for sensor in MANY}) == len(MANY)
    assert len({sensor.identity.serial_number for sensor in MANY}) == len(MANY)


@pytest.mark.claim("001.configuration-options.2")
def test_ids_are_letters_of_the_city_and_six_digits() -> None:
    """Each id fits its city and is given once."""
    for sensor in MANY:
        assert sensor.city is not None
        assert re.fullmatch(city_code(sensor.city) + r"_\d{6}", sensor.sensor_id)
    assert len({sensor.sensor_id[-6:] for sensor in MANY}) == len(MANY)


def test_a_shuffle_gives_every_number_once() -> None:
    """The six digits are a permutation of all that there are, and a different one for another seed."""
    # Distinct for a stretch of it; that the network is a bijection holds for any round function.
    numbers = range(20_000)
    digits = [permute(number, 1, "id") for number in numbers]

    assert len(set(digits)) == len(digits)
    assert 0 <= min(digits) < max(digits) < NUMBER_COUNT
    assert digits[:9] != [permute(number, 2, "id") for number in range(9)]
    assert abs(np.corrcoef(numbers, digits)[0, 1]) < 0.03


def test_a_taken_id_is_never_given() -> None:
    """An id that is taken is replaced by another draw; nothing else of the sensor changes."""
    taken = {MANY[0].sensor_id}
    sensor = GENERATOR.generate(1, taken)

    assert sensor.sensor_id not in taken
    assert sensor.sensor_id[:4] == "BEI_"
    assert replace(sensor.identity, sensor_id=MANY[0].sensor_id) == MANY[0].identity


@pytest.mark.claim("001.configuration-options.17")
def test_a_prefix_counts() -> None:
    """With a prefix the id is the sensor's number in six digits; all else is as without; a taken one is passed by."""
    generator = replace(GENERATOR, prefix="PLANT")

    assert generator.generate(7).sensor_id == "PLANT_000007"
    assert generator.generate(1_234_567).sensor_id == "PLANT_1234567"
    assert generator.generate(7, {"PLANT_000007", "PLANT_000008"}).sensor_id == "PLANT_000009"
    assert replace(generator.generate(7).identity, sensor_id=MANY[6].sensor_id) == MANY[6].identity


@pytest.mark.claim("000.advanced-features.4")
def test_cities_are_chosen_by_population() -> None:
    people = sum(city.population for city in CITIES)

    assert even(Counter(str(sensor.city) for sensor in MANY), {c.name: c.population / people for c in CITIES})


def test_a_city_without_people_is_never_chosen() -> None:
    ghost = City("Ghost", "XX", "", 0.0, 0.0, 0, "UTC")
    generator = replace(GENERATOR, cities=(ghost, CITIES[0]._replace(population=1), ghost))

    assert {generator.generate(number).city for number in range(200)} == {"Shanghai"}


@pytest.mark.claim("000.advanced-features.3", "001.configuration-options.16")
def test_sensors_are_scattered_around_their_city() -> None:
    """Within the radius, evenly: the mean of the squared distance is half the radius squared."""
    home = City("Reykjavík", "IS", "", 64.1355, -21.8954, 1, "Atlantic/Reykjavik")
    generator = replace(GENERATOR, cities=(home,), gps_variation=1000.0)
    places = np.array(
        [(who.latitude, who.longitude) for who in (generator.generate(number).identity for number in range(2000))]
    )
    metres = np.radians(places - (home.latitude, home.longitude)) * 6_371_008.8 * (1, np.cos(np.radians(64.1355)))
    area = (metres**2).sum(axis=1) / 1000.0**2

    assert area.max() < 1.001  # the plane of the measure, not the scatter, is 0.1 % off
    assert area.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 2000))
    assert np.abs(metres.mean(axis=0)).max() < 4 * 500 / np.sqrt(2000)


@pytest.mark.claim("001.database-schema.6")
def test_the_hardware_is_of_one_piece() -> None:
    """A model belongs to its manufacturer; makers, models and firmware versions are equally likely."""
    makers = len(KIND.models)
    models = {f"{maker} {model}": 1 / makers / len(made) for maker, made in KIND.models.items() for model in made}

    assert even(Counter(f"{who.manufacturer} {who.model}" for who in (s.identity for s in MANY)), models)
    assert even(
        Counter(str(sensor.identity.firmware_version) for sensor in MANY),
        dict.fromkeys(KIND.firmware, 1 / len(KIND.firmware)),
    )
    assert all(
        re.fullmatch(r"DataLogger-\d{6}", str(sensor.identity.serial_number))
        for sensor in MANY
        if sensor.identity.manufacturer == "DataLogger"
    )


def test_given_hardware_is_kept() -> None:
    """What the configuration gives is taken; a model alone brings its manufacturer along."""
    generator = replace(GENERATOR, model="AirData-Plus", firmware_version="2.1")
    makers = {generator.generate(number).identity.manufacturer for number in range(20)}
    models = {replace(GENERATOR, manufacturer="MonitorPro").generate(n).identity.model for n in range(100)}

    assert makers == {"DataLogger"}
    assert generator.generate(1).identity.firmware_version == "2.1"
    assert models == set(KIND.models["MonitorPro"])


def test_hardware_that_nobody_makes_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"^no environmental sensor is a 'SensorTech AirData-Plus'; there are Sensor"):
        replace(GENERATOR, manufacturer="SensorTech", model="AirData-Plus").generate(1)


def test_units_are_made_before_they_are_installed() -> None:
    """Dates lie in a fixed window, and a unit is installed a week to 540 days after it was made."""
    for who in (sensor.identity for sensor in MANY):
        made, installed = date.fromisoformat(str(who.manufacture_date)), date.fromisoformat(str(who.installation_date))
        assert date(2020, 1, 1) <= made <= date(2025, 6, 30)
        assert 7 <= (installed - made).days <= 540
        assert installed <= date(2025, 12, 31)


def test_units_are_put_up_as_their_deployment_allows() -> None:
    limits = {name: (lowest / 10, highest / 10) for name, lowest, highest in DEPLOYMENTS}
    for who in (sensor.identity for sensor in MANY):
        lowest, highest = limits[str(who.deployment_type)]
        assert who.height_meters is not None
        assert who.orientation_degrees is not None
        assert lowest <= who.height_meters == round(who.height_meters, 1) <= highest
        assert who.orientation_degrees in range(360)
        assert re.fullmatch(r"i-[0-9a-f]{17}", str(who.instance_id))
    assert even(
        Counter(str(sensor.identity.deployment_type) for sensor in MANY), dict.fromkeys(limits, 1 / len(limits))
    )


def test_the_fingerprint_knows_every_setting_but_the_seed() -> None:
    others = [
        replace(GENERATOR, cities=CITIES[:9]),
        replace(GENERATOR, gps_variation=50.0),
        replace(GENERATOR, prefix="P"),
        replace(GENERATOR, manufacturer="SensorTech"),
        replace(GENERATOR, model="AirData-Plus"),
        replace(GENERATOR, firmware_version="2.1"),
        replace(GENERATOR, sensor_type=load_catalogue().sensor_type("temperature_vibration")),
    ]

    assert len({generator.settings_fingerprint for generator in (GENERATOR, *others)}) == 8
    assert replace(GENERATOR, seed=8).settings_fingerprint == GENERATOR.settings_fingerprint


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("São Paulo", "SAO"), ("Xi’an", "XIA"), ("Łódź", "LOD"), ("İzmir", "IZM"), ("Đống Đa", "DON")),
        *(
            ("Diyarbakır", "DIY"),
            ("Ørsta", "ORS"),
            ("Ho", "HOX"),
            ("東京", "XXX"),
            ("St. Gallen", "STG"),
            ("'s-H", "SHX"),
        ),
    ],
)
def test_cities_are_spelled_in_three_capitals(name: str, expected: str) -> None:
    assert expected == city_code(name)


def test_every_packaged_city_has_a_good_id() -> None:
    for city in read_cities():
        assert re.fullmatch("[A-Z]{3}", city_code(city.name)), city.name


def test_addresses_are_those_of_the_place() -> None:
    """In the United States with the state, elsewhere with the country's code."""
    denver = City("Denver", "US", "CO", 0.0, 0.0, 1, "UTC")

    assert city_address(denver) == "Denver, CO, USA"
    assert city_address(denver._replace(name="Leeds", country="GB", admin1="ENG")) == "Leeds, GB"
    assert city_address(denver._replace(name="Ponce", country="US", admin1="")) == "Ponce, US"
    assert city_address(denver._replace(name="Atlantis", country="")) == "Atlantis"

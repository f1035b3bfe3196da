"""Every option in the tables of the source documents is accepted under its name, and has its default or ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, load_config
from fleet.config.dialects import canonical_paths
from fleet.errors import UserError
from fleet.identities.provisioning import generator_for
from worker.spec import Identity

pytestmark = pytest.mark.claim("000.configuration-file.3")

LOCATION_SCATTER = 111.195  # metres, a thousandth of a degree
FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

# The option as its table calls it, its default there, and what it is here where that is something else.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "sensor.type": ("environmental",),
    "simulation.readings_per_second": (1,),
    "simulation.run_time_seconds": (3600, None),  # until stopped
    "simulation.start_delay_seconds": (0,),
    "simulation.batch_interval": (10, 1.0),
    "normal_parameters.temperature.mean": (61.0, 22.0),  # of one document; the values of another hold
    "normal_parameters.temperature.std_dev": (2.0,),
    "normal_parameters.temperature.min": (50.0, -10.0),
    "normal_parameters.temperature.max": (80.0, 50.0),
    "normal_parameters.humidity.mean": (3.0, 60.0),
    "normal_parameters.humidity.std_dev": (0.5, 10.0),
    "normal_parameters.humidity.min": (0.0,),
    "normal_parameters.humidity.max": (100.0,),
    "normal_parameters.pressure.mean": (101325.0,),
    "normal_parameters.pressure.std_dev": (500.0,),
    "normal_parameters.pressure.min_value": (95000.0,),
    "normal_parameters.pressure.max_value": (105000.0,),
    "normal_parameters.vibration.mean": (0.5,),
    "normal_parameters.vibration.std_dev": (0.1,),
    "normal_parameters.vibration.min_value": (0.0,),
    "normal_parameters.vibration.max_value": (10.0,),
    "normal_parameters.voltage.mean": (24.0,),
    "normal_parameters.voltage.std_dev": (0.5,),
    "normal_parameters.voltage.min_value": (20.0,),
    "normal_parameters.voltage.max_value": (28.0,),
    "anomalies.enabled": (True,),
    "anomalies.probability": (0.05,),
    **{f"anomalies.types.{name}.enabled": (True,) for name in ("spike", "trend", "pattern", "missing_data", "noise")},
    "anomalies.types.spike.weight": (0.4,),
    "anomalies.types.trend.weight": (0.2,),
    "anomalies.types.trend.duration_seconds": (300,),
    "anomalies.types.pattern.weight": (0.1,),
    "anomalies.types.pattern.duration_seconds": (600,),
    "anomalies.types.missing_data.weight": (0.1,),
    "anomalies.types.missing_data.duration_seconds": (30,),
    "anomalies.types.noise.weight": (0.2,),
    "anomalies.types.noise.duration_seconds": (180,),
    "database.path": ("sensor_data.db", "data/sensor_data.db"),
    "database.batch_size": (100,),
    "database.retry_attempts": (3,),
    "database.retry_delay": (1.0,),
    "database.wal_mode": (True,),
    "database.backup_enabled": (False,),
    "database.backup_interval_hours": (24, 3600.0),  # an hour, as in another document
    "database.backup_path": ("./backups/", "data/backups"),
    "database.max_size_mb": (1000, None),  # as big as it gets
    "logging.level": ("INFO",),
    "logging.file": ("sensor_simulator.log", None),  # run/fleet.log
    "logging.format": (FORMAT,),
    "logging.console_output": (True,),
    "logging.max_file_size_mb": (10,),
    "logging.backup_count": (5,),
    "random_location.enabled": (False,),
    "random_location.number_of_cities": (10,),
    "random_location.gps_variation": (100,),
    "location.use_random": (False,),
    "location.coordinate_variation": (0.001, 100.0),
    "location.update_interval": (3600, None),  # a sensor stays where it is
    "replicas.count": (1,),
    "replicas.prefix": ("SENSOR", None),  # after their city
    "replicas.start_index": (1,),
    "monitoring.enabled": (False, True),
    "monitoring.port": (8080,),
    "monitoring.host": ("0.0.0.0", "127.0.0.1"),
    "monitoring.endpoints.health": ("/healthz",),
    "monitoring.endpoints.metrics": ("/metricz",),
    "monitoring.endpoints.status": ("/statusz",),
    "monitoring.endpoints.samples": ("/samplez",),
    "monitoring.endpoints.db_stats": ("/db_stats",),
    **{f"{name}.enabled": (True,) for name in ("dynamic_reload", "dynamic_reloading", "config_reload")},
    "dynamic_reload.watch_config": (True,),
    "dynamic_reload.watch_identity": (True,),
    "dynamic_reload.check_interval": (5,),
    "config_reload.check_interval_seconds": (60, 5.0),
}
CONVERTED = {"database.backup_interval_hours": 24 * 3600, "location.coordinate_variation": LOCATION_SCATTER}


def config(folder: Path, values: object) -> Config:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_config(path)


def nested(key: str, value: object) -> dict[str, Any]:
    name, _, rest = key.partition(".")
    return {name: nested(rest, value) if rest else value}


def canonical(key: str) -> list[str]:
    """Part by part, as a file is read."""
    path: tuple[Any, ...] = ()
    for part in key.split("."):
        (path, *_), _ = canonical_paths((*path, part))
    return [str(part) for part in path]


def value(config: Config, key: str) -> object:
    here: Any = config
    for part in canonical(key):
        here = here[part] if isinstance(here, dict) else getattr(here, part)
    return here


@pytest.mark.parametrize("key", OPTIONS)
@pytest.mark.claim(
    "000.configuration-file.13",
    "000.configuration-file.6",
    "000.measurement-types.1",
    "000.performance-characteristics.1",
    "001.configuration-options.1",
    "001.configuration-options.10",
    "001.configuration-options.12",
    "001.configuration-options.18",
    "001.configuration-options.9",
)
def test_an_option_is_accepted_and_has_its_default(key: str, tmp_path: Path) -> None:
    """Written with the document's default it means that, and left out what is documented here."""
    documented, *ours = OPTIONS[key]
    whole = {"normal_parameters": {key.split(".")[1]: None}}
    unsaid = config(tmp_path, whole) if key.startswith("normal_parameters") else Config()
    written = nested(key, documented)
    if key == "normal_parameters.temperature.mean":
        written["normal_parameters"]["temperature"] |= {"max": 80}
    if key == "normal_parameters.temperature.min":
        written["normal_parameters"]["temperature"] |= {"mean": 61, "max": 80}

    assert CONVERTED.get(key, documented) == pytest.approx(value(config(tmp_path, written), key))
    assert (ours or [documented])[0] == value(unsaid, key)


MODELS = {
    "SensorTech": ("TempSensor Pro", "HumidCheck 2000", "PressureGuard", "EnvMonitor-3000"),
    "DataLogger": ("DataLogger-X1", "AirData-Plus", "ClimateTracker", "IndustrialMonitor-5000"),
    "DataSense": ("TempVibe-3000", "HumidPress-4000", "AllSense-Pro", "FactoryGuard-7000"),
    "MonitorPro": ("ProTemp-500", "ProHumid-600", "ProPressure-700", "ProEnviron-800"),
}
FIRMWARE = ("1.0", "1.2.0", "1.4", "2.1", "2.3.5", "2.5", "3.0.0-beta", "3.1.2-alpha", "3.2-rc1")


@pytest.mark.claim("001.configuration-options.7")
def test_the_valid_lists(tmp_path: Path) -> None:
    """Of manufacturers with their models and of firmware, none more and none fewer; they load."""
    kind = load_catalogue().sensor_type("environmental")

    assert (MODELS, FIRMWARE) == (dict(kind.models), kind.firmware)
    for number, (maker, models) in enumerate(MODELS.items()):
        sensor = {"manufacturer": maker, "model": models[number], "firmware_version": FIRMWARE[2 * number]}
        assert sensor["model"] == config(tmp_path, {"sensor": sensor}).sensor.model


@pytest.mark.parametrize(
    ("field", "wrong"), [("manufacturer", "Acme"), ("model", "TempVibe-2000"), ("firmware_version", "1.3")]
)
@pytest.mark.claim("001.configuration-options.6")
def test_what_is_not_in_a_list_is_refused(field: str, wrong: str, tmp_path: Path) -> None:
    """And the list is shown."""
    valid = {"manufacturer": MODELS, "model": MODELS["SensorTech"], "firmware_version": FIRMWARE}[field]

    with pytest.raises(UserError, match=f"{wrong}'? is not one of .*{', '.join(valid)}"):
        config(tmp_path, {"sensor": {"manufacturer": "SensorTech", field: wrong}})


@pytest.mark.parametrize("place", ["REPLACE_WITH_LOCATION", "DEFAULT LOCATION", "UNKNOWN", "TBD", "unknown", "", "   "])
@pytest.mark.claim("001.configuration-options.5")
def test_a_placeholder_is_no_location(place: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sensor\.location: "):
        config(tmp_path, {"sensor": {"location": place}})


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("Chicago", ("CHI", "America/Chicago")),
        ("Denver, CO, USA", ("DEN", "America/Denver")),
        ("New York", ("NEW", "America/New_York")),
        ("New York Factory Floor 3", ("NEW", "America/New_York")),
    ],
)
def test_a_location_that_is_a_city_places_the_sensor_there(
    location: str, place: tuple[str, str], tmp_path: Path
) -> None:
    """With its coordinates and time zone, and named after it; any other place has none, unless locations are to be
    drawn."""
    at = {seed: minted(config(tmp_path, {"sensor": {"location": location}}), seed) for seed in (1, 2)}
    drawn = config(tmp_path, {"sensor": {"location": location}, "random_location": {"enabled": True}})

    assert {place} == {(who.sensor_id[:3], who.timezone) for who in at.values()}
    assert {minted(Config(), seed).timezone for seed in (1, 2)} == {minted(drawn, seed).timezone for seed in (1, 2)}
    hall = config(tmp_path, {"sensor": {"location": "Factory A - Line 1"}})
    who = minted(hall, 1)
    assert ("FAC", "Factory A - Line 1", None, None, "UTC") == (
        who.sensor_id[:3],
        who.location,
        who.latitude,
        who.longitude,
        who.timezone,
    )


def minted(config: Config, seed: int) -> Identity:
    return generator_for(config, load_catalogue(), seed).generate(1).identity


@pytest.mark.parametrize("name", ["CHI_123456", "SENSOR001", "SENSOR_NY_123456", "a.b-c"])
@pytest.mark.claim("001.configuration-options.3")
def test_an_id_may_be_any_name(name: str, tmp_path: Path) -> None:
    """The documents' own examples do not keep to the format that one of them demands."""
    assert name == config(tmp_path, {"sensor": {"id": name}}).sensor.id


@pytest.mark.parametrize("name", ["a/b", "", "-x", "a b", "x" * 65, ".."])
@pytest.mark.claim("001.configuration-options.3")
def test_an_id_that_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    """It becomes the name of a file."""
    with pytest.raises(UserError, match=r"sensor\.id: .*is not a name"):
        config(tmp_path, {"sensor": {"id": name}})

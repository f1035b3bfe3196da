"""A config in any dialect loads to the values that it states."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, SourcedValue, json_schema, load_config, to_yaml
from fleet.config.settings import settings_for
from fleet.errors import UserError
from fleet.resources import resource_path
from fleet.validation.rates import Rate
from worker.schedule import Schedule
from worker.spec import Identity

DOCUMENTED = sorted((resource_path("fleet.yaml").parent / "source_documents").glob("*.yaml"))
EXAMPLES = sorted(path for path in resource_path("fleet.yaml").parent.glob("*.yaml") if path.name != "catalogue.yaml")


def documented(name: str) -> Config:
    return load_config(resource_path(f"source_documents/{name}.yaml"))


def config(tmp_path: Path, text: str, **sources: dict[str, object]) -> Config:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    return load_config(path, **sources)  # type: ignore[arg-type]  # each test gives the right kind


@pytest.mark.parametrize("path", [*DOCUMENTED, *EXAMPLES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_is_printed_loads_again_to_the_same_config(path: Path, tmp_path: Path) -> None:
    """For every config of the source documents, as it was written, and every example."""
    loaded = load_config(path)

    assert loaded == config(tmp_path, to_yaml(loaded))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.claim("001.configuration-identities.4", "001.contributing-license.3")
def test_an_example_begins_with_what_it_is_for(path: Path) -> None:
    """One line of comment, ending in a full stop."""
    first, second = path.read_text().splitlines()[:2]

    assert first.startswith("# ")
    assert first.endswith(".")
    assert not second.startswith("#") or path.name == "fleet.yaml"


@pytest.mark.claim("000.configuration-file.1")
def test_the_complete_config_of_version_2_is_understood() -> None:
    """Every value of it that has a meaning here."""
    loaded = documented("000-complete-version-2")
    types = loaded.anomalies.types

    assert loaded.simulation.readings_per_second == Rate(Fraction(1))
    assert loaded.simulation.duration_seconds == 3600
    assert loaded.database.batch_interval == 10
    assert (loaded.database.backup.enabled, loaded.database.backup.interval) == (False, 3600)
    assert loaded.normal_parameters is not None
    assert (loaded.normal_parameters["pressure"].min, loaded.normal_parameters["pressure"].max) == (95000, 105000)
    assert (types.spike.weight, types.spike.multiplier_min, types.spike.multiplier_max) == (0.3, 1.5, 3.0)
    assert (types.trend.weight, types.trend.duration, types.trend.max_change_percent) == (0.25, (20, "readings"), 50)
    assert (types.pattern.weight, types.pattern.frequency, types.pattern.amplitude) == (0.2, 0.1, 5.0)
    assert types.pattern.duration_seconds == 600
    assert (types.missing_data.weight, types.missing_data.duration) == (0.15, (5, "readings"))
    assert (types.noise.weight, types.noise.noise_factor, types.noise.duration) == (0.1, 0.15, (180, "seconds"))
    assert (loaded.monitoring.enabled, loaded.monitoring.host, loaded.monitoring.port) == (True, "0.0.0.0", 8080)
    assert loaded.dynamic_reload.check_interval_seconds == 5
    assert loaded.random_location.enabled is False
    assert loaded.random_location.gps_variation == pytest.approx(111.2, abs=0.1)


def test_the_factory_config_is_understood() -> None:
    """Weights, durations, the file's own channels, and reloading by its older name."""
    loaded = documented("002-factory")

    assert loaded.normal_parameters is not None
    assert list(loaded.normal_parameters) == ["temperature", "vibration", "voltage"]
    assert loaded.normal_parameters["vibration"].mean == 2.5
    assert loaded.anomalies.types.pattern.duration_seconds == 600
    assert loaded.dynamic_reload.check_interval_seconds == 60
    assert loaded.logging.console is True


def test_a_type_that_a_config_leaves_out_keeps_its_defaults() -> None:
    """The chaos test names spikes and trends only."""
    types = documented("001-chaos-test").anomalies.types

    assert [types.spike.weight, types.trend.weight, types.pattern.weight] == [0.5, 0.3, 0.1]
    assert [types.missing_data.weight, types.noise.weight] == [0.1, 0.2]
    assert [types.spike.duration, types.trend.duration] == [(1, "readings"), (600, "seconds")]
    assert types.enabled().keys() == {"spike", "trend", "pattern", "missing_data", "noise"}


def test_an_empty_file_has_all_defaults(tmp_path: Path) -> None:
    """So have a file of comments and one of sections without entries."""
    assert Config() == config(tmp_path, "")
    assert Config() == config(tmp_path, "# nothing\n")
    assert Config() == config(tmp_path, "sensor:\nanomalies:\n  types:\n    spike:\nnormal_parameters: {}\n")
    assert Config() == config(tmp_path, "simulation: {readings_per_second: , seed: ~}\nreplicas: {count: null}")


def test_a_version_stays_the_text_that_was_written(tmp_path: Path) -> None:
    """An unquoted 1.10 is not 1.1, an id keeps its zeros, and NO is a country."""
    (tmp_path / "more.yaml").write_text("environmental: {firmware: {1.10: {multiplier: 2}}}")
    loaded = config(
        tmp_path,
        "catalogue: more.yaml\n"
        "sensor: {firmware_version: 1.10, id: 0012}\n"
        "random_location: {include_countries: [NO, de]}",
    )

    assert (loaded.sensor.firmware_version, loaded.sensor.id) == ("1.10", "0012")
    assert loaded.random_location.include_countries == ("NO", "DE")


@pytest.mark.parametrize("path", [*DOCUMENTED, *EXAMPLES], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_slow_parser_reads_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML without libyaml, as some platforms have it."""
    fast = load_config(path)
    monkeypatch.setattr("fleet.validation.yaml_tree.Loader", yaml.SafeLoader)

    assert fast == load_config(path)


def test_a_rate_is_exact(tmp_path: Path) -> None:
    """As written, without a detour over binary fractions."""
    assert config(tmp_path, "simulation: {readings_per_second: 0.1}").simulation.readings_per_second == Rate(
        Fraction("0.1")
    )
    assert config(tmp_path, "simulation: {readings_per_second: 1e-6}").simulation.readings_per_second == Rate(
        Fraction("1e-6")
    )


def test_a_channel_takes_from_the_profile_what_it_does_not_say(tmp_path: Path) -> None:
    """And a channel that is not listed while others are is absent."""
    loaded = config(tmp_path, "normal_parameters: {voltage: {mean: 23}}").normal_parameters

    assert loaded is not None
    assert loaded.keys() == {"voltage"}
    assert (loaded["voltage"].mean, loaded["voltage"].std_dev, loaded["voltage"].max) == (23, 0.5, 28)


@pytest.mark.claim("000.configuration-file.2", "001.configuration-identities.3")
def test_version_1_has_no_monitoring_unless_it_names_it(tmp_path: Path) -> None:
    """Version 2, the default, has it unless it says otherwise; so has the packaged config."""
    assert load_config(None).monitoring.enabled
    assert config(tmp_path, "version: 2").monitoring.enabled
    assert not config(tmp_path, "version: 2\nmonitoring: {enabled: false}").monitoring.enabled
    assert not config(tmp_path, "version: 1").monitoring.enabled
    assert config(tmp_path, "version: 1\nmonitoring: {port: 9000}").monitoring.enabled


@pytest.mark.claim("000.configuration-file.2")
def test_version_1_reloads_nothing_unless_it_says_so(tmp_path: Path) -> None:
    """In any of the spellings; version 2 does."""
    assert config(tmp_path, "").dynamic_reload.enabled
    assert not config(tmp_path, "version: 1").dynamic_reload.enabled
    for section in ("dynamic_reload", "dynamic_reloading", "config_reload"):
        assert config(tmp_path, f"version: 1\n{section}: {{check_interval: 9}}").dynamic_reload.enabled


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    """And the file beats the defaults."""
    text = "logging: {level: ERROR}"
    environment: dict[str, object] = {"LOG_LEVEL": "warning"}
    overrides: dict[str, object] = {"logging.level": SourcedValue("DEBUG", "--log-level")}

    assert config(tmp_path, "").logging.level == "INFO"
    assert config(tmp_path, text).logging.level == "ERROR"
    assert config(tmp_path, text, environment=environment).logging.level == "WARNING"
    assert config(tmp_path, text, environment=environment, overrides=overrides).logging.level == "DEBUG"


@pytest.mark.claim("000.integration-points.5")
def test_every_variable_is_read(tmp_path: Path) -> None:
    """An empty one counts as not set, others' variables are ignored."""
    environment: dict[str, object] = {
        "SENSOR_ID": "CHI_123456",
        "SENSOR_LOCATION": "Factory Floor 3",
        "SENSOR_MANUFACTURER": "SensorTech",
        "SENSOR_MODEL": "EnvMonitor-3000",
        "SENSOR_FIRMWARE": "1.4",
        "PRESERVE_EXISTING_DB": "false",
        "MONITORING_ENABLED": "0",
        "MONITORING_PORT": "9000",
        "DEBUG_MODE": "1",
        "LOG_LEVEL": "",
        "PATH": "/bin",
    }
    loaded = config(tmp_path, "", environment=environment)

    assert loaded.sensor.model_dump() == {
        "id": "CHI_123456",
        "type": "environmental",
        "location": "Factory Floor 3",
        "manufacturer": "SensorTech",
        "model": "EnvMonitor-3000",
        "firmware_version": "1.4",
    }
    assert (loaded.database.preserve_existing, loaded.logging.level) == (False, "DEBUG")
    assert (loaded.monitoring.enabled, loaded.monitoring.port) == (False, 9000)


@pytest.mark.claim("001.environment-variables.4")
def test_an_explicit_log_level_beats_debug_mode(tmp_path: Path) -> None:
    """It says more."""
    environment: dict[str, object] = {"DEBUG_MODE": "true", "LOG_LEVEL": "ERROR"}

    assert config(tmp_path, "", environment=environment).logging.level == "ERROR"


def test_overrides_are_values_or_text_and_none_is_no_override(tmp_path: Path) -> None:
    """Whatever a command line library makes of its flags."""
    overrides: dict[str, object] = {
        "simulation.readings_per_second": 2.5,
        "replicas.count": "7",
        "replicas.prefix": None,
        "simulation.seed": SourcedValue(3, "--seed"),
        "monitoring.enabled": False,
        "random_location.include_countries": ("DE", "US"),
    }
    loaded = config(tmp_path, "replicas: {prefix: A}", overrides=overrides)

    assert loaded.simulation.readings_per_second == Rate(Fraction("2.5"))
    assert (loaded.replicas.count, loaded.replicas.prefix, loaded.simulation.seed) == (7, "A", 3)
    assert loaded.monitoring.enabled is False
    assert loaded.random_location.include_countries == ("DE", "US")


def test_a_file_that_a_config_names_lies_beside_it(tmp_path: Path) -> None:
    """Whatever the current folder is."""
    shutil.copy(resource_path("cities.tsv"), tmp_path / "cities.tsv")

    loaded = config(tmp_path, "random_location: {cities_file: cities.tsv}")

    assert loaded.random_location.cities_file == str(tmp_path / "cities.tsv")


@pytest.mark.claim("001.llm-integration.3")
def test_the_schema_is_json_and_knows_every_section() -> None:
    """With the bounds that an editor can show."""
    schema = json.loads(json.dumps(json_schema()))
    rate = schema["$defs"]["Simulation"]["properties"]["readings_per_second"]

    assert schema["properties"].keys() == Config.model_fields.keys()
    assert (rate["type"], rate["minimum"], rate["maximum"]) == ("number", 0.000001, 100_000)


def test_a_config_is_frozen() -> None:
    """Whoever holds one holds it unchanged."""
    with pytest.raises(ValueError, match="frozen"):
        load_config(None).replicas.count = 3  # type: ignore[misc]


def test_a_plain_error_is_a_user_error(tmp_path: Path) -> None:
    """One line, with the file's name as the user gave it."""
    with pytest.raises(UserError) as raised:
        config(tmp_path, "replicas: {count: 0}")

    assert f"{tmp_path}/fleet.yaml:1:19: replicas.count: 0 is not between 1 and 100000" == str(raised.value)


@pytest.mark.parametrize(
    ("text", "exact", "shown"),
    [
        ("1/min", Fraction(1, 60), "1/min"),
        ("7 / min", Fraction(7, 60), "7/min"),
        ("1/h", Fraction(1, 3600), "1/h"),
        ("5/d", Fraction(5, 86_400), "5/d"),
        ("90/min", Fraction(3, 2), "1.5"),
        ("2/s", Fraction(2), "2"),
        ("0.25", Fraction(1, 4), "0.25"),
        ("1/5min", Fraction(1, 300), "12/h"),
        ("every 15m", Fraction(1, 900), "4/h"),
        ("every 1h30m", Fraction(1, 5400), "16/d"),
        ("every 500ms", Fraction(2), "2"),
        ("every 7m", Fraction(1, 420), "1/420s"),
        ("every 0.3s", Fraction(10, 3), "200/min"),
    ],
)
def test_a_rate_per_minute_is_exact(text: str, exact: Fraction, shown: str, tmp_path: Path) -> None:
    """Six decimals cannot say one reading a minute."""
    loaded = config(tmp_path, f"simulation: {{readings_per_second: {text}}}")

    assert (exact, exact) == (
        loaded.simulation.readings_per_second.exact,
        settings_for(loaded, load_catalogue(), Identity("A")).exact_rate,
    )
    assert shown == str(loaded.simulation.readings_per_second)
    assert loaded == config(tmp_path, to_yaml(loaded))


def test_a_rate_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"readings_per_second: 0/min is not between 0.000001 and 100000 a second"):
        config(tmp_path, "simulation: {readings_per_second: 0/min}")
    with pytest.raises(UserError, match=r"readings_per_second: 1.5/min is not a rate such as 10, 0.5, 1/min,"):
        config(tmp_path, "simulation: {readings_per_second: 1.5/min}")


def test_readings_a_minute_are_a_minute_apart(tmp_path: Path) -> None:
    rate = config(tmp_path, "simulation: {readings_per_second: 1/min}").simulation.readings_per_second.exact

    assert [0, 60_000_000, 120_000_000] == Schedule(0, 0, rate).times(0, 3).tolist()
    assert 10**6 * 60_000_000 == Schedule(0, 0, rate).time(10**6)


@pytest.mark.parametrize(
    ("stated", "enabled"),
    [
        ("", False),
        ("drift:", False),
        ("drift: {}", False),
        ("drift: {duration_seconds: 60}", False),
        ("drift: {enabled: true}", True),
        ("drift: {weight: 0.3}", True),
        ("drift: {weight: 0.3, enabled: false}", False),
        ("drift: {weight: 0.3, enabled: true}", True),
    ],
)
def test_a_fault_is_off_until_a_config_enables_it(stated: str, enabled: bool, tmp_path: Path) -> None:
    """By `enabled`, or by its weight. The types that the source documents have are on by default."""
    loaded = config(tmp_path, f"anomalies:\n  types:\n    {stated}\n")
    expected = ["spike", "trend", "pattern", "missing_data", "noise", *(["drift"] if enabled else [])]

    assert expected == list(loaded.anomalies.types.enabled())
    assert loaded == config(tmp_path, to_yaml(loaded))


def test_anomalies_may_overlap(tmp_path: Path) -> None:
    who = Identity("X", sensor_type="environmental")
    found = {
        text: settings_for(config(tmp_path, text), load_catalogue(), who).overlap
        for text in ("", "anomalies: {overlap: channels}")
    }

    assert ["none", "channels"] == [*found.values()]

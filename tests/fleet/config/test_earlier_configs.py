"""Configs that users of the simulator before this one have are accepted, and what means nothing here is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.commands.config import config as config_command
from fleet.config.config import load_config
from fleet.config.effects import load_with_warnings
from fleet.errors import UserError

EARLIER = Path(__file__).parent / "earlier"
WITHOUT_EFFECT = {
    "everything": [
        "random_location.filter_by",
        "simulation.run_time_seconds",
        "anomalies.types.trend.rate_change",
        "anomalies.types.noise.noise_multiplier",
        "monitoring.metrics_interval_seconds",
        "monitoring.enable_prometheus",
        "dynamic_reloading.validate_before_reload",
        "advanced",
    ],
    "version-1": [],
    "container": ["database.path", "logging.file", "monitoring.metrics_interval_seconds"],
    "one-country": [
        "database.path",
        "random_location.filter_by",
        "anomalies.types.trend.rate_change",
        "monitoring.metrics_interval_seconds",
        "monitoring.enable_prometheus",
        "dynamic_reloading.validate_before_reload",
    ],
    "factory": ["output"],
    "valid-values": ["valid_configurations"],
}


@pytest.fixture(autouse=True)
def program_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder, with the table of cities where the earlier program had its own."""
    (tmp_path / "src").mkdir()
    shutil.copy(EARLIER / "cities.json", tmp_path / "src" / "cities.json")
    monkeypatch.chdir(tmp_path)


def test_all_of_them_are_checked() -> None:
    assert sorted(WITHOUT_EFFECT) == sorted(path.stem for path in EARLIER.glob("*.yaml"))


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_an_earlier_config_is_accepted(name: str) -> None:
    """By `fleet config check`, with a warning for each key that has no effect, in the order of the file."""
    path = EARLIER / f"{name}.yaml"

    result = CliRunner().invoke(config_command, ["check", str(path)], standalone_mode=False)

    assert (0, f"{path}: ok\n") == (result.return_value, result.stdout)
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"warning: {path}:") for line in lines)
    assert WITHOUT_EFFECT[name] == [line.split(": ")[2] for line in lines]


def test_a_key_with_a_counterpart_sets_that() -> None:
    config = load_config(EARLIER / "one-country.yaml")

    assert (3, 5.0, False) == (
        config.database.backup.keep,
        config.database.batch_interval,
        config.database.preserve_existing,
    )
    assert (50, ("US",)) == (config.random_location.number_of_cities, config.random_location.include_countries)
    spike = config.anomalies.types.spike
    assert (1.2, 1.2) == (spike.multiplier_min, spike.multiplier_max)
    assert ("/health", "/stats") == (config.monitoring.endpoints.health, config.monitoring.endpoints.metrics)
    assert (True, False) == (config.dynamic_reload.enabled, config.dynamic_reload.watch_config)


def test_the_path_of_prometheus_is_no_additional_one() -> None:
    """`/metrics` is always served."""
    assert "/metricz" == load_config(EARLIER / "everything.yaml").monitoring.endpoints.metrics


def test_a_daily_pattern_of_one_channel() -> None:
    channels = load_config(EARLIER / "container.yaml").normal_parameters

    assert channels is not None
    assert (None, 0.0) == (channels["temperature"].daily_amplitude, channels["pressure"].daily_amplitude)


def test_a_table_of_cities_is_looked_for_beside_the_config_and_here(tmp_path: Path) -> None:
    """The earlier program looked in its own folder; names of cities are called full_name there."""
    assert (
        str(tmp_path / "src" / "cities.json") == load_config(EARLIER / "valid-values.yaml").random_location.cities_file
    )
    (tmp_path / "conf").mkdir()
    here = tmp_path / "conf" / "here.yaml"
    here.write_text("random_location: {cities_file: src/none.json}")
    with pytest.raises(UserError) as raised:
        load_config(here)
    places = f"(looked for {tmp_path}/conf/src/none.json and {tmp_path}/src/none.json)"
    assert f"{here}:1:32: random_location.cities_file: src/none.json does not exist {places}" == str(raised.value)


def test_a_key_that_nothing_had_is_still_unknown(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("monitoring: {metrics_every: 5}\ndatabase: {keep_backups: 3}\nadvance: {}")

    with pytest.raises(UserError, match=r"monitoring.metrics_every: unknown key.* \(and 2 more\)"):
        load_config(path)


def test_a_service_link_of_kubernetes_is_no_port(tmp_path: Path) -> None:
    """A service named `monitoring` in the namespace sets MONITORING_PORT in each container."""
    path = tmp_path / "c.yaml"
    path.write_text("monitoring: {port: 9000}")

    loaded = load_with_warnings(path, {"MONITORING_PORT": "tcp://10.0.0.1:80"})

    assert 9000 == loaded.config.monitoring.port
    (warning,) = loaded.warnings
    assert warning.startswith("environment variable MONITORING_PORT: tcp://10.0.0.1:80 is ignored: Kubernetes sets it")
    with pytest.raises(UserError, match="environment variable MONITORING_PORT: tcp is not a whole number"):
        load_config(path, {"MONITORING_PORT": "tcp"})

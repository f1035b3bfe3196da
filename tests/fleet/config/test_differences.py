"""What is different between two configs, and which of it is taken without a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.config.config import Config, SourcedValue, load_config
from fleet.config.differences import apply_reloadable, config_differences, identity_differences
from tests.worker.samples import IDENTITY


def config(**values: object) -> Config:
    return load_config(None, {}, {key.replace("__", "."): SourcedValue(value, key) for key, value in values.items()})


def actual(before: Config, after: Config) -> list[str]:
    return [str(difference) for difference in config_differences(before, after)]


def test_every_difference_has_its_key_and_both_values() -> None:
    after = config(anomalies__probability=0.5, database__path="data/x.db", simulation__seed=7)

    assert [
        "anomalies.probability: 0.05 -> 0.5",
        "database.path: 'data/sensor_data.db' -> 'data/x.db'",
        "simulation.seed: nothing -> 7",
    ] == actual(config(), after)
    assert [] == actual(config(), config())


def test_what_differs_in_a_list_is_named(tmp_path: Path) -> None:
    """As it is in an error."""
    path = tmp_path / "fleet.yaml"
    path.write_text("scenario: [{at: 60, anomalies: {probability: 0.1}}]")
    before = load_config(path)
    path.write_text("scenario: [{at: 60, anomalies: {probability: 0.2}}, {at: 90, daily_pattern: false}]")

    assert [
        "scenario[0].anomalies.probability: 0.1 -> 0.2",
        "scenario[1].at: nothing -> 90.0",
        "scenario[1].daily_pattern: nothing -> false",
    ] == actual(before, load_config(path))
    assert ["random_location.include_countries[0]: nothing -> 'DE'"] == actual(
        config(), config(random_location__include_countries=["DE"])
    )


@pytest.mark.claim(
    "001.dynamic-configuration.2",
    "001.dynamic-configuration.3",
    "001.dynamic-configuration.4",
    "002.dynamic-configuration.3",
    "002.dynamic-configuration.7",
)
def test_what_is_taken_and_what_needs_a_restart() -> None:
    """Settings of sensors, their number, the level of the log; not where data is, nor seed, start and duration."""
    now = {
        "replicas__count": 7,
        "simulation__readings_per_second": 3,
        "logging__level": "DEBUG",
        "daily_pattern": False,
    }
    later = {"simulation__duration_seconds": 5, "replicas__prefix": "S", "monitoring__port": 1, "simulation__seed": 1}
    before, after = config(), config(**now, **later, anomalies__types__spike__weight=0.9)
    result = apply_reloadable(before, after)

    assert sorted([*(key.replace("__", ".") for key in now), "anomalies.types.spike.weight"]) == [
        difference.key for difference in config_differences(before, result)
    ]
    assert sorted(key.replace("__", ".") for key in later) == [
        difference.key for difference in config_differences(result, after)
    ]


def test_what_goes_with_another_type_of_sensor_waits_for_it(tmp_path: Path) -> None:
    """It was completed and checked by the profile of a type that needs a restart; what has to do with no type is taken."""
    path = tmp_path / "fleet.yaml"
    path.write_text("sensor: {type: environmental}\nnormal_parameters: {temperature: {mean: 20}}\n")
    before = load_config(path)
    (tmp_path / "mine.yaml").write_text("temperature_vibration: {firmware: {'9': {multiplier: 2}}}\n")
    path.write_text(
        "sensor: {type: temperature_vibration}\n"
        "normal_parameters: {temperature: {mean: 30}}\n"
        "anomalies: {probability: 0.5}\n"
        "surroundings: none\n"
        "catalogue: mine.yaml\n"
        "scenario: [{at: 1h, normal_parameters: {temperature: {mean: 40}}}]\n"
        "simulation: {readings_per_second: 7}\n"
    )
    after = load_config(path)
    result = apply_reloadable(before, after)

    assert ["simulation.readings_per_second: 1 -> 7"] == actual(before, result)
    waiting = {difference.key.partition(".")[0].partition("[")[0] for difference in config_differences(result, after)}
    assert {"sensor", "normal_parameters", "anomalies", "surroundings", "catalogue", "scenario"} == waiting


def test_differences_of_identities_name_sensor_and_field() -> None:
    moved = replace(IDENTITY, firmware_version="1.3", latitude=None)

    assert [
        "CHI_123456: firmware_version: '1.4' -> '1.3'",
        "CHI_123456: latitude: 41.85 -> nothing",
    ] == [str(difference) for difference in identity_differences(IDENTITY, moved)]

"""A run on the data of an earlier one goes on with its count, rate and layout, unless told otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.config.config import Config, SourcedValue
from fleet.datadir.directory import DataDirectory
from fleet.runtime.planner import Plan, Planner
from fleet.runtime.reload import ConfigSource
from fleet.runtime.start import values_of_last_run

LAYOUTS: dict[str, dict[str, object]] = {
    "own": {},
    "shared": {"replicas.database": "shared"},
    "packed": {"replicas.sensors_per_worker": 3},
}


def loaded(data: Path, config: Path | None = None, **flags: object) -> Config:
    """The config of a start on the directory."""
    overrides = {key.replace("__", "."): SourcedValue(value, key) for key, value in flags.items()}
    return ConfigSource(config, {}, overrides, values_of_last_run(DataDirectory(data))).load()


def run(data: Path, config: Config) -> Plan:
    """A run that leaves its manifest."""
    directory = DataDirectory(data)
    plan = Planner(config, directory, None).initial_plan()
    directory.run.mkdir(parents=True, exist_ok=True)
    directory.write_manifest(plan.record)
    return plan


def shape(config: Config) -> tuple[int, str]:
    return config.replicas.count, str(config.simulation.readings_per_second)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_directory_goes_on_as_it_was(tmp_path: Path, layout: str) -> None:
    flags = LAYOUTS[layout] | {"replicas.count": 5, "simulation.readings_per_second": "10"}
    first = run(tmp_path, loaded(tmp_path, None, **flags))
    second = loaded(tmp_path)

    assert (5, "10") == shape(second)
    assert first.record.sensors == run(tmp_path, second).record.sensors


def test_flags_and_configs_tell_otherwise(tmp_path: Path) -> None:
    """Each key for itself; what a config does not state goes on."""
    data = tmp_path / "data"
    run(data, loaded(data, replicas__count=5, simulation__readings_per_second="10"))
    config = tmp_path / "fleet.yaml"
    config.write_text("replicas: {count: 7}\n")

    assert (6, "10") == shape(loaded(data, replicas__count=6))
    assert (7, "10") == shape(loaded(data, config))
    config.write_text("simulation: {readings_per_second: 2}\n")
    assert (5, "2") == shape(loaded(data, config))


def test_a_change_of_size_is_kept(tmp_path: Path) -> None:
    """`fleet scale` writes the manifest again."""
    first = loaded(tmp_path, replicas__count=2)
    plan = run(tmp_path, first)
    scaled = Planner(first, DataDirectory(tmp_path), None).scaled(plan, 4, plan.run.origin_ns)
    DataDirectory(tmp_path).write_manifest(scaled.record)

    assert 4 == loaded(tmp_path).replicas.count


def test_a_directory_of_the_first_version_goes_on_with_all_its_sensors(tmp_path: Path) -> None:
    """Its manifest has neither count nor rate; without a roster the rate is not known."""
    run(tmp_path, loaded(tmp_path, replicas__count=3, simulation__readings_per_second="10"))
    path = tmp_path / "fleet.json"
    document = json.loads(path.read_text())
    del document["count"], document["rate"]
    path.write_text(json.dumps(document))

    assert (3, "1") == shape(loaded(tmp_path))


def test_a_new_directory_is_as_the_config_says(tmp_path: Path) -> None:
    assert (100, "1") == shape(loaded(tmp_path))

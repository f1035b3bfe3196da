"""Identities of several kinds: drawn from the seed and the number, kept in their files with what the kind declares."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, load_config
from fleet.errors import UserError
from fleet.identities.files import identity_document, read_identity, write_identity
from fleet.identities.generator import AnyGenerator
from fleet.identities.provisioning import check_known_kinds, complete_attributes, generator_for, provision

CATALOGUE = load_catalogue()


def config(**overrides: object) -> Config:
    return load_config(None, {}, {key.replace("__", "."): value for key, value in overrides.items()})


def generator(weights: dict[str, float], seed: int = 7) -> AnyGenerator:
    return generator_for(config(replicas__kinds=weights), CATALOGUE, seed)


def test_kinds_are_mixed_by_weight() -> None:
    """Each number has its kind, whatever the others are."""
    mixed = generator({"environmental": 3, "pipeline": 1})
    drawn = [mixed.generate(number) for number in range(1, 401)]
    counts = Counter(sensor.type for sensor in drawn)

    assert 400 == counts["environmental"] + counts["pipeline"]
    assert 70 < counts["pipeline"] < 130
    assert drawn[100] == generator({"environmental": 3, "pipeline": 1}).generate(101)
    assert {"environmental_monitoring", "pipeline"} == {sensor.identity.sensor_type for sensor in drawn}


def test_a_kind_of_weight_1_is_that_kind_alone() -> None:
    alone = generator_for(config(sensor__type="pipeline"), CATALOGUE, 7)

    assert alone.generate(3) == generator({"pipeline": 1}).generate(3)


def test_a_pipeline_sensor_keeps_what_it_is(tmp_path: Path) -> None:
    """Type, unit, pipeline and mile post are drawn once, and written to its file."""
    sensor = generator({"pipeline": 1}).generate(5)
    attributes = dict(sensor.identity.attributes)
    path = write_identity(tmp_path, sensor)

    assert ["type", "pipeline_id", "mile_post", "unit"] == list(attributes)
    assert sensor.sensor_id.startswith(f"SNS-{attributes['type'][:3]}-")  # type: ignore[index]
    assert 4 == len(sensor.sensor_id.rpartition("-")[2])
    assert "US" == sensor.country
    assert sensor == read_identity(path)
    assert attributes == json.loads(path.read_text())["attributes"]


def test_ids_by_a_pattern_differ() -> None:
    """Beyond the numbers that four digits have, with six."""
    pipeline = generator({"pipeline": 1})
    ids = [pipeline.generate(number).sensor_id for number in (*range(0, 10_000, 7), *range(10_000, 11_000, 7))]

    assert len(ids) == len(set(ids))
    assert {4, 6} == {len(name.rpartition("-")[2]) for name in ids}


def test_an_identity_without_attributes_has_those_of_its_id(tmp_path: Path) -> None:
    """The same on every start; values in the file apply; what the kind does not declare is left out."""
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps({"id": "A", "type": "pipeline", "timezone": "UTC", "attributes": {"mile_post": 7, "x": 1}})
    )
    sensor = read_identity(path)
    completed = complete_attributes(config(), CATALOGUE, sensor)

    assert completed == complete_attributes(config(), CATALOGUE, sensor)
    assert ["type", "pipeline_id", "mile_post", "unit"] == [name for name, _ in completed]
    assert 7.0 == dict(completed)["mile_post"]


@pytest.mark.parametrize("value", [{"mile_post": [1]}, {"mile_post": True}, {"room": "a\nb"}, 3])
def test_a_wrong_attribute_is_reported(value: object, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"id": "A", "timezone": "UTC", "attributes": value}))

    with pytest.raises(UserError, match=r"a.json:1:.*attributes"):
        read_identity(path)


def test_provisioning_keeps_kinds(tmp_path: Path) -> None:
    """A fleet that grows draws the same kinds; the files of those it has are read again."""
    mixed = generator({"environmental": 1, "pipeline": 1})
    few, _ = provision(tmp_path, mixed, 5)
    many, warnings = provision(tmp_path, mixed, 20)

    assert (few, []) == (many[:5], warnings)


def test_a_generated_sensor_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """It would go on under another kind, with other columns."""
    path = tmp_path / "air.yaml"
    path.write_text("channels: {co2: {unit: ppm, mean: 600, std_dev: 100, min: 380, max: 5000}}")
    catalogue = load_catalogue(None, [path])
    sensor = generator_for(config(sensor__type=str(path)), catalogue, 7).generate(1)

    check_known_kinds(catalogue, [sensor])
    with pytest.raises(UserError, match='was generated as a "air" sensor, a kind that is not known; name its file'):
        check_known_kinds(CATALOGUE, [sensor])


def test_documents_without_attributes_are_as_before() -> None:
    """The files of version 0.1.0 have no such section."""
    assert "attributes" not in identity_document(generator({"environmental": 1}).generate(1))

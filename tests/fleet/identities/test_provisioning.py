"""The sensors of a fleet: provided identity files, generated ones, and those still to be generated."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.catalogue.cities import CityFilters, filter_cities, read_cities
from fleet.errors import UserError
from fleet.identities.files import StoredIdentity, read_identities, write_identity
from fleet.identities.generator import IdentityGenerator
from fleet.identities.provisioning import generated_seed, provision

CITIES = filter_cities(read_cities(), CityFilters(number_of_cities=10))
GENERATOR = IdentityGenerator(7, CITIES, load_catalogue().sensor_type("environmental"))


def ids(sensors: list[StoredIdentity]) -> list[str]:
    return [sensor.sensor_id for sensor in sensors]


def give(directory: Path, sensor_id: str, name: str | None = None) -> Path:
    path = directory / f"{name or sensor_id}.json"
    path.write_text(json.dumps({"id": sensor_id, "timezone": "UTC"}))
    return path


def test_a_fleet_is_generated_and_read_again(tmp_path: Path) -> None:
    """The first start writes one file a sensor, the second reads them and writes nothing."""
    directory = tmp_path / "new" / "identities"
    sensors, warnings = provision(directory, GENERATOR, 20)
    written = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}

    assert (len(sensors), warnings) == (20, [])
    assert set(written) == {f"{name}.json" for name in ids(sensors)}
    assert provision(directory, GENERATOR, 20) == (sensors, [])
    assert written == {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}


def test_fleets_of_any_size_share_their_first_sensors(tmp_path: Path) -> None:
    """Ten, a hundred, and a hundred that grew from ten; and ten again, though the files of a hundred are there."""
    ten, _ = provision(tmp_path / "a", GENERATOR, 10)
    hundred, _ = provision(tmp_path / "b", GENERATOR, 100)

    assert hundred[:10] == ten
    assert provision(tmp_path / "a", GENERATOR, 100) == (hundred, [])
    assert provision(tmp_path / "b", GENERATOR, 10) == (ten, [])


@pytest.mark.claim("002.use-case.1")
def test_a_fleet_may_be_split_between_machines(tmp_path: Path) -> None:
    """Numbers 6 to 10 are the same sensors wherever they are generated."""
    whole, _ = provision(tmp_path / "a", GENERATOR, 10)

    assert provision(tmp_path / "b", GENERATOR, 5, start_index=6) == (whole[5:], [])


def test_an_edited_sensor_keeps_what_was_written(tmp_path: Path) -> None:
    """An edit of a generated file is read, and the sensor keeps its number."""
    before, _ = provision(tmp_path, GENERATOR, 3)
    edited = replace(before[1], identity=replace(before[1].identity, sensor_id="MINE", location="Roof"))
    (tmp_path / f"{before[1].sensor_id}.json").unlink()
    write_identity(tmp_path, edited)

    assert provision(tmp_path, GENERATOR, 3) == ([before[0], edited, before[2]], [])


def test_given_sensors_come_first(tmp_path: Path) -> None:
    """In the order of their file names; generated ones follow."""
    generated, _ = provision(tmp_path / "other", GENERATOR, 2)
    give(tmp_path, "Z", "1")
    give(tmp_path, "Y", "2")

    sensors, warnings = provision(tmp_path, GENERATOR, 4)

    assert ids(sensors) == ["Z", "Y", *ids(generated)]
    assert warnings == []


def test_given_sensors_beyond_the_count_are_left_out_with_a_warning(tmp_path: Path) -> None:
    for name in "ABCDEF":
        give(tmp_path, name)

    sensors, warnings = provision(tmp_path, GENERATOR, 2)

    assert ids(sensors) == ["A", "B"]
    assert warnings == [
        f'{tmp_path}: more identities than sensors, ignored: "C", "D", "E" and 1 more',
    ]


def test_a_generated_sensor_never_takes_a_provided_id(tmp_path: Path) -> None:
    """Not the id of a given sensor, and not the name of its file, which would be overwritten."""
    generator = replace(GENERATOR, prefix="S")
    give(tmp_path, "S_000001", "mine")
    other = give(tmp_path, "OTHER", "S_000002")
    content = other.read_bytes()

    sensors, _ = provision(tmp_path, generator, 5)

    assert ids(sensors) == ["OTHER", "S_000001", "S_000003", "S_000004", "S_000005"]
    assert other.read_bytes() == content
    assert provision(tmp_path, generator, 5)[0] == sensors


def test_another_seed_is_a_user_error(tmp_path: Path) -> None:
    """It says which seed the files have, and what to do."""
    provision(tmp_path, GENERATOR, 1)

    with pytest.raises(UserError) as caught:
        provision(tmp_path, replace(GENERATOR, seed=8), 1)

    assert str(caught.value) == (
        f"{tmp_path}: BEI_921380 was generated with seed 7, not 8: use --seed 7, or another directory for the identities"
    )


def test_the_seed_of_a_directory_is_known(tmp_path: Path) -> None:
    """So that a start without a seed can go on with the one that is there."""
    assert generated_seed(tmp_path / "none") is None
    give(tmp_path, "A")
    assert generated_seed(tmp_path) is None
    provision(tmp_path, GENERATOR, 2)
    assert generated_seed(tmp_path) == 7


def test_a_copy_of_a_generated_file_is_a_user_error(tmp_path: Path) -> None:
    """Two sensors with one number cannot both have its place."""
    (sensor,), _ = provision(tmp_path, GENERATOR, 1)
    write_identity(tmp_path, replace(sensor, identity=replace(sensor.identity, sensor_id="COPY")))

    with pytest.raises(
        UserError, match=r': BEI_921380 and COPY both say they were generated as number 1: remove "minted"'
    ):
        provision(tmp_path, GENERATOR, 1)


def test_sensors_outlive_the_settings_that_made_them(tmp_path: Path) -> None:
    """Other cities, another prefix: those that are there stay, the new ones follow, and one warning says so."""
    before, _ = provision(tmp_path, GENERATOR, 2)

    sensors, warnings = provision(tmp_path, replace(GENERATOR, prefix="S"), 3)

    assert ids(sensors) == [*ids(before), "S_000003"]
    kept = "2 of 3 sensors were generated with other settings and keep their identities"
    assert warnings == [f"{tmp_path}: {kept}; delete their files to generate them again"]


def test_only_those_who_take_part_are_warned_of(tmp_path: Path) -> None:
    for name in "AB":
        (tmp_path / f"{name}.json").write_text(json.dumps({"id": name}))

    _, warnings = provision(tmp_path, GENERATOR, 1)

    assert warnings == [
        f"{tmp_path / 'A.json'}: no timezone in it, taken as UTC",
        f'{tmp_path}: more identities than sensors, ignored: "B"',
    ]


def test_a_start_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    """Files that are missing, and a temporary one that was left, make no difference."""
    sensors, _ = provision(tmp_path, GENERATOR, 5)
    lost = tmp_path / f"{sensors[3].sensor_id}.json"
    os.replace(lost, tmp_path / f"{sensors[3].sensor_id}.new")

    assert provision(tmp_path, GENERATOR, 5) == (sensors, [])
    assert len(read_identities(tmp_path)) == len(list(tmp_path.iterdir())) == 5


def test_a_directory_that_cannot_be_made_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match=r"file/identities: is not a folder of identity files"):
        provision(tmp_path / "file" / "identities", GENERATOR, 1)


def test_one_identity_file_is_a_fleet_of_one(tmp_path: Path) -> None:
    """No other identity is generated beside it."""
    path = give(tmp_path, "A")

    sensors, _ = provision(path, GENERATOR, 1)

    assert ["A"] == ids(sensors)
    with pytest.raises(UserError, match=r"A\.json: is the identity of one sensor, but 3 are needed"):
        provision(path, GENERATOR, 3)
    assert [path] == list(tmp_path.iterdir())

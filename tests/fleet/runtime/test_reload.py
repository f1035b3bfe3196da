"""Hot reload: the edits that are applied, the events about them, and edits that are found together."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.datadir.interventions import Interventions
from tests.fleet.runtime.steered import InProcessFleet

TWO = """
replicas: {count: 2, prefix: S}
simulation: {readings_per_second: 2}
sensor: {firmware_version: '1.4'}
"""
ONE, OTHER = "S_000001", "S_000002"


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    """The level of the log is set with each reload."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def started(
    folder: Path, text: str = TWO, environment: dict[str, str] | None = None, identities: Path | None = None
) -> InProcessFleet:
    """A fleet after its first check, at which the config is read once more."""
    steered = InProcessFleet(folder, text, environment, identities)
    assert [] == steered.check_files()
    return steered


def edit(path: Path, section: str, **values: object) -> None:
    document = json.loads(path.read_text())
    document[section] |= values
    path.write_text(json.dumps(document))


def located(steered: InProcessFleet) -> list[str | None]:
    return [sensor.identity.location for sensor in steered.sensors.values()]


def test_a_config_that_is_deleted_right_after_the_start_is_reported(tmp_path: Path) -> None:
    """Before the first check. When the file is back, its changes are applied."""
    steered = InProcessFleet(tmp_path, TWO)
    steered.file.unlink()

    assert [f"not reloaded: {steered.file}: is gone; the fleet goes on as it was"] == steered.check_files()
    steered.file.write_text(TWO.replace("second: 2", "second: 4"))
    assert ["reloaded: simulation.readings_per_second: 2 -> 4"] == steered.check_files()
    assert [] == steered.problems


def test_a_config_from_a_pipe_is_not_watched(tmp_path: Path) -> None:
    """`-c <(command)`: the pipe is empty after the start, and an empty config is a hundred sensors at 1/s."""
    reader, writer = os.pipe()
    os.write(writer, TWO.encode())
    os.close(writer)
    steered = InProcessFleet(tmp_path, "", file=Path(f"/dev/fd/{reader}"))

    assert [] == steered.check_files() + steered.check_files()
    assert 2 == len(steered.sensors)
    os.close(reader)


@pytest.mark.parametrize("becomes", ["config", "catalogue"])
def test_a_file_that_becomes_a_fifo_is_reported_and_not_opened(tmp_path: Path, becomes: str) -> None:
    """To open it would block the supervisor."""
    (tmp_path / "more.yaml").write_text("{}\n")
    steered = started(tmp_path, TWO + "catalogue: more.yaml\n")
    path = steered.file if becomes == "config" else tmp_path / "more.yaml"
    path.unlink()
    os.mkfifo(path)
    before = time.monotonic()

    (event,) = steered.check_files()
    assert f"not reloaded: {path}: is no longer a regular file; the fleet goes on as it was" == event
    assert time.monotonic() - before < 1.0


def test_sensors_that_are_added_and_left_out_between_two_checks_are_no_problem(tmp_path: Path) -> None:
    """`fleet scale 4; fleet scale 2`: their identity files are new, and they take no part at present."""
    steered = started(tmp_path)
    steered.reconciler.scale(4)
    steered.reconciler.scale(2)

    assert [] == steered.check_files()
    edit(steered.identity("S_000003"), "location", address="Rome")
    assert [] == steered.check_files()
    steered.reconciler.scale(3)
    assert [] == steered.check_files() + steered.problems
    assert "Rome" in str(located(steered))


def test_a_problem_with_a_sensor_ends_when_the_sensor_is_left_out(tmp_path: Path) -> None:
    steered = started(tmp_path)
    steered.identity(OTHER).unlink()
    steered.check_files()
    assert 1 == len(steered.problems)
    steered.reconciler.scale(1)

    assert [] == steered.check_files()
    assert [] == steered.problems


def test_an_edit_beside_a_refused_one_is_taken(tmp_path: Path) -> None:
    """A number of sensors that there is no room for is the config's trouble alone."""
    steered = started(tmp_path)
    steered.file.write_text(TWO.replace("count: 2", "count: 90000"))
    edit(steered.identity(ONE), "location", address="Rome")
    refused, taken = steered.check_files()

    assert refused.startswith("not reloaded: 90000 sensors are more than this run has room for")
    assert taken.startswith(f"reloaded: {ONE}: location: ")
    assert [refused.removeprefix("not reloaded: ")] == steered.problems
    assert "Rome" in located(steered)
    steered.file.write_text(TWO)
    assert ([], []) == (steered.check_files(), steered.problems)


def test_a_refused_identity_keeps_nothing_else_back(tmp_path: Path) -> None:
    """It alone is the trouble, until it is mended."""
    strict = TWO + "identities: {strict: true}\n"
    steered = started(tmp_path, strict)
    steered.file.write_text(strict.replace("second: 2", "second: 4"))
    edit(steered.identity(ONE), "device_info", firmware_version="77")
    edit(steered.identity(OTHER), "location", address="Rome")
    refused, *taken = steered.check_files()

    assert refused.startswith(f'not reloaded: {ONE}: firmware_version "77" is not one of the catalogue')
    assert ["reloaded: simulation.readings_per_second: 2 -> 4"] == taken[:1]
    assert ({"4"}, "Rome") == ({sensor.settings.rate for sensor in steered.sensors.values()}, located(steered)[1])
    assert 1 == len(steered.problems)
    edit(steered.identity(ONE), "device_info", firmware_version="2.5")
    assert [f"reloaded: {ONE}: firmware_version: '1.4' -> '2.5'"] == steered.check_files()
    assert [] == steered.problems


def test_what_a_full_disk_kept_back_is_taken_with_the_next_change(tmp_path: Path) -> None:
    """Of any file; and the trouble is over with it."""
    steered = started(tmp_path)
    steered.directory.run.rename(tmp_path / "away")
    steered.file.write_text(TWO.replace("second: 2", "second: 4"))
    edit(steered.identity(ONE), "location", address="Rome")
    assert {"not reloaded: the data directory cannot be written"} == {*steered.check_files()}
    assert ["the data directory cannot be written"] == steered.problems
    (tmp_path / "away").rename(steered.directory.run)
    edit(steered.identity(OTHER), "location", address="Oslo")

    assert 3 == len(steered.check_files())
    assert (["Rome", "Oslo"], []) == (located(steered), steered.problems)
    assert {"4"} == {sensor.settings.rate for sensor in steered.sensors.values()}


def test_what_is_overridden_is_not_told_as_taken(tmp_path: Path) -> None:
    """It applies once it is not overridden any more."""
    given = tmp_path / "given.json"
    given.write_text('{"id": "OWN", "timezone": "UTC", "location": "Paris", "model": "AllSense-Pro"}')
    config = "sensor: {location: Berlin}\n"
    steered = started(tmp_path, config, {"SENSOR_ID": "OVER"}, given)
    given.write_text(given.read_text().replace("Paris", "Rome"))
    assert ([], None) == (steered.check_files(), steered.reload.report.changed_at)
    given.write_text(given.read_text().replace("AllSense-Pro", "FactoryGuard-7000"))
    assert ["reloaded: OVER: model: 'AllSense-Pro' -> 'FactoryGuard-7000'"] == steered.check_files()
    assert ["Berlin"] == located(steered)
    steered.file.write_text("version: 2\n")

    assert ["reloaded: sensor.location: 'Berlin' -> nothing"] == steered.check_files()
    assert ["Rome"] == located(steered)


def test_a_single_identity_that_is_wrong_is_told_until_it_is_mended(tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    given.write_text('{"id": "OWN", "timezone": "UTC"}')
    steered = started(tmp_path, "version: 2", identities=given)
    given.write_text("{")
    assert 1 == len(steered.check_files()) == len(steered.problems)
    given.write_text('{"id": "OWN", "timezone": "UTC", "location": "Rome"}')

    assert ["reloaded: OWN: location: nothing -> 'Rome'"] == steered.check_files()
    assert [] == steered.problems


CATALOGUE = "environmental: {firmware: {'1.4': {std_dev: {temperature: %s}}}}\n"


def deviations(steered: InProcessFleet) -> set[float]:
    return {sensor.settings.channels[0].std_dev for sensor in steered.sensors.values()}


def test_the_catalogue_is_taken_as_the_config_is(tmp_path: Path) -> None:
    """For all sensors at once, with an event, and not only with the next command."""
    catalogue = tmp_path / "mine.yaml"
    catalogue.write_text(CATALOGUE % 1)
    steered = started(tmp_path, TWO + "catalogue: mine.yaml\n")
    (before,) = deviations(steered)
    catalogue.write_text(CATALOGUE % 3)
    steered.reconciler.change_interventions(Interventions(probabilities={ONE: 0.5}))
    assert {before} == deviations(steered)

    assert ["reloaded: catalogue.environmental.firmware.1.4.std_dev.temperature: 1 -> 3"] == steered.check_files()
    assert {3 * before} == deviations(steered)


def test_a_catalogue_that_is_wrong_or_gone_changes_nothing(tmp_path: Path) -> None:
    """It is reported until it is corrected, and commands use the catalogue that was read."""
    catalogue = tmp_path / "mine.yaml"
    catalogue.write_text(CATALOGUE % 1)
    steered = started(tmp_path, TWO + "catalogue: mine.yaml\n")
    before = deviations(steered)
    catalogue.write_text(CATALOGUE % "much")
    (line,) = steered.check_files()
    assert (
        f"not reloaded: {catalogue}:1:59: environmental.firmware.1.4.std_dev.temperature: much is not a number" in line
    )
    catalogue.unlink()
    (line,) = steered.check_files()
    assert line.startswith(f"not reloaded: {steered.file}:5:12: catalogue: mine.yaml does not exist")
    steered.reconciler.change_interventions(Interventions(probabilities={ONE: 0.5}))
    assert before == deviations(steered)
    catalogue.write_text(CATALOGUE % 1)

    assert ([], []) == (steered.check_files(), steered.problems)


def test_identities_and_catalogue_are_taken_together(tmp_path: Path) -> None:
    """A firmware that a strict config would not allow otherwise."""
    strict = TWO + "identities: {strict: true}\ncatalogue: mine.yaml\n"
    catalogue = tmp_path / "mine.yaml"
    catalogue.write_text(CATALOGUE % 1)
    steered = started(tmp_path, strict)
    catalogue.write_text((CATALOGUE % 1).replace("'1.4'", "'77': {multiplier: 2}, '1.4'"))
    edit(steered.identity(ONE), "device_info", firmware_version="77")

    assert f"reloaded: {ONE}: firmware_version: '1.4' -> '77'" == steered.check_files()[-1]
    assert [] == steered.problems


AIR = "channels: {co2: {unit: ppm, mean: 600, std_dev: 100, min: 380, max: 5000}}\n"


def test_a_changed_kind_is_applied_unless_its_columns_change(tmp_path: Path) -> None:
    """The file is watched as the config is; other columns need a restart."""
    kind = tmp_path / "air.yaml"
    kind.write_text(AIR)
    steered = started(tmp_path, f"replicas: {{count: 1, prefix: S}}\nsensor: {{type: {kind}}}\n")

    kind.write_text(AIR.replace("600", "700"))
    assert ["reloaded: catalogue.air.channels.co2.mean: 600.0 -> 700.0"] == steered.check_files()
    kind.write_text(AIR.replace("co2:", "co:"))
    (problem,) = steered.check_files()
    assert problem.endswith("fleet.yaml: the columns of air sensors change, which needs a restart of the fleet")
    kind.write_text(AIR.replace("600", "800"))
    assert ["reloaded: catalogue.air.channels.co2.mean: 700.0 -> 800.0"] == steered.check_files()


def test_a_sensor_that_runs_keeps_its_kind(tmp_path: Path) -> None:
    steered = started(tmp_path)
    path = steered.identity(ONE)
    document = json.loads(path.read_text())
    document["type"] = document["metadata"]["sensor_type"] = "wind_turbine"
    path.write_text(json.dumps(document))

    (problem,) = steered.check_files()
    assert "S_000001 is of the kind environmental, not wind_turbine: a sensor that runs keeps its kind" in problem

"""Files that are edited while a fleet runs: changes are applied without a restart, and recorded as epochs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.process.conftest import Up
from tests.process.evidence import databases, open_database
from tests.process.running_fleet import ENVIRONMENT, FleetProcess, fleet, wait_for

pytestmark = pytest.mark.claim("000.configuration-file.11", "002.introduction-features.7")

CONFIG = """\
version: 2
replicas: {count: %(count)d}
simulation: {readings_per_second: 10}
anomalies:
  probability: %(probability)s
  types:
    spike: {weight: 1}
database: {batch_interval: 0.2}
logging: {level: %(level)s}
dynamic_reload: {check_interval: 0.6}
"""
CHECK, BATCH, TURN = 0.6, 0.2, 3.0
"""Seconds: the check interval, a batch, and the delay of a busy machine."""

EPOCHS = "SELECT reason, first_seq, settings FROM epochs ORDER BY first_seq"


def config(count: int = 3, probability: object = 0.01, level: str = "INFO") -> str:
    return CONFIG % {"count": count, "probability": probability, "level": level}


def epochs(data: Path) -> dict[str, list[tuple[str, int, str]]]:
    found = {}
    for path in databases(data):
        with open_database(path) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'epochs'").get:
                continue  # it is only just being made
            found[path.stem] = [(reason, seq, text) for reason, seq, text in connection.execute(EPOCHS)]
    return found


def share(settings: str) -> float:
    return sum(float(spec["share"]) for spec in json.loads(settings)["anomalies"])


def replace(path: Path, text: str) -> None:
    """As many editors do: another file takes the place of the old one."""
    other = path.with_name(f".{path.name}.swp")
    other.write_text(text)
    os.replace(other, path)


def restarts(running: FleetProcess) -> int:
    return sum(int(running.row(sensor)["restarts"]) for sensor in running.sensors)


def status(running: FleetProcess) -> dict[str, list[str]]:
    reload_: dict[str, list[str]] = json.loads(fleet("status", "--json", "--data", running.data).stdout)["reload"]
    return reload_


def verified(running: FleetProcess) -> None:
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == running.wait()
    verdict = fleet("verify", "--data", running.data)
    assert 0 == verdict.returncode, verdict.stdout


@pytest.mark.claim(
    "000.advanced-features.1",
    "001.dynamic-configuration.1",
    "001.key-features.6",
    "002.dynamic-configuration.1",
    "002.dynamic-configuration.4",
)
def test_twenty_sensors_take_what_is_edited(tmp_path: Path, up: Up) -> None:
    """From 0.01 to 0.5 within the check interval and one batch, an epoch in each database and no restart; an edit that
    has an error changes nothing and is reported with its line and column; the data is verified."""
    path = tmp_path / "fleet.yaml"
    path.write_text(config(20))
    running = up("-c", path).ready()
    pids = {int(running.row(sensor)["pid"]) for sensor in running.sensors}
    begun = time.monotonic()
    replace(path, config(20, 0.5))
    wait_for(
        lambda: all(len(found) == 2 for found in epochs(running.data).values()),
        "an epoch in each database",
        CHECK + BATCH + TURN,
    )
    took = time.monotonic() - begun

    for (*_, before), (reason, first, after) in epochs(running.data).values():
        assert ("settings", True) == (reason, first > 0)
        assert share(after) == pytest.approx(min(0.9, 50 * share(before)))
    assert 20 == len(epochs(running.data))
    assert took < CHECK + BATCH + TURN
    replace(path, config(20, "many"))
    wait_for(lambda: "not reloaded" in running.output, "the complaint")
    line = f"{path}:5:16: anomalies.probability: many is not a number between 0 and 1"
    assert [line] == status(running)["problems"]
    assert f"not reloaded: {line}" in fleet("status", "--data", running.data).stdout
    assert [line] == running.get("/statusz")[1]["reload"]["problems"]
    assert {2} == {len(found) for found in epochs(running.data).values()}
    assert pids == {int(running.row(sensor)["pid"]) for sensor in running.sensors}
    verified(running)


@pytest.mark.claim("002.dynamic-configuration.5", "002.dynamic-configuration.7")
def test_all_that_can_be_taken_is_taken(tmp_path: Path, up: Up) -> None:
    """Number of sensors, rate, level of the log; what cannot be is named; what is mended or goes away is survived."""
    path = tmp_path / "fleet.yaml"
    path.write_text(config(3))
    running = up("-c", path).ready()
    path.unlink()
    wait_for(lambda: "is gone" in running.output, "the fleet notices that its config is gone")
    path.write_text(config(5, level="DEBUG").replace("second: 10", "second: 20").replace("0.2}", "0.3}"))
    wait_for(lambda: len(running.sensors) == 5, "two more sensors")
    wait_for(lambda: {member.rate for member in running.roster.members} == {20.0}, "the rate")
    wait_for(lambda: len(databases(running.data)) == 5, "their databases")
    wait_for(lambda: sum(len(found) == 2 for found in epochs(running.data).values()) == 3, "the epochs of the first")
    assert ["database.batch_interval: 0.2 -> 0.3"] == status(running)["needs_restart"]
    assert [] == status(running)["problems"]
    path.write_text(config(2, level="DEBUG").replace("second: 10", "second: 20"))
    wait_for(lambda: len(running.sensors) == 2, "fewer sensors")
    assert [] == status(running)["needs_restart"]
    assert 0 == restarts(running)
    verified(running)


@pytest.mark.claim("001.dynamic-configuration.4", "002.dynamic-configuration.2")
def test_identities_are_taken_but_for_their_ids(tmp_path: Path, up: Up) -> None:
    """An epoch with the new firmware and its effects for that sensor, none for the others."""
    path = tmp_path / "fleet.yaml"
    path.write_text(config(3))
    running = up("-c", path).ready()
    one, two, three = (running.data / "identities" / f"{sensor}.json" for sensor in running.sensors)
    identity = json.loads(one.read_text())
    identity["device_info"]["firmware_version"] = "9.9-new"
    replace(one, json.dumps(identity))
    wait_for(lambda: len(epochs(running.data)[one.stem]) == 2, "the epoch")
    two.write_text("{")
    three.unlink()
    wait_for(lambda: running.output.count("not reloaded") == 2, "the complaints")
    assert [
        f"{two}:1:2: invalid JSON: Expecting property name enclosed in double quotes",
        f"{three}: is gone; {three.stem} goes on as it was",
    ] == sorted(status(running)["problems"], key=len, reverse=True)
    with open_database(running.data / f"{one.stem}.db") as connection:
        versions = connection.execute("SELECT DISTINCT firmware_version FROM sensor_readings ORDER BY id").fetchall()
    assert (2, "9.9-new") == (len(versions), versions[-1][0])
    assert [1, 1] == [len(epochs(running.data)[path.stem]) for path in (two, three)]
    verified(running)


def test_a_worker_that_was_not_there_begins_with_what_it_missed(tmp_path: Path, up: Up) -> None:
    """One that is stopped takes the order when it wakes; one that is killed meanwhile is started with it."""
    path = tmp_path / "fleet.yaml"
    path.write_text(config(2))
    running = up("-c", path).ready()
    stopped, killed = running.sensors
    running.worker(stopped).suspend()
    running.worker(killed).suspend()
    replace(path, config(2, 0.5))
    wait_for(lambda: "reloaded: anomalies.probability: 0.01 -> 0.5" in running.output, "the reload")
    running.worker(killed).kill()
    running.worker(stopped).resume()
    wait_for(lambda: {2} == {len(found) for found in epochs(running.data).values()}, "an epoch each")
    verified(running)


STARTS_SLOWLY = """
import sys
from pathlib import Path

from fleet.config.config import load_config
from fleet.commands.services import fleet_services
from fleet.datadir.directory import DataDirectory
from fleet.runtime.fleet import Fleet
from fleet.runtime.preparation import prepare_run
from fleet.runtime.reload import ConfigSource

config, data, identity = map(Path, sys.argv[1:])
directory = DataDirectory(data)
directory.hold()
prepared = prepare_run(load_config(config), directory, ConfigSource(config, {}, {}), identity, None)
identity.write_text(identity.read_text().replace("Paris", "Rome"))
sys.exit(Fleet(prepared, fleet_services()).run())
"""


def test_an_identity_that_is_edited_during_the_start_is_taken(tmp_path: Path) -> None:
    """After it was read, and before anybody looked for changes."""
    path, identity = tmp_path / "fleet.yaml", tmp_path / "given.json"
    path.write_text(config(1).replace("second: 10", "second: 10, duration_seconds: 2"))
    identity.write_text('{"id": "S", "timezone": "UTC", "location": "Paris"}')
    command = (sys.executable, "-c", STARTS_SLOWLY, path, tmp_path / "data", identity)
    done = subprocess.run(
        tuple(map(str, command)), env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (0, True) == (done.returncode, "reloaded: S: location: 'Paris' -> 'Rome'" in done.stdout), done

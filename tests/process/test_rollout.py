"""A firmware roll-out on a running fleet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.errors import UserError
from fleet.runtime.control_client import send_command
from tests.process.conftest import Up
from tests.process.evidence import open_database
from tests.process.running_fleet import FleetProcess, fleet, wait_for

pytestmark = pytest.mark.thorough

CONFIG = """
version: 2
replicas: {count: 5}
simulation: {readings_per_second: 10, seed: 7}
sensor: {firmware_version: "1.4"}
anomalies: {probability: 0.1}
database: {batch_interval: 0.2}
dynamic_reload: {check_interval: 0.4}
"""
BETA = "3.0.0-beta"


def rolled_out(data: Path) -> set[str]:
    """Who has the firmware by the identity files."""
    files = (data / "identities").glob("*.json")
    return {path.stem for path in files if json.loads(path.read_text())["device_info"]["firmware_version"] == BETA}


def reported_shares(running: FleetProcess) -> dict[str, float]:
    """The share of anomalous readings of each sensor that has the firmware, by the last epoch in its database."""
    found = {}
    for sensor in running.sensors:
        with open_database(running.data / f"{sensor}.db") as connection:
            query = "SELECT identity, settings FROM epochs ORDER BY first_seq DESC LIMIT 1"
            ((identity, settings),) = connection.execute(query)
        if json.loads(identity)["firmware_version"] == BETA:
            found[sensor] = sum(spec["share"] for spec in json.loads(settings)["anomalies"])
    return found


def refused(running: FleetProcess, *arguments: str) -> str:
    answer = fleet("rollout", "--data", running.data, *arguments)
    assert (1, "") == (answer.returncode, answer.stdout)
    assert 1 == answer.stderr.count("\n")
    return answer.stderr


@pytest.mark.claim("001.advanced-testing.4", "002.firmware-dependent.5", "002.use-case.5")
def test_a_share_of_the_sensors_gets_another_firmware(tmp_path: Path, up: Up) -> None:
    """Step by step, with the catalogue's effects; kept over a restart of the fleet; what cannot be is one line."""
    path = tmp_path / "fleet.yaml"
    path.write_text(CONFIG)
    running = up("-c", path).ready()
    assert "is not a firmware of these sensors: 1.0, 1.2.0, 1.4," in refused(running, "--firmware", "9", "--share", "1")
    assert "--share: '0%' is not a share such as 20%" in refused(running, "--firmware", BETA, "--share", "0%")
    assert "rollout: step and every belong together" in refused(
        running, "--firmware", BETA, "--share", "1", "--step", "1%"
    )
    begun = fleet("rollout", "--data", running.data, "--firmware", BETA, "--share=40%", "--step=20%", "--every=3s")
    assert f"roll-out: firmware {BETA} on 1 of 5 sensors, to be 2; next step in 3 s\n" == begun.stdout
    with pytest.raises(UserError, match=f"the roll-out of {BETA} is under way, next step in"):
        send_command(
            running.data / "run" / "control.sock", 5, command="rollout", firmware="2.5", share=1.0, step=1.0, every=1.0
        )
    first = rolled_out(running.data)
    assert 1 == len(first)
    wait_for(lambda: len(reported_shares(running)) == 2, "the second step")
    shares = reported_shares(running)
    assert first < shares.keys() == rolled_out(running.data)
    assert f"roll-out: firmware {BETA} on 2 of 5 sensors\n" in fleet("status", "--data", running.data).stdout
    assert all(share > 0.1 for share in shares.values())
    assert 0 == sum(int(running.row(sensor)["restarts"]) for sensor in running.sensors)
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == running.wait()
    again = up("-c", path).ready()
    assert shares == reported_shares(again)
    assert 0 == fleet("down", "--data", again.data).returncode
    assert 0 == again.wait()
    verdict = fleet("verify", "--data", again.data)
    assert 0 == verdict.returncode, verdict.stdout

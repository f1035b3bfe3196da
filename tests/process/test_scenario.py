"""A scenario on a running fleet: every step begins at its own reading, also where nobody lived at that time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.process.conftest import Up
from tests.process.evidence import assert_complete
from tests.process.running_fleet import fleet, wait_for

pytestmark = pytest.mark.thorough

CONFIG = """
version: 2
replicas: {count: 2, prefix: S}
simulation: {readings_per_second: 20, seed: 7, start: 2026-01-01T00:00:00Z, resume: catch_up, duration: 4}
anomalies: {probability: 0.05}
scenario:
  - {at: 1s, anomalies: {probability: 0.3}}
  - {at: 2s, anomalies: {probability: 0.6}, normal_parameters: {temperature: {mean: 30}}}
database: {batch_interval: 0.2}
"""


def test_a_fleet_that_was_dead_at_a_step_has_the_same_data(tmp_path: Path, up: Up) -> None:
    """Epochs at exactly the readings of 1 s and 2 s, byte for byte the same after a catch-up, and it can be verified."""
    path = tmp_path / "fleet.yaml"
    path.write_text(CONFIG)
    lived = up("-c", path, data=tmp_path / "lived")
    killed = up("-c", path, data=tmp_path / "killed").ready()
    wait_for(lambda: all(killed.row(sensor)["next_seq"] > 10 for sensor in killed.sensors), "some readings")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.process.wait()
    killed.wait_until_gone()
    assert 0 == lived.wait()
    again = up("-c", path, data=tmp_path / "killed")
    assert 0 == again.wait()
    whole = assert_complete(tmp_path / "lived", 2, 80)
    caught_up = assert_complete(tmp_path / "killed", 2, 80)

    for sensor, seen in whole.items():
        assert [(0, "start"), (20, "scenario"), (40, "scenario")] == seen.epochs
        assert seen.epochs == caught_up[sensor].epochs
        assert seen.readings == caught_up[sensor].readings
        assert seen.episodes == caught_up[sensor].episodes
    for data in (lived.data, again.data):
        assert 0 == fleet("verify", "--complete", "--data", data).returncode

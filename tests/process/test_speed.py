"""Simulated time that passes faster or slower than the wall clock: the same readings, at other moments."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fleet.datadir.interventions import read_interventions
from tests.process.conftest import Up
from tests.process.evidence import read_records
from tests.process.running_fleet import fleet, wait_for
from worker.schedule import SECOND_US


def test_an_hour_at_any_speed_has_the_same_bytes(up: Up, lively: Path, tmp_path: Path) -> None:
    """Rows, episodes and epochs are those of a run at another speed, and begin with those of a run in real time."""
    lengths = {"60": "180s", "600": "180s", "1": "3s"}
    runs = {
        speed: up(
            "-c",
            lively,
            "--rate",
            "4",
            "--seed",
            7,
            "--no-http",
            "--speed",
            speed,
            "--for",
            length,
            data=tmp_path / speed,
        )
        for speed, length in lengths.items()
    }

    assert [0, 0, 0] == [running.wait() for running in runs.values()]
    fast, faster, lived = (read_records(tmp_path / speed) for speed in lengths)
    assert fast == faster
    assert all(seen.next_seq == 720 for seen in fast.values())
    assert {seen.next_seq for seen in lived.values()} == {12}
    for sensor, seen in lived.items():
        assert seen.readings == [(seq, row) for seq, row in fast[sensor].readings if seq < 12]
    verdict = fleet("verify", "--data", tmp_path / "60", "--complete")
    assert 0 == verdict.returncode, verdict.stdout


def test_a_fast_fleet_is_steered_in_simulated_time(up: Up, lively: Path) -> None:
    """Lag and rates are those of the wall clock; injections last for simulated time; a later run at another speed goes on
    without a gap."""
    running = up("-c", lively, "--rate", "2", "--seed", 7, "--speed", "100").ready()
    answer = fleet("inject", "spike", "--all", "--for", "100s", "--data", running.data)
    assert 0 == answer.returncode, answer.stderr

    def over() -> bool:
        found = read_interventions(running.data / "run" / "interventions.json")
        return bool(found.injections) and found.injections[0].settled

    wait_for(over, "a hundred simulated seconds", 8)
    (injection,) = read_interventions(running.data / "run" / "interventions.json").injections
    assert 100 * SECOND_US == injection.until_us - injection.from_us
    status = json.loads(fleet("status", "--json", "--data", running.data).stdout)
    assert pytest.approx(600) == status["asked_readings_per_second"]
    assert status["lag"] < 3
    assert 0 == fleet("down", "--data", running.data).returncode
    running.wait()
    ended = {sensor: seen.timestamps[-1] for sensor, seen in read_records(running.data).items()}

    again = up("--rate", "2", "--no-http", "--speed", "0.5", "--for", "1s")
    assert 0 == again.wait()
    for sensor, seen in read_records(running.data).items():
        after = next(time for time in seen.timestamps if time > ended[sensor])
        gap = datetime.fromisoformat(after) - datetime.fromisoformat(ended[sensor])
        assert gap < timedelta(seconds=10)  # the wall clock has moved on by less, but a fast clock would be far ahead
    assert 0 == fleet("verify", "--data", running.data).returncode

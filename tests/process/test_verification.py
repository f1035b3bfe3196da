"""`fleet verify` on fleets as people run them: no false alarm, whatever they went through by the rules."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from fleet.verify.findings import Verdict
from fleet.verify.verification import verify
from tests.process.conftest import Up
from tests.process.running_fleet import ENVIRONMENT, FleetProcess, command, fleet, wait_for
from tests.process.test_run import SHAPES, shape_arguments

pytestmark = pytest.mark.thorough


def well(data: Path, *, complete: bool = False) -> Verdict:
    verdict = verify(data, complete=complete)
    assert () == verdict.findings
    assert verdict.ok
    return verdict


def written(running: FleetProcess) -> int:
    return sum(int(running.row(sensor)["readings"]) for sensor in running.sensors)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fleet_live_killed_continued_and_drained(shape: str, up: Up, lively: Path, tmp_path: Path) -> None:
    """All is as it must be at every moment, and nothing is disturbed by looking."""
    data, arguments = tmp_path / "data", shape_arguments(shape, lively)
    running = up("-c", lively, "--no-http", *arguments).ready()
    seen = [well(data).readings for _ in range(5)]
    wait_for(lambda: written(running) > seen[-1] + 60, "it goes on")
    running.process.kill()
    running.wait()
    assert well(data).readings > seen[-1]

    running = up("-c", lively, "--no-http", *arguments).ready()
    assert 0 == fleet("verify", "--data", data).returncode
    running.interrupt()
    assert 0 == running.wait()
    well(data)

    running = up("-c", lively, "--no-http", "--for", "2s", "--rate", 30, *arguments)
    assert 0 == running.wait()
    verdict = well(data, complete=True)
    assert (3, SHAPES[shape]) == (verdict.sensors, verdict.databases)


def test_a_fleet_that_is_not_complete(up: Up, lively: Path, tmp_path: Path) -> None:
    """Stopped before its time: consistent, but not all that was due; each sensor is named."""
    running = up("-c", lively, "--no-http", "--for", "10m").ready()
    running.interrupt()
    assert 0 == running.wait()

    well(tmp_path / "data")
    told = fleet("verify", "--data", tmp_path / "data", "--complete")
    assert 1 == told.returncode
    assert all(f"{sensor} " in told.stdout for sensor in running.sensors)
    assert "of 12,000 readings are committed" in told.stdout


def test_sensors_that_left_and_came_back(up: Up, lively: Path, tmp_path: Path) -> None:
    """Drained by scaling down, continued by scaling up: in the same epoch, as if nothing had been."""
    data = tmp_path / "data"
    running = up("-c", lively, "--no-http", "--for", "12s").ready()
    for count in (1, 3, 4):
        assert 0 == fleet("scale", count, "--data", data).returncode
        well(data)

    assert 0 == running.wait()
    assert 4 == well(data, complete=True).sensors


def test_catching_up_after_a_stop(up: Up, lively: Path, tmp_path: Path) -> None:
    """The record of an episode that was cut when the fleet was drained is whole again."""
    lively.write_text(lively.read_text().replace("simulation: {", "simulation: {resume: catch_up, "))
    for _ in range(3):
        running = up("-c", lively, "--no-http").ready()
        running.interrupt()
        assert 0 == running.wait()
        well(tmp_path / "data")


def test_databases_set_aside_by_a_fresh_start(up: Up, lively: Path, tmp_path: Path) -> None:
    """They are verified too, and are no part of what must be complete."""
    assert 0 == up("-c", lively, "--no-http", "--for", "1s").wait()
    lively.write_text(lively.read_text().replace("database: {", "database: {preserve_existing: false, "))
    assert 0 == up("-c", lively, "--no-http", "--for", "1s").wait()

    verdict = well(tmp_path / "data", complete=True)
    assert (3, 6) == (verdict.sensors, verdict.databases)


def test_a_bar_on_a_terminal(up: Up, lively: Path, tmp_path: Path) -> None:
    """It is gone at the end; the line stays. Into a pipe there is none."""
    assert 0 == up("-c", lively, "--no-http", "--for", "1s").wait()
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm-256color"}
    arguments = command("verify", "--data", tmp_path / "data")
    process = subprocess.Popen(arguments, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # EIO: all who had it open have ended
        while received := os.read(ours, 65536):
            seen += received
    os.close(ours)

    assert 0 == process.wait(60)
    assert b"verifying" in seen
    assert b"\x1b[2K" in seen[seen.rindex(b"verifying") :]  # erased
    assert seen.rstrip().splitlines()[-1].endswith(b" s")
    assert b"\x1b[?25h" in seen  # the cursor is shown again

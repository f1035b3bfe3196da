"""Permissions that are lost while a fleet runs, and come back."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.process.faults.attack import sensor_process, stop_and_verify, wait_until_healthy
from tests.process.faults.conftest import Up, Write, fleets
from tests.process.running_fleet import FleetProcess, fleet, wait_for

pytestmark = pytest.mark.thorough

ORDINARY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root without the right to pass over permissions is a user like any other, and one that can reach the interpreter."""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Starts fleets that permissions mean something to."""
    if os.geteuid() == 0 and shutil.which(ORDINARY[0]) is None:
        pytest.skip("root may do everything, and there is no setpriv to change that")
    with fleets(tmp_path, {}, wrapper=ORDINARY if os.geteuid() == 0 else ()) as start:
        yield start


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Within it the permissions of the file are these."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def unready(running: FleetProcess) -> bool:
    """Whether all sensors are, each with a process that waits for better times."""
    return all(running.state(sensor) == "unready" and sensor_process(running, sensor) for sensor in running.sensors)


FORBIDDEN = {
    "S_000001": (".db", 0o000, "unable to open database file: Permission denied"),
    "S_000002": (".db", 0o400, "attempt to write a readonly database"),
    "S_000003": (".db-wal", 0o000, "unable to open database file: Permission denied"),
}


def test_files_that_may_not_be_opened(up: Up, quick: Write) -> None:
    """A database or its log that its worker, killed and replaced, may not read or write any more: unready, status and
    HTTP say why, and nothing is moved aside. When it may again, all that was due is made up for."""
    running = up("-c", quick()).ready()
    workers = [running.worker(sensor) for sensor in running.sensors]
    with ExitStack() as modes:
        for sensor, (ending, bits, _) in FORBIDDEN.items():
            modes.enter_context(mode(running.data / f"{sensor}{ending}", bits))
        for worker in workers:
            worker.kill()
        wait_for(lambda: unready(running), "all are unready")
        told, (code, document) = fleet("status", "--data", running.data), running.get("/healthz")

    assert (1, 503) == (told.returncode, code)
    reasons = {entry["sensor_id"]: entry["reason"] for entry in document["reasons"]}
    for sensor, (_, _, reason) in FORBIDDEN.items():
        assert f"{sensor}.db: {reason}" == reasons[sensor]
        assert re.search(f"^{sensor}: unready: {sensor}.db: {reason}$", told.stdout, re.MULTILINE)
    wait_until_healthy(running)
    assert all([(0, "start")] == seen.epochs for seen in stop_and_verify(running, 3).values())
    assert [] == list(running.data.glob("*quarantined*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="who starts the fleet cannot look into the folder either, but for root")
def test_a_folder_that_may_not_be_entered(up: Up, quick: Write) -> None:
    """The data directory itself: who has a database open goes on or waits, and nobody dies of it or takes the database
    for lost."""
    running = up("-c", quick()).ready()
    victim = running.worker("S_000002")
    with mode(running.data, 0o000):
        victim.kill()
        wait_for(lambda: running.row("S_000002")["pid"] not in (0, victim.pid), "it is replaced")
        wait_for(lambda: running.state("S_000002") == "unready", "it is unready")
        assert "Permission denied" in running.row("S_000002")["reason"].decode()

    wait_until_healthy(running)
    renewals = sum(int(running.row(sensor)["renewals"]) for sensor in running.sensors)
    stop_and_verify(running, 3)
    assert 0 == renewals
    assert "exited because of a bug" not in running.output

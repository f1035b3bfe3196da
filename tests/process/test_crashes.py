"""Workers that cannot work: visible, explained, and nobody else's trouble."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.process.conftest import LIVELY, Up
from tests.process.evidence import assert_complete, open_database, read_records
from tests.process.running_fleet import FleetProcess, fleet, wait_for

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.claim("000.error-handling.2", "002.error-handling.6", "002.introduction-features.8"),
]


def health(running: FleetProcess, path: str = "/healthz") -> tuple[int, Any]:
    """The answer, (0, None) while nobody answers."""
    try:
        return running.get(path)
    except OSError:
        return 0, None


def assert_unready(running: FleetProcess, sensor: str, reason: str) -> None:
    """That it alone is unready, says why, and can be seen everywhere."""
    wait_for(lambda: health(running)[0] == 503 and running.state(sensor) == "unready", "it is unready")
    _, answer = health(running)
    assert ("unhealthy", 1) == (answer["status"], answer["unhealthy"])
    assert [(sensor, "unready")] == [(told["sensor_id"], told["state"]) for told in answer["reasons"]]
    assert f"{sensor}.db: " in answer["reason"]
    assert reason in answer["reason"]
    assert 503 == health(running, f"/workers/{sensor}/healthz")[0]
    others = [other for other in running.sensors if other != sensor]
    assert {200} == {health(running, f"/workers/{other}/healthz")[0] for other in others}
    told = fleet("status", "--data", running.data)
    assert 1 == told.returncode
    assert f"{sensor}: unready: {sensor}.db: " in told.stdout


def test_a_database_that_is_none(up: Up, lively: Path, tmp_path: Path) -> None:
    """Its sensor is unready and says why; the others do not notice. When the database is back, the sensor continues,
    and what was due in between is there."""
    path, away = tmp_path / "data" / "S_000002.db", tmp_path / "away"
    away.mkdir()
    running = up("-c", lively, "--prefix", "S").ready()
    worker = running.worker("S_000002")
    worker.suspend()
    for file in path.parent.glob("S_000002.db*"):
        file.rename(away / file.name)
    path.mkdir()
    worker.kill()

    assert_unready(running, "S_000002", "unable to open")

    path.rmdir()
    for file in sorted(away.iterdir(), reverse=True):  # the database last: it is found with its log
        file.rename(path.parent / file.name)
    wait_for(lambda: health(running)[0] == 200, "all is well")
    running.interrupt()
    assert 0 == running.wait()
    assert [(0, "start")] == assert_complete(tmp_path / "data", 3)["S_000002"].epochs


def test_garbage_in_the_place_of_a_database(up: Up, lively: Path, tmp_path: Path) -> None:
    """It is moved aside and everybody is told; the sensor's new database has all there was, computed again."""
    path = tmp_path / "data" / "S_000002.db"
    running = up("-c", lively, "--prefix", "S").ready()
    worker = running.worker("S_000002")
    worker.suspend()
    path.write_bytes(b"this is no database " * 500)
    worker.kill()
    running.wait_for_replacement("S_000002", worker)

    told = "S_000002: S_000002.db was damaged, deleted or replaced: a new one was created"
    wait_for(lambda: told in running.output, "it is told")
    assert b"this is no" == path.with_name("S_000002.db.quarantined-1").read_bytes()[:10]
    running.interrupt()
    assert 0 == running.wait()
    assert [(0, "start")] == assert_complete(tmp_path / "data", 3)["S_000002"].epochs
    assert 0 == fleet("verify", "--data", tmp_path / "data").returncode


@pytest.mark.claim("001.troubleshooting.15")
def test_a_database_that_somebody_locks(up: Up, lively: Path, tmp_path: Path) -> None:
    """As above; whoever held it too long has cost nothing."""
    running = up("-c", lively, "--prefix", "S").ready()
    with open_database(tmp_path / "data" / "S_000003.db") as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert_unready(running, "S_000003", "locked")
        connection.execute("ROLLBACK")

    wait_for(lambda: health(running)[0] == 200, "all is well")
    running.interrupt()
    assert 0 == running.wait()
    assert_complete(tmp_path / "data", 3)


def test_a_run_that_ends_with_readings_unwritten_fails(up: Up, tmp_path: Path) -> None:
    """Exit code 1, with the sensor's name."""
    config = tmp_path / "lively.yaml"
    config.write_text(LIVELY.replace("drain_seconds: 10", "drain_seconds: 1"))
    running = up("-c", config, "--prefix", "S", "--no-http").ready()
    with open_database(tmp_path / "data" / "S_000002.db") as connection:
        connection.execute("BEGIN IMMEDIATE")
        running.interrupt()

        assert 1 == running.wait()

    assert "S_000002: exited with unwritten readings while draining" in running.output
    assert "Traceback" not in running.output
    assert_complete(tmp_path / "data", 3, drained=False)


def test_a_worker_that_dies_again_and_again_fails(up: Up, tmp_path: Path) -> None:
    """Out of budget it is left alone, which everyone can see; `fleet restart` gives it another chance, and its data
    is complete then."""
    data, config = tmp_path / "data", tmp_path / "lively.yaml"
    config.write_text(LIVELY.replace("restart_budget: 10", "restart_budget: 2"))
    running = up("-c", config).ready()
    victim = running.sensors[0]
    for deaths in (1, 2, 3):
        worker = running.worker(victim)
        worker.kill()
        wait_for(partial(gone, running, victim, worker.pid), f"death {deaths} is seen")

    wait_for(lambda: failed(running, victim), "it has failed")
    wait_for(lambda: health(running)[0] == 503, "the fleet is unhealthy")
    answer = health(running)[1]
    assert [(victim, "failed")] == [(told["sensor_id"], told["state"]) for told in answer["reasons"]]
    assert "died 3 times, last: killed by SIGKILL" in answer["reason"]
    told = fleet("status", "--data", data, "--json")
    assert 1 == told.returncode
    assert {"healthy": 2, "failed": 1} == json.loads(told.stdout)["states"]

    assert 0 == fleet("restart", victim, "--data", data).returncode
    wait_for(lambda: health(running)[0] == 200, "all is well")
    running.interrupt()
    running.wait()
    assert_complete(data, 3)


def gone(running: FleetProcess, sensor: str, pid: int) -> bool:
    return bool(running.row(sensor)["pid"] != pid)


def failed(running: FleetProcess, sensor: str) -> bool:
    return running.state(sensor) == "failed"


def test_a_failed_worker_does_not_keep_the_fleet_from_ending(up: Up, tmp_path: Path) -> None:
    """The others finish; the exit code is 1, and what the failed one has is whole."""
    config = tmp_path / "lively.yaml"
    config.write_text(LIVELY.replace("restart_budget: 10", "restart_budget: 0"))
    running = up("-c", config, "--for", "3s", "--no-http").ready()
    victim, *others = running.sensors
    running.worker(victim).kill()

    assert 1 == running.wait()
    assert f"{victim}: failed: died 1 times, last: killed by SIGKILL" in running.output
    found = read_records(tmp_path / "data")
    assert [60, 60] == [found[sensor].next_seq for sensor in others]
    assert found[victim].next_seq < 60


def test_a_data_directory_that_disappears(up: Up, lively: Path, tmp_path: Path) -> None:
    """Whoever deletes it under a running fleet can still end the fleet, which leaves nobody behind."""
    data = tmp_path / "data"
    running = up("-c", lively, "--no-http").ready()
    data.rename(tmp_path / "moved")
    running.interrupt()

    assert running.wait(20.0) in (0, 1)
    assert "Traceback" not in running.output

"""Processes that are killed or stopped: nothing is lost, nothing is doubled, nobody is left behind."""

from __future__ import annotations

import os
import re
import signal
import statistics
import time
from pathlib import Path

import psutil
import pytest

from tests.process.conftest import LIVELY, Up
from tests.process.evidence import assert_complete
from tests.process.running_fleet import FleetProcess, alive, fleet, wait_for

pytestmark = pytest.mark.thorough


def healthy(running: FleetProcess) -> bool:
    try:
        return running.get("/healthz")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("shape", ["own", "shared"])
def test_a_killed_worker_is_replaced(shape: str, up: Up, lively: Path, tmp_path: Path) -> None:
    """Within seconds, twice if need be; its data has no hole, the others do not notice, the deaths are counted."""
    running = up("-c", lively, "--for", "4s", *(["--shared-db"] if shape == "shared" else [])).ready()
    victim, *others = running.sensors
    bystanders = [running.worker(sensor).pid for sensor in others]
    for _ in range(2):
        old = running.worker(victim)
        old.kill()
        running.wait_for_replacement(victim, old, seconds=8.0)

    assert 2 == running.row(victim)["restarts"]
    assert bystanders == [running.worker(sensor).pid for sensor in others]
    assert 0 == running.wait()
    found = assert_complete(tmp_path / "data", 3, 80)
    assert [(0, "start")] == found[victim].epochs
    assert "restarts: 2" in running.output


@pytest.mark.timed
def test_a_first_death_costs_less_than_half_a_second(up: Up, tmp_path: Path) -> None:
    """Each sensor dies once: the median of the times until it has committed again. A second death waits for a backoff."""
    config = tmp_path / "fleet.yaml"
    config.write_text("replicas: {count: 5, prefix: S}\nsimulation: {readings_per_second: 20}\n")
    running = up("-c", config).ready()
    seconds = [seconds_until_it_commits_again(running, sensor) for sensor in running.sensors]

    assert statistics.median(seconds) < 0.5
    assert "restart in 0.0 s" in running.output
    seconds_until_it_commits_again(running, running.sensors[0])
    ((first, second),) = [
        re.findall(rf"{running.sensors[0]}: killed by SIGKILL, restart in ([0-9.]+) s", running.output)
    ]
    assert 0.0 == float(first) < float(second)


def seconds_until_it_commits_again(running: FleetProcess, sensor: str) -> float:
    wait_for(lambda: running.state(sensor) == "healthy", "it is healthy")
    old, before = running.worker(sensor), int(running.row(sensor)["next_seq"])
    old.kill()
    begun = time.monotonic()
    wait_for(
        lambda: running.row(sensor)["pid"] not in (0, old.pid) and running.row(sensor)["next_seq"] > before,
        "it commits again",
    )
    return time.monotonic() - begun


def test_a_killed_supervisor_takes_everyone_along(up: Up, lively: Path, tmp_path: Path) -> None:
    """Nobody is left after two seconds, and the next start on the same directory continues."""
    data = tmp_path / "data"
    first = up("-c", lively).ready()
    assert 6 == len(first.processes())  # three workers, the supervisor, the template, http

    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    first.wait_until_gone(seconds=2.0)

    assert "no fleet is running here" in fleet("status", "--data", data).stderr
    before = assert_complete(data, 3, drained=False)
    assert 0 == up("-c", lively, "--for", "1s").wait()
    after = assert_complete(data, 3)
    for sensor, seen in after.items():
        assert [(0, "start"), (before[sensor].next_seq, "resume")] == seen.epochs
        assert before[sensor].next_seq + 20 == seen.next_seq
        assert before[sensor].readings == seen.readings[: len(before[sensor].readings)]


def test_the_fleet_goes_on_without_its_template(up: Up, lively: Path, tmp_path: Path) -> None:
    """Another one starts the workers that die afterwards."""
    running = up("-c", lively, "--for", "4s").ready()
    victim, *others = running.sensors
    bystanders = [running.worker(sensor).pid for sensor in others]
    template = running.helper_processes()["template"]
    template.kill()
    old = running.worker(victim)
    old.kill()

    running.wait_for_replacement(victim, old, seconds=15.0)
    assert bystanders == [running.worker(sensor).pid for sensor in others]
    assert running.helper_processes()["template"].pid != template.pid
    assert 0 == running.wait()
    assert_complete(tmp_path / "data", 3, 80)


def test_http_comes_back(up: Up, lively: Path) -> None:
    """On the same port, and the workers never notice."""
    running = up("-c", lively).ready()
    wait_for(lambda: healthy(running), "http answers")
    workers = [running.worker(sensor).pid for sensor in running.sensors]
    old = running.helper_processes()["http"]
    old.kill()

    wait_for(lambda: not alive(old) and healthy(running), "http answers again", 10.0)
    assert workers == [running.worker(sensor).pid for sensor in running.sensors]
    running.interrupt()
    assert 0 == running.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_drains(number: signal.Signals, up: Up, lively: Path, tmp_path: Path) -> None:
    """Ctrl-C, `kill` and a closed terminal: everything that was due by then is committed, exit code 0."""
    running = up("-c", lively, "--start", "2026-01-01T00:00:00Z").ready()
    began = running.roster.started_ns

    told = time.monotonic_ns()
    (os.killpg if number is not signal.SIGTERM else os.kill)(running.pid, number)

    assert 0 == running.wait()
    for seen in assert_complete(tmp_path / "data", 3).values():
        assert seen.next_seq > (told - began) * 20 / 1e9  # one more than whole twentieths of a second
    assert "draining" in running.output
    assert "scheduled readings" in running.output


def test_a_run_that_is_stopped_early_is_measured_by_what_was_due(up: Up, lively: Path) -> None:
    running = up("-c", lively, "--for", "1h").ready()
    running.interrupt()

    assert 0 == running.wait()
    assert "success rate: 100.00% of the readings that were due\n" in running.output
    assert " of 216,000" not in running.output


@pytest.mark.timed
def test_a_second_interrupt_kills(up: Up, lively: Path, tmp_path: Path) -> None:
    """A worker that cannot drain holds nobody up who is in a hurry: exit code 130, nobody left, databases whole."""
    running = up("-c", lively).ready()
    stuck = running.worker(running.sensors[0])
    stuck.suspend()
    running.interrupt()
    wait_for(lambda: "draining" in running.output, "it drains")

    running.interrupt()

    assert 130 == running.wait(3.0)
    assert_complete(tmp_path / "data", 3, drained=False)


def test_a_worker_that_is_stuck_is_replaced(up: Up, tmp_path: Path) -> None:
    """No heartbeat for hang_seconds: killed, replaced, and the one that hung can write no more."""
    config = tmp_path / "lively.yaml"
    config.write_text(LIVELY.replace("hang_seconds: 20", "hang_seconds: 2.5"))
    running = up("-c", config, "--for", "7s").ready()
    victim = running.sensors[0]
    stuck = running.worker(victim)
    stuck.suspend()

    running.wait_for_replacement(victim, stuck, seconds=15.0)
    assert not alive(stuck)
    assert "no heartbeat" in running.output
    assert 0 == running.wait()
    assert_complete(tmp_path / "data", 3, 140)


def test_healthy_workers_are_never_taken_for_stuck(up: Up, tmp_path: Path) -> None:
    """Also where a reading is due less often than hang_seconds."""
    config = tmp_path / "slow.yaml"
    config.write_text("supervision: {hang_seconds: 3}\nsimulation: {readings_per_second: 0.2}\nreplicas: {count: 2}\n")
    running = up("-c", config, "--for", "6s", "--no-http")

    assert 0 == running.wait()
    assert "restarts: 0" in running.output


@pytest.mark.claim("000.error-handling.3")
def test_killing_everything_loses_nothing(up: Up, lively: Path, tmp_path: Path) -> None:
    """All workers and the template at once."""
    running = up("-c", lively, "--for", "4s").ready()
    victims = [running.worker(sensor) for sensor in running.sensors]
    for process in [*victims, running.helper_processes()["template"]]:
        process.kill()

    for sensor, old in zip(running.sensors, victims, strict=True):
        running.wait_for_replacement(sensor, old)
    assert 0 == running.wait()
    assert_complete(tmp_path / "data", 3, 80)


STAGES = {"the lock is taken": "run/lock", "all is planned": "run/roster.json", "workers start": "run/control.sock"}


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_while_the_fleet_starts(stage: str, up: Up, tmp_path: Path) -> None:
    """Whenever it comes: no traceback, nobody left, and what is there is whole."""
    data = tmp_path / "data"
    running = up("--replicas", 40, "--rate", 20)
    wait_for((data / STAGES[stage]).exists, stage)
    running.interrupt()

    assert running.wait() in (0, 130), running.output
    assert "Traceback" not in running.output
    assert_complete(data, len(list(data.glob("*.db"))))


def test_a_worker_killed_while_draining_is_reported(up: Up, lively: Path) -> None:
    """What could not be settled is no success."""
    running = up("-c", lively).ready()
    stuck = running.worker(running.sensors[0])
    stuck.suspend()
    running.interrupt()
    wait_for(lambda: "draining" in running.output, "it drains")
    stuck.send_signal(signal.SIGKILL)

    assert 1 == running.wait()
    assert "SIGKILL" in running.output
    assert "success rate: not known: 1 sensor ended with readings due" in running.output
    assert not psutil.pid_exists(stuck.pid)

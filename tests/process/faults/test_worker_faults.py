"""Workers that die, of whatever and whenever: replaced within seconds, nothing lost, nothing doubled."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.process.evidence import read_records
from tests.process.faults.attack import kill_at_random, read_fleet_log, stop_and_verify, verify_data, wait_until_healthy
from tests.process.faults.conftest import Up, Write
from tests.process.faults.fault_injection import FaultInjector
from tests.process.running_fleet import fleet, wait_for

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize(("layout", "kills"), [("own", 100), ("shared", 40)])
def test_killed_at_random_moments(layout: str, kills: int, up: Up, quick: Write) -> None:
    """A hundred SIGKILLs in ten sensors, in claims, in generation, in transactions, in the wait."""
    running = up("-c", quick(count=10, database=layout), "--no-http").ready()

    kill_at_random(running, kills, 0.06, random.Random(3))

    wait_until_healthy(running)
    assert kills == sum(int(running.row(sensor)["restarts"]) for sensor in running.sensors)
    found = stop_and_verify(running, 10)
    assert all([(0, "start")] == seen.epochs for seen in found.values())


@pytest.mark.parametrize("layout", ["own", "shared"])
def test_killed_inside_an_open_transaction(layout: str, up: Up, quick: Write, fault_injector: FaultInjector) -> None:
    """Thirty SIGKILLs in the middle of COMMIT: before a page of the log, after half of one, and after the last one,
    when the transaction has taken place and nobody was told."""
    rng, running = random.Random(4), up("-c", quick(database=layout), "--no-http").ready()
    databases = ["sensor_data.db"] if layout == "shared" else [f"{sensor}.db" for sensor in running.sensors]
    for ordered in range(len(databases), 31, len(databases)):
        for database in databases:
            moment = rng.choice(["before", "torn", "committed"])
            fault_injector.inject(database, "kill", pages=rng.randrange(12), moment=moment)
        wait_for(lambda ordered=ordered: len(fault_injector.injected()) == ordered, f"{ordered} orders are taken")  # type: ignore[misc]

    wait_until_healthy(running)
    stop_and_verify(running, 3)
    assert 30 == running.output.count("killed by SIGKILL, restart in")


DEATHS = {
    "segfault": ("killed by SIGSEGV", "Fatal Python error: Segmentation fault"),
    "abort": ("killed by SIGABRT", "Fatal Python error: Aborted"),
    "nomem": ("exited, out of memory", "S_000003.db: out of memory"),
}


def test_workers_that_crash(up: Up, quick: Write, fault_injector: FaultInjector) -> None:
    """By themselves, in the middle of a transaction: what of is told, and where is in the log."""
    running = up("-c", quick(), "--no-http").ready()
    old = {sensor: running.worker(sensor) for sensor in running.sensors}
    for sensor, action in zip(running.sensors, DEATHS, strict=True):
        fault_injector.inject(f"{sensor}.db", action)

    for sensor in running.sensors:
        running.wait_for_replacement(sensor, old[sensor])
    stop_and_verify(running, 3)
    written = read_fleet_log(running)
    for sensor, (told, logged) in zip(running.sensors, DEATHS.values(), strict=True):
        assert f"{sensor}: {told}, restart in" in running.output
        assert logged in written
    assert 2 == len(re.findall(r"^Current thread .*(?:\n  File .*)*worker/storage/database.py", written, re.MULTILINE))


@pytest.mark.parametrize(("state", "layout"), [("hold", "shared"), ("stuck", "own"), ("busy", "own")])
def test_a_worker_that_hangs_inside_a_transaction(
    state: str, layout: str, up: Up, quick: Write, fault_injector: FaultInjector
) -> None:
    """Stopped, waiting for ever or in an endless loop, with a thread beside that lives on, holding the write lock of
    its database: killed after hang_seconds, with a stack dump in the log, and replaced. Those who share its database
    wait, and go on."""
    running = up("-c", quick(hang=1.5, database=layout), "--no-http").ready()
    database = "sensor_data.db" if layout == "shared" else "S_000002.db"

    fault_injector.inject(database, "stuck" if state == "busy" else state, busy=state == "busy")

    wait_for(lambda: "killed by SIGABRT, restart in" in running.output, "it is killed")
    (taken,) = fault_injector.injected()
    assert not psutil.pid_exists(taken.pid)
    assert "no heartbeat for" in running.output
    dump = read_fleet_log(running).split("Fatal Python error: Aborted")[1]
    assert "worker/process.py" in dump
    assert ("in live_on" in dump) == (state != "hold")
    wait_until_healthy(running)
    stop_and_verify(running, 3)


def test_a_worker_that_hangs_and_is_alone(up: Up, quick: Write, fault_injector: FaultInjector) -> None:
    """Nobody is left who could end it: the kernel does, four hang limits after its last beat. A healthy worker whose
    heart beats is not touched meanwhile."""
    running = up("-c", quick(hang=1.0), "--no-http").ready()
    fault_injector.inject("S_000002.db", "stuck")
    wait_for(fault_injector.injected, "it is stuck")

    running.helper_processes()["template"].kill()
    running.process.kill()
    running.process.wait()

    running.wait_until_gone(10.0)


@pytest.mark.claim("000.error-handling.2")
def test_a_worker_that_cannot_start(up: Up, quick: Write, fault_injector: FaultInjector, tmp_path: Path) -> None:
    """Six times exit(1) at the opening of its database: tried again at once, then after longer and longer pauses, then
    `failed`, which everybody sees. `fleet restart` gives it another chance, and its data is complete then."""
    for _ in range(6):
        fault_injector.inject("S_000002.db", "exit")
    running = up("-c", quick(budget=5, backoff_max=30), "--no-http")
    wait_for((tmp_path / "data" / "run" / "control.sock").exists, "the fleet runs")

    wait_for(lambda: running.state("S_000002") == "failed", "it has failed")
    wait_for(lambda: "S_000002: failed: died 6 times, last: exited with code 1" in running.output, "it is told")
    tries = [taken.time for taken in fault_injector.injected()]
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[0] < pauses[-1]
    assert all(pause >= 0.025 * 2**number for number, pause in enumerate(pauses[1:])), pauses
    for bystander in ("S_000001", "S_000003"):
        running.worker(bystander)
    told = fleet("status", "--data", running.data)
    assert 1 == told.returncode
    assert "S_000002: failed: died 6 times, last: exited with code 1" in told.stdout

    assert 0 == fleet("restart", "S_000002", "--data", running.data).returncode
    wait_until_healthy(running)
    stop_and_verify(running, 3)


@pytest.mark.claim("001.troubleshooting.16")
def test_out_of_memory(up: Up, quick: Write, fault_injector: FaultInjector) -> None:
    """A worker that gets no more (RLIMIT_AS) does not stay, unready for ever: it dies, and the next one goes on."""
    running = up("-c", quick(), "--no-http").ready()
    victim = running.worker("S_000002")
    fault_injector.inject("S_000002.db", "starve")

    running.wait_for_replacement("S_000002", victim)
    assert 1 == running.output.count("S_000002: exited, out of memory, restart in")
    stop_and_verify(running, 3)


def test_chaos_changes_nothing(up: Up, quick: Write, tmp_path: Path) -> None:
    """Two fleets at once, with the same seed and start in two directories, one of them under fire: the other one does
    not notice, and both have the same readings, episodes and epochs."""
    same = ("-c", quick(), "--seed", 11, "--start", "2026-01-01T00:00:00Z", "--for", "7s", "--no-http")
    chaos, calm = (up(*same, data=tmp_path / name) for name in ("chaos", "calm"))
    chaos.ready()

    kill_at_random(chaos, 12, 0.1, random.Random(5))

    assert [0, 0] == [calm.wait(), chaos.wait()]
    assert "restarts: 0" in calm.output
    assert "restarts: 12" in chaos.output
    verify_data(tmp_path / "calm", 3, 140)
    verify_data(tmp_path / "chaos", 3, 140)
    assert read_records(tmp_path / "calm") == read_records(tmp_path / "chaos")

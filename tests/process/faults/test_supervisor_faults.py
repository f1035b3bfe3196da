"""What befalls the processes around the workers: the supervisor, the template, several fleets at once."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.process.evidence import open_database
from tests.process.faults.attack import (
    READINGS_PER_SECOND,
    freeze,
    read_fleet_log,
    stop_and_verify,
    verify_data,
    wait_for_heartbeats_since,
    wait_until_healthy,
)
from tests.process.faults.conftest import Up, Write
from tests.process.faults.fault_injection import FaultInjector
from tests.process.running_fleet import (
    DEFAULT_TIMEOUT_SECONDS,
    ENVIRONMENT,
    FleetProcess,
    alive,
    command,
    fleet,
    session,
    suspend,
    wait_for,
)

pytestmark = pytest.mark.thorough


def kill_supervisor(running: FleetProcess) -> None:
    os.kill(running.pid, signal.SIGKILL)
    running.process.wait()


def test_a_worker_that_outlived_its_fleet_is_fenced(up: Up, quick: Write, tmp_path: Path) -> None:
    """The supervisor and the template, which would end it, are killed while a worker stands still; a second fleet takes
    over; then the first one's worker wakes up. It can write nothing any more, and ends."""
    data = tmp_path / "data"
    first = up("-c", quick(), "--no-http").ready()
    old = first.worker("S_000002")
    with freeze(old, data / "S_000002.db"):
        first.helper_processes()["template"].kill()
        kill_supervisor(first)
        wait_for(lambda: session(first.pid) == [old], "the others are gone", 6.0)
        second = up("-c", quick(), "--no-http").ready()
        new = second.worker("S_000002")
        before = second.row("S_000002")["next_seq"]

    wait_for(lambda: not alive(old), "it ends", 3.0)
    wait_for(lambda: second.row("S_000002")["next_seq"] > before, "the new one goes on")
    assert new == second.worker("S_000002")
    assert "S_000002 - WARNING - fenced: the checkpoint of S_000002 was moved by another worker" in read_fleet_log(
        second
    )
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == second.wait()
    for seen in verify_data(data, 3).values():
        assert ["start", "resume"] == [reason for _, reason in seen.epochs]


@pytest.mark.parametrize("obstacle", ["stopped", "locked", "template"])
def test_no_orphan_stays(obstacle: str, up: Up, quick: Write, tmp_path: Path) -> None:
    """The supervisor is killed: after two seconds nobody is left, not who cannot commit, and not who is stopped either
    (the kernel wakes it), be it the template. What was committed is whole."""
    data = tmp_path / "data"
    running = up("-c", quick()).ready()
    victim = running.worker("S_000002")
    with open_database(data / "S_000002.db") as connection:
        if obstacle == "locked":
            connection.execute("BEGIN IMMEDIATE")
            wait_for(lambda: running.state("S_000002") == "unready", "it cannot commit")
        else:
            suspend(victim if obstacle == "stopped" else running.helper_processes()["template"])

        kill_supervisor(running)
        running.wait_until_gone(6.0)
    verify_data(data, 3, drained=False)


@pytest.mark.parametrize("template", ["the same", "another one", "one that only starts"])
def test_no_orphan_stays_stuck(template: str, up: Up, quick: Write, fault_injector: FaultInjector) -> None:
    """Nor does one whose loop is stuck and never sees its lifeline close, holding its database's lock; not even if the
    template that forked it is gone. (The kernel sends SIGHUP to the group of the one that is stopped.)"""
    running = up("-c", quick(), "--no-http").ready()
    fault_injector.inject("S_000002.db", "stuck")
    wait_for(fault_injector.injected, "it is stuck")
    if template != "the same":
        suspend(running.worker("S_000001"))
        first = running.helper_processes()["template"]
        first.kill()
        wait_for(lambda: running.helper_processes().get("template", first) != first, "another is started")
    if template == "another one":
        old = running.worker("S_000003")
        old.kill()
        running.wait_for_replacement("S_000003", old)

    kill_supervisor(running)

    running.wait_until_gone(3.0 if template != "one that only starts" else 10.0)


def test_a_template_that_stands_still(up: Up, quick: Write) -> None:
    """Is replaced as one that died is; a worker that dies meanwhile is missed and replaced, nobody is taken for hanging,
    and the fleet can end."""
    running = up("-c", quick(hang=1.5, drain=2), "--no-http").ready()
    template, worker = running.helper_processes()["template"], running.worker("S_000002")
    template.suspend()
    worker.kill()

    running.wait_for_replacement("S_000002", worker, seconds=8.0)
    assert not alive(template)
    stop_and_verify(running, 3)
    assert "forkserver: no answer for 2 s, killed, starting another" in running.output
    assert "no heartbeat" not in running.output


@pytest.mark.parametrize("told", ["once", "twice"])
def test_a_template_that_stands_still_while_the_fleet_ends(told: str, up: Up, quick: Write) -> None:
    """Holds nobody up, however long the hang limit is: what the workers have written by their deadline is known from
    the scoreboard. Told twice, it ends at once."""
    running = up("-c", quick(hang=600, drain=2), "--no-http").ready()
    running.helper_processes()["template"].suspend()
    began = time.monotonic()
    running.interrupt()
    if told == "twice":
        wait_for(lambda: "draining" in running.output, "it drains")
        running.interrupt()

    assert (0 if told == "once" else 130) == running.wait()
    assert time.monotonic() - began < 2 + 2 + 3
    verify_data(running.data, 3, drained=told == "once")


def test_http_that_stands_still(up: Up, quick: Write) -> None:
    """Is replaced, on the same port."""
    running = up("-c", quick(hang=1.5)).ready()
    wait_for(lambda: answers(running), "http answers")
    http = running.helper_processes()["http"]
    http.suspend()

    wait_for(lambda: not alive(http), "it is killed", 8.0)
    wait_for(lambda: answers(running), "http answers again")
    assert "http: stopped for 2 s, killing it" in running.output
    stop_and_verify(running, 3)


def test_no_descriptor_is_left_for_another_template(up: Up, quick: Write) -> None:
    """The fleet goes on with the workers that it has, says so, and starts the others when there is room again."""
    running = up("-c", quick(), "--no-http").ready()
    template, worker = running.helper_processes()["template"], running.worker("S_000002")
    before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    template.kill()
    worker.kill()
    wait_for(lambda: "forkserver: cannot be started: Too many open files" in running.output, "it is told")
    wait_for(lambda: "restarting" == running.state("S_000002"), "it waits")
    row = running.row("S_000001")["next_seq"]
    wait_for(lambda: running.row("S_000001")["next_seq"] > row, "the others go on")
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, before)

    running.wait_for_replacement("S_000002", worker)
    assert 1 == running.output.count("forkserver: cannot be started")
    assert 1 == running.row("S_000002")["restarts"]
    stop_and_verify(running, 3)


def test_a_fleet_that_sleeps(up: Up, quick: Write) -> None:
    """All of its processes stand still for longer than the hang limit, as in a container that is paused, and then go on:
    nobody is judged by the time that went by meanwhile."""
    running = up("-c", quick(hang=1.5)).ready()
    wait_for(lambda: answers(running), "http answers")
    workers = [running.worker(sensor) for sensor in running.sensors]
    everybody = running.processes()
    for _ in range(3):
        for process in everybody:
            process.suspend()
        asleep = time.monotonic_ns()
        time.sleep(3.0)  # nothing can be waited for: nothing happens
        for process in everybody:
            process.resume()
        wait_for_heartbeats_since(running, asleep)
        wait_for_heartbeats_since(running, time.monotonic_ns())  # once more: the turn of the first beat is over
        wait_until_healthy(running)

    assert not re.search("no heartbeat|forkserver|stopped for|killed by|exited|died", running.output), running.output
    assert workers == [running.worker(sensor) for sensor in running.sensors]
    assert set(everybody) == set(running.processes())
    stop_and_verify(running, 3)


def answers(running: FleetProcess) -> bool:
    try:
        return running.get("/healthz")[0] == 200
    except OSError:
        return False


def test_a_supervisor_killed_again_and_again(up: Up, quick: Write, tmp_path: Path) -> None:
    """At random moments, also while it starts: each start on the same directory continues, and the last one finds
    everything in order."""
    data, rng = tmp_path / "data", random.Random(6)
    for _ in range(5):
        running = up("-c", quick())
        time.sleep(rng.uniform(0.2, 1.5))  # nothing is waited for: this is the moment at random
        kill_supervisor(running)
        running.wait_until_gone(6.0)

    running = up("-c", quick(), "--for", "1s", "--no-http")
    assert 0 == running.wait()
    for seen in verify_data(data, 3).values():
        assert seen.next_seq >= 20
        assert {"start", "resume"} >= {reason for _, reason in seen.epochs}


def test_a_template_killed_again_and_again(up: Up, quick: Write) -> None:
    """Together with workers that it has started, and with others that it has not: all are missed and replaced."""
    rng, running = random.Random(7), up("-c", quick(count=5), "--no-http").ready()
    for _ in range(5):
        template = running.helper_processes()["template"]
        victims = [running.worker(sensor) for sensor in rng.sample(running.sensors, 2)]
        for victim in rng.sample([template, *victims], 3):
            victim.kill()
        wait_for(lambda template=template: not alive(template), "the template is gone")  # type: ignore[misc]
        wait_until_healthy(running)

    assert 10 == sum(int(running.row(sensor)["restarts"]) for sensor in running.sensors)
    fleet("down", "--data", running.data)
    running.wait()
    assert "Traceback" not in read_fleet_log(running)
    verify_data(running.data, 5)


def test_workers_that_outlived_their_template_drain(up: Up, quick: Write) -> None:
    """Like all others: nothing is wrong, and the exit code is 0."""
    running = up("-c", quick(), "--no-http").ready()
    template = running.helper_processes()["template"]
    template.kill()
    wait_for(lambda: "forkserver: died" in running.output, "another template is started")

    stop_and_verify(running, 3)
    assert "while draining" not in running.output


def test_sigterm_while_it_starts(up: Up, quick: Write, tmp_path: Path) -> None:
    """At random moments: no traceback, nobody is left, and the next start continues with what is there."""
    data, rng = tmp_path / "data", random.Random(8)
    for _ in range(6):
        running = up("-c", quick(count=8))
        time.sleep(rng.uniform(0.0, 1.2))  # nothing is waited for: this is the moment at random
        os.kill(running.pid, signal.SIGTERM)
        code = running.wait()
        assert code in (0, 130, -signal.SIGTERM), running.output
        assert "Traceback" not in running.output

    running = up("-c", quick(count=8), "--for", "1s", "--no-http")
    assert 0 == running.wait(), running.output
    verify_data(data, 8)
    assert "Traceback" not in read_fleet_log(running)


def test_sigterm_while_a_database_is_locked(up: Up, quick: Write, tmp_path: Path) -> None:
    """The fleet ends by its deadline, says what was not written and why, and that is no success. Everything else is
    there, and the next run continues."""
    data = tmp_path / "data"
    running = up("-c", quick(drain=1.5), "--no-http").ready()
    with open_database(data / "S_000002.db") as connection:
        connection.execute("BEGIN IMMEDIATE")
        wait_for(lambda: running.state("S_000002") == "unready", "it cannot commit")
        told = time.monotonic()
        os.kill(running.pid, signal.SIGTERM)

        assert 1 == running.wait()
        took = time.monotonic() - told

    assert took < 1.5 + 2 + 3
    assert re.search(
        r"^S_000002: unready: \d+ due readings not written: S_000002.db: .*locked", running.output, re.MULTILINE
    )
    stuck, *others = sorted(seen.next_seq for seen in verify_data(data, 3, drained=False).values())
    assert stuck < min(others) - READINGS_PER_SECOND
    assert 0 == up("-c", quick(), "--for", "1s", "--no-http").wait()
    verify_data(data, 3)


def test_of_twenty_racing_starts_one_wins(quick: Write, tmp_path: Path) -> None:
    """Exactly one; the others end at once and name it."""
    data = tmp_path / "data"
    arguments = ("up", "--data", data, "-c", quick(), "--no-http")
    racers = [
        subprocess.Popen(command(*arguments), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(20)
    ]
    try:
        wait_for(
            lambda: [racer.poll() for racer in racers].count(1) == 19, "nineteen give up", 2 * DEFAULT_TIMEOUT_SECONDS
        )
        (winner,) = [racer for racer in racers if racer.poll() is None]
        wait_for(lambda: fleet("status", "--data", data).returncode == 0, "the fleet is well")
        assert 0 == fleet("down", "--data", data).returncode
        assert 0 == winner.wait(DEFAULT_TIMEOUT_SECONDS)
    finally:
        for racer in racers:
            racer.kill()
    errors = {racer.pid: racer.communicate()[1].decode() for racer in racers}
    assert "" == errors.pop(winner.pid)
    for error in errors.values():
        assert f"another fleet runs here (pid {winner.pid})" in error
        assert 1 == error.count("\n")
    verify_data(data, 3)

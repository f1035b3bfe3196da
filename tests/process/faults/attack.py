"""What is done to fleets from outside in fault tests, and what must be so afterwards."""

from __future__ import annotations

import ctypes
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import psutil
import pytest

from fleet.datadir.manifest import read_manifest, write_manifest
from fleet.verify.verification import verify
from tests.process.evidence import SensorRecords, assert_complete, open_database
from tests.process.running_fleet import FleetProcess, alive, fleet, wait_for
from worker.clock import elapsed_ns

READINGS_PER_SECOND = 20
"""Readings per second of each sensor in the config `quick`."""


def read_fleet_log(running: FleetProcess) -> str:
    return (running.data / "run" / "fleet.log").read_text()


def sensor_process(running: FleetProcess, sensor: str) -> psutil.Process | None:
    """The sensor's process as it is now, whatever it is doing; None while it has none."""
    pid = int(running.row(sensor)["pid"])
    try:
        found = psutil.Process(pid) if pid else None
        return found if found and os.getsid(pid) == running.pid and alive(found) else None
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def kill_at_random(running: FleetProcess, kills: int, pause: float, rng: random.Random) -> None:
    """SIGKILL that many workers, whatever they are doing, each incarnation at most once, one every `pause` seconds."""
    killed: set[int] = set()
    deadline = time.monotonic() + 60.0
    while len(killed) < kills:
        assert time.monotonic() < deadline, f"{len(killed)} of {kills} kills in a minute"
        time.sleep(rng.uniform(0.2, 1.8) * pause)  # nothing is waited for: this is the moment at random
        victim = sensor_process(running, rng.choice(running.sensors))
        if victim is not None and victim.pid not in killed:
            victim.kill()
            killed.add(victim.pid)


def wait_for_heartbeats_since(running: FleetProcess, moment: int) -> None:
    """Once every worker's heart has beaten after that moment of the monotonic clock, nanoseconds."""
    wait_for(lambda: all(running.row(sensor)["heartbeat_ns"] > moment for sensor in running.sensors), "hearts beat")


def wait_until_healthy(running: FleetProcess, seconds: float = 30.0) -> None:
    """Once all sensors are, each with a process that lives."""

    def well() -> bool:
        return all(running.state(sensor) == "healthy" and sensor_process(running, sensor) for sensor in running.sensors)

    wait_for(well, "all sensors are healthy", seconds)


def verify_data(
    data: Path, sensors: int, scheduled: int | None = None, *, drained: bool = True
) -> dict[str, SensorRecords]:
    """What the databases say, after every reading was computed again and compared. `scheduled` is how many each sensor
    has to have settled; `drained` says that nobody was killed at the end."""
    found = assert_complete(data, sensors, scheduled, drained=drained)
    verdict = verify(data, complete=scheduled is not None)
    assert verdict.ok, verdict.findings
    assert sensors == verdict.sensors
    return found


def stop_and_verify(running: FleetProcess, sensors: int) -> dict[str, SensorRecords]:
    """End the fleet. All that was due when it was told is there once, in order, and labelled."""
    began, told = running.roster.started_ns, elapsed_ns()
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == running.wait()
    found = verify_data(running.data, sensors)
    for sensor, seen in found.items():
        assert seen.next_seq > (told - began) * READINGS_PER_SECOND / 1e9, sensor
    return found


def backdate(data: Path, seconds: float) -> None:
    """Let the fleet of the directory, which is down, have begun that much earlier: a later run finds that it was down for
    so much longer."""
    path = data / "fleet.json"
    record = read_manifest(path)
    assert record is not None
    origin_ns, wall_us = record.origin_ns - round(seconds * 1e9), record.wall_us - round(seconds * 1e6)
    write_manifest(path, replace(record, origin_ns=origin_ns, wall_us=wall_us))


@contextmanager
def freeze(worker: psutil.Process, database: Path) -> Iterator[None]:
    """Within it the worker stands still, in the middle of no transaction, and nobody but us can continue it.

    As under a debugger, and like in a container that is paused. SIGSTOP would not do: the kernel continues a process
    that is stopped when its process group loses its last link to the session, as it does with the supervisor.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux can hold a process so that the kernel does not continue it")
    wait_for(lambda: interrupt(worker) and is_unlocked(worker, database), "it stands between two transactions")
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH, worker)


def interrupt(worker: psutil.Process) -> bool:
    ptrace(PTRACE_SEIZE, worker)
    ptrace(PTRACE_INTERRUPT, worker)
    os.waitpid(worker.pid, WAIT_ALL_CHILDREN)
    return True


def is_unlocked(worker: psutil.Process, database: Path) -> bool:
    with open_database(database) as connection:
        connection.set_busy_timeout(0)
        try:
            connection.execute("BEGIN IMMEDIATE; ROLLBACK")
        except apsw.BusyError:
            ptrace(PTRACE_DETACH, worker)
            return False
    return True


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_ALL_CHILDREN = 0x40000000
"""Of the Linux headers."""


def ptrace(request: int, worker: psutil.Process) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.ptrace.restype = ctypes.c_long
    if library.ptrace(request, worker.pid, None, None) == -1:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")

"""One fleet under attack: started, broken, and started again by the same command until its run is over."""

from __future__ import annotations

import heapq
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from tests.process.faults.fault_injection import FaultInjector
from tests.process.running_fleet import FleetProcess, alive, session

CONFIG = """
version: 2
replicas: {{count: {sensors}, prefix: S, database: {database}, sensors_per_worker: {packed}}}
simulation: {{readings_per_second: 10}}
anomalies:
  probability: 0.3
  types:
    spike: {{weight: 0.3, duration_readings: 1}}
    trend: {{weight: 0.2, duration_readings: 30}}
    pattern: {{weight: 0.1, duration_readings: 50}}
    noise: {{weight: 0.2, duration_readings: 20}}
    missing_data: {{weight: 0.2, duration_readings: 5}}
database: {{batch_interval: 0.5, retry_delay: 0.2, synchronous: {synchronous}}}
supervision:
  hang_seconds: 3
  restart_budget: 1000000
  backoff_min_seconds: 0.05
  backoff_max_seconds: 0.5
  drain_seconds: 1
"""

SHAPES = {
    "own": {"database": "own", "packed": 1, "synchronous": "normal"},
    "shared": {"database": "shared", "packed": 1, "synchronous": "full"},
    "packed": {"database": "own", "packed": 10, "synchronous": "full"},
}

T = TypeVar("T")


class Victim(NamedTuple):
    process: psutil.Process
    database: Path


def send_signal(victim: Victim | None, number: signal.Signals) -> bool:
    if victim is None:
        return False
    try:
        victim.process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


class ChaosFleet:
    """A fleet of `sensors` at ten readings a second for `seconds` of simulated time, in one of the SHAPES.

    `action_lock` is held by whoever does something to it, `supervisor_lock` by whoever needs its supervisor to stay meanwhile. `counts`
    are the faults that took place, by their names, but for those that were left to the fault_injector.
    """

    def __init__(self, folder: Path, shape: str, sensors: int, seconds: float, rng: random.Random) -> None:
        self.shape, self.rng, self.seconds = shape, rng, seconds
        self.folder, self.data = folder, folder / "data"
        folder.mkdir()
        self.fault_injector = FaultInjector(folder / "sabotage")
        self.clock = folder / "clock"
        self._config = folder / "config.yaml"
        self._config.write_text(CONFIG.format(sensors=sensors, **SHAPES[shape]))
        self.counts: Counter[str] = Counter()
        self.action_lock, self.supervisor_lock = threading.RLock(), threading.Lock()
        self.runs: list[FleetProcess] = []
        self.failures: list[str] = []
        self._fault_log = folder / "chronicle.txt"
        self._undoing: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    # The fleet

    @property
    def arguments(self) -> list[object]:
        return [
            *("-c", self._config, "--seed", 11, "--start", "2026-01-01T00:00:00Z"),
            *("--resume", "catch_up", "--for", f"{self.seconds:g}s"),
        ]

    def start(self) -> FleetProcess:
        environment = {**self.fault_injector.environment, "FLEET_WALL_CLOCK": str(self.clock)}
        output = self.folder / f"output-{len(self.runs):03d}"
        self.runs.append(FleetProcess(self.data, output, *self.arguments, environment=environment))
        return self.running

    @property
    def running(self) -> FleetProcess:
        return self.runs[-1]

    @property
    def up(self) -> bool:
        return self.running.process.poll() is None

    def wait_until_gone(self) -> None:
        """Once nothing of the fleet is left that could run; what somebody has stopped is continued, and so ends."""
        self.running.process.wait(60)
        self.resume_and_wait(self.running)

    def resume_and_wait(self, run: FleetProcess) -> None:
        """Once nobody is left of a run whose supervisor is gone."""
        for process in session(run.pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        run.wait_until_gone(30.0)

    def end(self) -> None:
        for run in self.runs:
            run.end()

    def record_fault(self, name: str, times: int) -> None:
        self.counts[name] += times
        with self._fault_log.open("a") as file:
            file.write(
                f"{datetime.now(UTC):%H:%M:%S.%f} {name}{f' x {int(times)}' if times else ', ordered or in vain'}\n"
            )

    # Whom it may hit

    def victim(self) -> Victim | None:
        """A worker process at random and its database, None if that one is not there within a while."""
        return self._poll(self._victim)

    @property
    def has_victim(self) -> bool:
        """Whether there is, right now, somebody to hit."""
        return self._victim() is not None

    def helper_process(self, name: str) -> psutil.Process | None:
        """The template or the http process, None if it is not there within a while."""
        return self._poll(lambda: self._helper_process(name))

    def _poll(self, look: Callable[[], T | None]) -> T | None:
        end = time.monotonic() + 2.0
        while (found := look()) is None and self.up and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def _victim(self) -> Victim | None:
        try:
            member = self.rng.choice(self.running.roster.members)
            pid = int(self.running.row(member.sensor_id)["pid"])
            found = psutil.Process(pid) if pid else None
            if found and os.getsid(pid) == self.running.pid and alive(found):
                return Victim(found, member.database)
        except (OSError, psutil.NoSuchProcess, ValueError):  # the fleet is just about to begin or to end
            pass
        return None

    def _helper_process(self, name: str) -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess, OSError, ValueError):
            return self.running.helper_processes().get(name)
        return None

    def database(self) -> Path | None:
        """One of the fleet's databases at random, None if it is not there right now."""
        found = sorted(self.data.glob("*.db"))
        return self.rng.choice(found) if found else None

    # What is to be undone

    def undo_after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._undoing, (time.monotonic() + seconds, next(self._numbers), action))

    def undo(self, *, everything: bool = False) -> None:
        """Do what is due by now."""
        while self._undoing and (everything or self._undoing[0][0] <= time.monotonic()):
            heapq.heappop(self._undoing)[2]()

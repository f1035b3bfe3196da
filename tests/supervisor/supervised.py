"""A supervisor with real processes whose loop follows a script."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import psutil

from supervisor import Supervisor
from tests.worker.samples import TEMPERATURE
from worker.clock import elapsed_ns
from worker.log import LogSpec
from worker.scoreboard import STATES, Scoreboard
from worker.spec import Identity, RunSpec, SensorSpec, Settings, StoreSpec, WorkerSpec
from worker.supervision.forkserver import ForkServer
from worker.supervision.restart_policy import RestartPolicy

SECOND_US = 1_000_000
QUICK_POLICY = RestartPolicy(backoff_min=0.05, backoff_max=0.1, budget=3, drain_seconds=3.0)


class ScriptedFleet:
    """A supervisor on a directory whose loop follows a script of (condition, action) steps. `clock_reads` counts its reads
    of the clock."""

    def __init__(self, path: Path, policy: RestartPolicy = QUICK_POLICY, mapped_name: str = "board") -> None:
        self.path = path
        self.scoreboard = Scoreboard.create(path / "board", 16)
        self.clock_reads = 0
        log = LogSpec(path / "log")
        self.supervisor = Supervisor(
            self.scoreboard, policy, 1, lambda group: ForkServer(path / mapped_name, log, group), self._clock
        )
        self.events: list[str] = []
        self.supervisor.on_event = lambda event: self.events.append(f"{event.worker}: {event.text}")
        self._origin = elapsed_ns()
        self._killed: set[int] = set()

    def _clock(self) -> float:
        self.clock_reads += 1
        return time.monotonic()

    def spec(self, row: int, seconds: float | None = None, store: Path | None = None) -> WorkerSpec:
        name = f"S_{row}"
        duration = None if seconds is None else int(seconds * SECOND_US)
        run = RunSpec(seed=1, number=1, start_us=0, origin_ns=self._origin, duration_us=duration)
        sensor = SensorSpec(Identity(name), Settings("20", (TEMPERATURE,)), row)
        return WorkerSpec(name, (sensor,), StoreSpec(store or self.path / f"{name}.db", batch_interval=0.1), run)

    def run_steps(self, *steps: tuple[Callable[[], Any], Callable[[], Any]]) -> None:
        """Script the loop: when the condition of a step holds, do its action and continue with the next step."""
        left = list(steps)

        def look() -> None:
            if left and left[0][0]():
                left.pop(0)[1]()

        end = time.monotonic() + 20

        def give_up() -> None:
            assert time.monotonic() < end, f"{len(left)} steps left, {self.events}"

        self.supervisor.every(0.02, look)
        self.supervisor.every(0.5, give_up)

    @property
    def forkserver(self) -> psutil.Process:
        (forkserver,) = psutil.Process().children()
        return forkserver

    def state(self, row: int) -> str:
        return STATES[self.scoreboard.rows[row]["state"]]

    def pid(self, row: int) -> int:
        return int(self.scoreboard.rows[row]["pid"])

    def healthy(self, *rows: int) -> Callable[[], bool]:
        """Return a condition: the rows are healthy, those that were killed with a new process."""
        return lambda: all(self.state(row) == "healthy" and self.pid(row) not in {0, *self._killed} for row in rows)

    def kill(self, row: int) -> Callable[[], None]:
        def kill() -> None:
            self._killed.add(self.pid(row))
            os.kill(self.pid(row), signal.SIGKILL)

        return kill

    def seqs(self, row: int) -> list[int]:
        connection = apsw.Connection(str(self.path / f"S_{row}.db"))
        try:
            return [seq for (seq,) in connection.execute("SELECT seq FROM sensor_readings ORDER BY id")]
        finally:
            connection.close()

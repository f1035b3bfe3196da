"""The supervisor over real processes: who runs, who is restarted, who is stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest

from supervisor import Supervisor
from tests.worker.samples import TEMPERATURE
from worker.board import STATES, Board
from worker.clock import elapsed_ns
from worker.log import LogSpec
from worker.restarts import Policy
from worker.spec import Identity, RunSpec, SensorSpec, Settings, StoreSpec, WorkerSpec
from worker.template import Template

SECOND = 1_000_000
QUICK = Policy(backoff_min=0.05, backoff_max=0.1, budget=3, drain=3.0)


class Fleet:
    """A supervisor on a directory, whose loop is steered by a script of (condition, action) steps."""

    def __init__(self, path: Path, policy: Policy = QUICK) -> None:
        self.path = path
        self.board = Board.create(path / "board", 16)
        self.supervisor = Supervisor(self.board, policy, 1, lambda: Template(path / "board", LogSpec(path / "log")))
        self.told: list[str] = []
        self.killed: set[int] = set()
        self.supervisor.tell = lambda event: self.told.append(f"{event.worker}: {event.text}")
        self._origin = elapsed_ns()

    def spec(self, row: int, seconds: float | None = None, store: Path | None = None) -> WorkerSpec:
        name = f"S_{row}"
        duration = None if seconds is None else int(seconds * SECOND)
        run = RunSpec(seed=1, number=1, start_us=0, origin_ns=self._origin, duration_us=duration)
        sensor = SensorSpec(Identity(name), Settings("20", (TEMPERATURE,)), row)
        return WorkerSpec(name, (sensor,), StoreSpec(store or self.path / f"{name}.db", batch_interval=0.1), run)

    def follow(self, *steps: tuple[Callable[[], Any], Callable[[], Any]]) -> None:
        """In the loop: when a step's condition holds, do its action and go on to the next."""
        left = list(steps)

        def look() -> None:
            if left and left[0][0]():
                left.pop(0)[1]()

        end = time.monotonic() + 8

        def give_up() -> None:
            assert time.monotonic() < end, f"{len(left)} steps left, {self.told}"

        self.supervisor.every(0.02, look)
        self.supervisor.every(0.5, give_up)

    def state(self, row: int) -> str:
        return STATES[self.board.rows[row]["state"]]

    def pid(self, row: int) -> int:
        return int(self.board.rows[row]["pid"])

    def healthy(self, *rows: int) -> Callable[[], bool]:
        """Each by a process that was not yet killed: its state is told a moment after it is dead."""
        return lambda: all(self.state(row) == "healthy" and self.pid(row) not in {0, *self.killed} for row in rows)

    def kill(self, row: int) -> Callable[[], None]:
        def kill() -> None:
            self.killed.add(self.pid(row))
            os.kill(self.pid(row), signal.SIGKILL)

        return kill

    def seqs(self, row: int) -> list[int]:
        connection = apsw.Connection(str(self.path / f"S_{row}.db"))
        try:
            return [seq for (seq,) in connection.execute("SELECT seq FROM sensor_readings ORDER BY id")]
        finally:
            connection.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    yield Fleet(tmp_path)
    assert [] == psutil.Process().children(recursive=True)


def test_a_run_ends_when_all_have_written_all(fleet: Fleet) -> None:
    """And the outcome is clean."""
    fleet.supervisor.add([fleet.spec(0, 0.5), fleet.spec(1, 0.8)])

    assert fleet.supervisor.run().clean

    assert (["done", "done"], 10, 16) == ([fleet.state(0), fleet.state(1)], len(fleet.seqs(0)), len(fleet.seqs(1)))


def test_a_death_is_followed_by_a_restart(fleet: Fleet) -> None:
    """Noted, counted, and without a hole; one restart leaves the outcome clean."""
    fleet.supervisor.add([fleet.spec(0, 1.5), fleet.spec(1, 1.5)])
    fleet.follow((fleet.healthy(0, 1), fleet.kill(0)))

    assert fleet.supervisor.run().clean

    assert (1, 0) == tuple(fleet.board.rows["restarts"][:2])
    assert [list(range(30))] * 2 == [fleet.seqs(0), fleet.seqs(1)]
    assert any(told.startswith("S_0: died by SIGKILL, restart in") for told in fleet.told)


def test_the_budget_can_be_used_up(fleet: Fleet) -> None:
    """Then the worker is failed with the reason, and the others go on to their end."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1, 2.0)])
    fleet.follow(*[(fleet.healthy(0), fleet.kill(0)) for _ in range(4)])

    outcome = fleet.supervisor.run()

    assert (["S_0"], False) == (outcome.failed, outcome.clean)
    assert ("failed", "done") == (fleet.state(0), fleet.state(1))
    assert b"died 4 times, last by SIGKILL" == fleet.board.rows[0]["reason"]


def test_a_failed_worker_can_be_given_another_chance(fleet: Fleet) -> None:
    """With a whole budget."""
    fleet.supervisor.add([fleet.spec(0)])
    fleet.supervisor.add([fleet.spec(1)])
    fleet.follow(
        *[(fleet.healthy(0), fleet.kill(0)) for _ in range(4)],
        (lambda: fleet.state(0) == "failed", lambda: fleet.supervisor.restart("S_0")),
        (fleet.healthy(0), fleet.supervisor.drain),
    )

    fleet.supervisor.run()

    assert "stopped" == fleet.state(0)
    assert fleet.seqs(0) == list(range(len(fleet.seqs(0))))


def test_draining_commits_what_is_due(fleet: Fleet) -> None:
    """And ends clean."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    fleet.follow((fleet.healthy(0, 1), fleet.supervisor.drain))

    assert fleet.supervisor.run().clean

    assert ["stopped", "stopped"] == [fleet.state(0), fleet.state(1)]
    assert fleet.seqs(0) == list(range(len(fleet.seqs(0))))
    assert len(fleet.seqs(0)) > 1


def test_draining_twice_kills(fleet: Fleet) -> None:
    """A worker that is stopped cannot drain; it is killed at once, and the outcome says so."""
    fleet.supervisor.add([fleet.spec(0)])
    fleet.follow(
        (fleet.healthy(0), lambda: os.kill(fleet.pid(0), signal.SIGSTOP)),
        (lambda: True, fleet.supervisor.drain),
        (lambda: True, fleet.supervisor.drain),
    )
    begun = time.monotonic()

    outcome = fleet.supervisor.run()

    assert (True, ["S_0"]) == (outcome.killed_by_request, outcome.killed)
    assert time.monotonic() - begun < QUICK.drain


def test_a_worker_that_does_not_drain_is_killed_in_the_end(tmp_path: Path) -> None:
    """`drain` seconds and a little more."""
    fleet = Fleet(tmp_path, Policy(drain=0.2))
    fleet.supervisor.add([fleet.spec(0)])
    fleet.follow(
        (fleet.healthy(0), lambda: os.kill(fleet.pid(0), signal.SIGSTOP)), (lambda: True, fleet.supervisor.drain)
    )

    assert ["S_0"] == fleet.supervisor.run().killed


def test_restart_and_remove(fleet: Fleet) -> None:
    """Neither is a death. Who is removed is forgotten; a name that nobody has is a KeyError."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    before: list[int] = []

    def restart() -> None:
        before.append(fleet.pid(0))
        fleet.supervisor.restart("S_0")

    fleet.follow(
        (fleet.healthy(0, 1), restart),
        (lambda: fleet.healthy(0)() and fleet.pid(0) not in before, lambda: fleet.supervisor.remove(["S_1"])),
        (lambda: "S_1" not in fleet.supervisor.slots, fleet.supervisor.drain),
    )

    assert fleet.supervisor.run().clean

    assert (0, "stopped", "absent") == (fleet.board.rows[0]["errors"], fleet.state(0), fleet.state(1))
    with pytest.raises(KeyError):
        fleet.supervisor.restart("S_1")


def test_a_template_that_dies_is_replaced(fleet: Fleet) -> None:
    """Its workers live on, and the next restart comes from another one."""
    fleet.supervisor.add([fleet.spec(0, 2.5), fleet.spec(1, 2.5)])
    pids: list[int] = []

    def kill_template() -> None:
        pids.append(fleet.pid(1))
        (template,) = psutil.Process().children()
        template.kill()

    fleet.follow(
        (fleet.healthy(0, 1), kill_template),
        (lambda: any("template" in told for told in fleet.told), fleet.kill(0)),
        (lambda: fleet.board.rows[0]["restarts"] == 1 and fleet.healthy(0)(), lambda: pids.append(fleet.pid(1))),
    )

    assert fleet.supervisor.run().clean

    assert [pids[0]] * 2 == pids
    assert [list(range(50))] * 2 == [fleet.seqs(0), fleet.seqs(1)]


def test_signals_are_given_back(fleet: Fleet) -> None:
    """Whoever called run has the handlers that were there before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
    fleet.supervisor.add([fleet.spec(0, 0.1)])

    assert fleet.supervisor.run().clean

    assert before == [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    ]

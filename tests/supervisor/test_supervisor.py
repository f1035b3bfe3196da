"""The supervisor with real processes: which workers run, are restarted, are stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.supervisor.supervised import QUICK_POLICY, ScriptedFleet
from worker.supervision.restart_policy import RestartPolicy

pytestmark = pytest.mark.process


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[ScriptedFleet]:
    yield ScriptedFleet(tmp_path)
    assert [] == psutil.Process().children(recursive=True)


def test_a_run_ends_when_all_have_written_all(fleet: ScriptedFleet) -> None:
    """The outcome is clean."""
    fleet.supervisor.add([fleet.spec(0, 0.5), fleet.spec(1, 0.8)])

    assert fleet.supervisor.run().clean

    assert (["done", "done"], 10, 16) == ([fleet.state(0), fleet.state(1)], len(fleet.seqs(0)), len(fleet.seqs(1)))


def test_a_death_is_followed_by_a_restart(fleet: ScriptedFleet) -> None:
    """It is recorded and counted, no reading is missing, and the outcome is clean."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    fleet.run_steps((fleet.healthy(0, 1), fleet.kill(0)), (fleet.healthy(0, 1), fleet.supervisor.drain))

    assert fleet.supervisor.run().clean

    assert (1, 0) == tuple(fleet.scoreboard.rows["restarts"][:2])
    assert all(fleet.seqs(row) == list(range(len(fleet.seqs(row)))) for row in (0, 1))
    assert any(event.startswith("S_0: killed by SIGKILL, restart in") for event in fleet.events)


def test_the_budget_can_be_used_up(fleet: ScriptedFleet) -> None:
    """Then the worker has failed, with the reason, and the others run to their end."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1, 2.0)])
    fleet.run_steps(*[(fleet.healthy(0), fleet.kill(0)) for _ in range(4)])

    outcome = fleet.supervisor.run()

    assert (["S_0"], False) == (outcome.failed, outcome.clean)
    assert ("failed", "done") == (fleet.state(0), fleet.state(1))
    assert b"died 4 times, last: killed by SIGKILL" == fleet.scoreboard.rows[0]["reason"]


def test_a_failed_worker_can_be_given_another_chance(fleet: ScriptedFleet) -> None:
    """A restart by the operator gives it a whole budget."""
    fleet.supervisor.add([fleet.spec(0)])
    fleet.supervisor.add([fleet.spec(1)])
    fleet.run_steps(
        *[(fleet.healthy(0), fleet.kill(0)) for _ in range(4)],
        (lambda: fleet.state(0) == "failed", lambda: fleet.supervisor.restart("S_0")),
        (fleet.healthy(0), fleet.supervisor.drain),
    )

    fleet.supervisor.run()

    assert "stopped" == fleet.state(0)
    assert fleet.seqs(0) == list(range(len(fleet.seqs(0))))


def test_draining_commits_what_is_due(fleet: ScriptedFleet) -> None:
    """The outcome is clean."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    fleet.run_steps((fleet.healthy(0, 1), fleet.supervisor.drain))

    assert fleet.supervisor.run().clean

    assert ["stopped", "stopped"] == [fleet.state(0), fleet.state(1)]
    assert fleet.seqs(0) == list(range(len(fleet.seqs(0))))
    assert len(fleet.seqs(0)) > 1


def test_draining_while_one_waits_for_its_restart_is_not_clean(tmp_path: Path) -> None:
    """Its due readings are left to the next run, and an event says so. It has died twice: the first restart is at once."""
    fleet = ScriptedFleet(tmp_path, policy=replace(QUICK_POLICY, backoff_min=60.0, backoff_max=60.0))
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    fleet.run_steps(
        (fleet.healthy(0, 1), fleet.kill(0)),
        (fleet.healthy(0), fleet.kill(0)),
        (lambda: fleet.state(0) == "restarting", fleet.supervisor.drain),
    )

    outcome = fleet.supervisor.run()

    assert (["S_0"], False) == (outcome.pending, outcome.clean)
    assert ["stopped", "stopped"] == [fleet.state(0), fleet.state(1)]
    assert "S_0: not restarted: due readings are left to the next run" in fleet.events


def test_draining_twice_kills(fleet: ScriptedFleet) -> None:
    """A suspended worker cannot drain; it is killed at once, and the outcome has it."""
    fleet.supervisor.add([fleet.spec(0)])
    fleet.run_steps(
        (fleet.healthy(0), lambda: os.kill(fleet.pid(0), signal.SIGSTOP)),
        (lambda: True, fleet.supervisor.drain),
        (lambda: True, fleet.supervisor.drain),
    )
    begun = time.monotonic()

    outcome = fleet.supervisor.run()

    assert (True, ["S_0"]) == (outcome.killed_by_request, outcome.killed)
    assert time.monotonic() - begun < QUICK_POLICY.drain_seconds


def test_a_worker_that_does_not_drain_is_killed_in_the_end(tmp_path: Path) -> None:
    """After `drain_seconds` and KILL_GRACE_SECONDS."""
    fleet = ScriptedFleet(tmp_path, RestartPolicy(drain_seconds=0.2))
    fleet.supervisor.add([fleet.spec(0)])
    fleet.run_steps(
        (fleet.healthy(0), lambda: os.kill(fleet.pid(0), signal.SIGSTOP)), (lambda: True, fleet.supervisor.drain)
    )

    assert ["S_0"] == fleet.supervisor.run().killed


def test_restart_and_remove(fleet: ScriptedFleet) -> None:
    """Neither is a death. A removed worker is forgotten; an unknown name is a KeyError."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    before: list[int] = []

    def restart() -> None:
        before.append(fleet.pid(0))
        fleet.supervisor.restart("S_0")

    fleet.run_steps(
        (fleet.healthy(0, 1), restart),
        (lambda: fleet.healthy(0)() and fleet.pid(0) not in before, lambda: fleet.supervisor.remove(["S_1"])),
        (lambda: "S_1" not in fleet.supervisor.slots, fleet.supervisor.drain),
    )

    assert fleet.supervisor.run().clean

    assert (0, "stopped", "absent") == (fleet.scoreboard.rows[0]["errors"], fleet.state(0), fleet.state(1))
    with pytest.raises(KeyError):
        fleet.supervisor.restart("S_1")


def test_a_fork_server_that_dies_is_replaced(fleet: ScriptedFleet) -> None:
    """Its workers keep running, and the next restart uses another one. All workers end as they should, although the exit
    codes of those that the first one forked are not observed."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1), fleet.spec(2, 2.0)])
    pids: list[int] = []

    def kill_forkserver() -> None:
        pids.append(fleet.pid(1))
        fleet.forkserver.kill()

    fleet.run_steps(
        (fleet.healthy(0, 1), kill_forkserver),
        (lambda: any("forkserver" in event for event in fleet.events), fleet.kill(0)),
        (lambda: fleet.scoreboard.rows[0]["restarts"] == 1 and fleet.healthy(0)(), lambda: pids.append(fleet.pid(1))),
        (lambda: fleet.supervisor.slots["S_2"].phase == "ended", fleet.supervisor.drain),
    )

    assert fleet.supervisor.run().clean

    assert [pids[0]] * 2 == pids
    assert ["stopped", "stopped", "done"] == [fleet.state(row) for row in range(3)]
    assert [1, 0, 0] == list(fleet.scoreboard.rows["restarts"][:3])
    assert all(fleet.seqs(row) == list(range(len(fleet.seqs(row)))) for row in range(3))


def test_a_fork_server_that_dies_before_it_is_ready(fleet: ScriptedFleet) -> None:
    """The workers requested from it were never started, which is no death."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    fleet.run_steps((lambda: True, fleet.forkserver.kill), (fleet.healthy(0, 1), fleet.supervisor.drain))

    assert fleet.supervisor.run().clean

    assert "S_0: no process can be started: the fork server died" in fleet.events
    assert [(0, 0)] * 2 == [(row["restarts"], row["errors"]) for row in fleet.scoreboard.rows[:2]]
    assert all(fleet.seqs(row) == list(range(len(fleet.seqs(row)))) for row in (0, 1))


POOR = """
raise OSError(24, "Too many open files", __file__)
"""


@pytest.mark.parametrize("lack", ["board", "descriptors"])
def test_fork_servers_that_never_get_ready_are_a_bug(
    lack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """After three in a row. Each prints the reason in one line, and no process is left behind."""
    if lack == "descriptors":
        (tmp_path / "numpy.py").write_text(POOR)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fleet = ScriptedFleet(tmp_path, mapped_name="nowhere" if lack == "board" else "board")
    fleet.supervisor.add([fleet.spec(0)])

    with pytest.raises(RuntimeError, match="the fork server died 3 times before it was ready"):
        fleet.supervisor.run()

    assert [] == psutil.Process().children()
    lines = capfd.readouterr().err.splitlines()
    assert 3 == len(lines)
    assert all(line.startswith("forkserver: ") and "Errno" in line for line in lines), lines


def test_waiting_for_the_fork_server_costs_nothing(fleet: ScriptedFleet) -> None:
    """The supervisor sleeps while the fork server is suspended and workers wait to be started."""
    fleet.supervisor.add([fleet.spec(0)])
    spent: list[float] = []

    def stop() -> None:
        fleet.forkserver.suspend()
        fleet.supervisor.add([fleet.spec(1)])

    def more() -> None:
        assert fleet.supervisor.slots["S_1"].phase == "running"
        fleet.supervisor.add([fleet.spec(2)])
        spent.extend([time.monotonic(), fleet.clock_reads])

    def resume() -> None:
        spent.append(fleet.clock_reads)
        fleet.forkserver.resume()

    fleet.run_steps(
        (fleet.healthy(0), stop),
        (lambda: True, more),
        (lambda: time.monotonic() >= spent[0] + 1.0, resume),
        (fleet.healthy(0, 1, 2), fleet.supervisor.drain),
    )

    assert fleet.supervisor.run().clean

    assert spent[2] - spent[1] < 200


def test_no_worker_is_restarted_while_the_fleet_drains(fleet: ScriptedFleet) -> None:
    """A worker that has ended stays ended, and the run ends."""
    fleet.supervisor.add([fleet.spec(0), fleet.spec(1)])
    fleet.run_steps(
        (fleet.healthy(0, 1), lambda: os.kill(fleet.pid(0), signal.SIGSTOP)),
        (lambda: True, fleet.supervisor.drain),
        (lambda: fleet.state(1) == "stopped" and fleet.pid(1) != 0, lambda: fleet.supervisor.restart("S_1")),
        (lambda: True, lambda: os.kill(fleet.pid(0), signal.SIGCONT)),
    )

    assert fleet.supervisor.run().clean

    assert ["stopped", "stopped"] == [fleet.state(0), fleet.state(1)]


def test_signal_handlers_are_restored(fleet: ScriptedFleet) -> None:
    """After the run the previous handlers are in place."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
    fleet.supervisor.add([fleet.spec(0, 0.1)])

    assert fleet.supervisor.run().clean

    assert before == [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    ]

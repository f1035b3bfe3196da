"""What became of a worker whose template can say nothing more, and what follows the end of a worker."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worker.samples import SPIKE, live_worker, settings
from worker.metrics import MetricsWriter, record_state
from worker.process import EXIT_COMMITTED, EXIT_PENDING
from worker.scoreboard import Scoreboard
from worker.supervision.child import EXIT_UNKNOWN, Child
from worker.supervision.exit_status import exit_status
from worker.supervision.restart_decision import RestartDecision, decide_restart
from worker.supervision.restart_policy import SPAWN_RETRY_SECONDS, RestartPolicy
from worker.supervision.slot import Slot

FULL = OSError(errno.EAGAIN, "no room")
POLICY = RestartPolicy(budget=2, backoff_min=1.0)


class Scene:
    """A slot whose worker has two sensors, was started as incarnation 7, and is gone; nobody has seen its exit code."""

    def __init__(self, folder: Path) -> None:
        self.scoreboard = Scoreboard.create(folder / "board", 2)
        worker = live_worker(folder / "x.db", settings(SPIKE))
        (sensor,) = worker.sensors
        spec = replace(worker, sensors=(sensor, replace(sensor, row=1)))
        self.lifeline, theirs = socket.socketpair()
        theirs.close()
        self.child = Child(
            spec.name, None, self.lifeline, lambda child: EXIT_UNKNOWN if child.lifeline_closed() else None
        )
        self.child.spawn_pending = False
        self.slot = Slot(spec, running_spec=spec, incarnation=7, child=self.child, phase="running")
        record_state(self.scoreboard, spec, 7, "starting")
        self.report = MetricsWriter(self.scoreboard, [0, 1])

    def exit_status(self, *, asked_to_end: bool = True) -> int | OSError | None:
        return exit_status(self.scoreboard, self.slot, asked_to_end=asked_to_end)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    subject = Scene(tmp_path)
    yield subject
    subject.lifeline.close()


@pytest.mark.parametrize(
    ("state", "asked_to_end", "expected"),
    [
        ("stopped", True, EXIT_COMMITTED),
        ("done", False, EXIT_COMMITTED),
        ("unready", True, EXIT_PENDING),
        ("unready", False, EXIT_UNKNOWN),  # paused, and killed
        ("healthy", True, EXIT_UNKNOWN),
    ],
)
def test_the_board_stands_in_for_the_exit_code(state: str, asked_to_end: bool, expected: int, scene: Scene) -> None:
    """Where it says that the worker came to its end by itself."""
    scene.report.set_started()
    scene.report.set_state(state)

    assert expected == scene.exit_status(asked_to_end=asked_to_end)
    assert scene.child.pid is not None


def test_a_worker_that_was_killed_while_it_said_so_is_lost(scene: Scene) -> None:
    """One of its sensors says that it has stopped, the other does not."""
    scene.report.set_started()
    scene.report.set_state("healthy")
    MetricsWriter(scene.scoreboard, [0]).set_state("stopped")

    assert EXIT_UNKNOWN == scene.exit_status()


def test_what_another_incarnation_said_means_nothing(scene: Scene) -> None:
    scene.report.set_started()
    scene.report.set_state("stopped")
    scene.slot.incarnation = 8
    scene.child.pid = 1234

    assert EXIT_UNKNOWN == scene.exit_status()


def test_who_was_never_seen_has_not_died(scene: Scene) -> None:
    """Its template died before it could say whether it had started it; nor is anything on the scoreboard."""
    end = scene.exit_status()

    assert isinstance(end, ChildProcessError)
    assert "the template died" == end.strerror


def after(end: int | OSError, *, draining: bool = False, **slot: Any) -> RestartDecision:
    worker = live_worker(Path("x.db"), settings(SPIKE))
    return decide_restart(Slot(worker, **slot), end, draining=draining, now=100.0, policy=POLICY, jitter=1.0)


def test_an_orderly_end_is_what_it_was_meant_to_be() -> None:
    """The end, the beginning of the next, or the last of it; in a drain only the end."""
    assert RestartDecision(None, "") == after(EXIT_COMMITTED)
    assert RestartDecision(0.0, "restarting") == after(EXIT_COMMITTED, after_exit="restart")
    assert RestartDecision(None, "absent") == after(EXIT_COMMITTED, after_exit="remove")
    assert RestartDecision(None, "") == after(EXIT_COMMITTED, draining=True, after_exit="restart")


def test_a_death_is_followed_by_a_restart_until_the_budget_is_used_up() -> None:
    told = "died by SIGKILL, restart in 1.0 s"
    assert RestartDecision(1.0, "restarting", "SIGKILL", told, died=True) == after(-signal.SIGKILL)
    reason = "died 3 times, last by SIGKILL"
    failed = RestartDecision(None, "failed", reason, f"failed: {reason}", "failed", died=True)

    assert failed == after(-signal.SIGKILL, deaths=(98.0, 99.0))


def test_nobody_is_restarted_in_a_drain() -> None:
    """Who could not write has said why, who was killed can say nothing."""
    killed = RestartDecision(None, "stopped", "SIGKILL", "ended with SIGKILL while draining", "killed")
    pending = RestartDecision(
        None, "", message="ended with readings that it could not write while draining", outcome_list="pending"
    )

    assert killed == after(-signal.SIGKILL, draining=True)
    assert killed == after(-signal.SIGKILL, after_exit="remove")
    assert pending == after(EXIT_PENDING, draining=True)


def test_a_shortage_is_no_death_and_told_once() -> None:
    """It is tried again, but neither in a drain nor for a worker that nobody wants any more."""
    reason = "no process can be started: no room"

    assert RestartDecision(SPAWN_RETRY_SECONDS, "restarting", reason, reason) == after(FULL)
    assert RestartDecision(SPAWN_RETRY_SECONDS, "restarting", reason) == after(FULL, spawn_error=reason)
    assert RestartDecision(None, "stopped") == after(FULL, draining=True)
    assert RestartDecision(None, "absent") == after(FULL, after_exit="remove")

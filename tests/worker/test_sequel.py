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
from worker.board import Board
from worker.child import LOST, Child
from worker.fate import fate
from worker.process import SETTLED, UNSETTLED
from worker.report import Report, mark
from worker.restarts import SHORTAGE, Policy
from worker.sequel import Sequel, sequel
from worker.slot import Slot

FULL = OSError(errno.EAGAIN, "no room")
POLICY = Policy(budget=2, backoff_min=1.0)


class Scene:
    """A slot whose worker has two sensors, was started as incarnation 7, and is gone; nobody has seen its exit code."""

    def __init__(self, folder: Path) -> None:
        self.board = Board.create(folder / "board", 2)
        worker = live_worker(folder / "x.db", settings(SPIKE))
        (sensor,) = worker.sensors
        spec = replace(worker, sensors=(sensor, replace(sensor, row=1)))
        self.lifeline, theirs = socket.socketpair()
        theirs.close()
        self.child = Child(spec.name, None, self.lifeline, lambda child: LOST if child.hung_up() else None)
        self.child.awaited = False
        self.slot = Slot(spec, begun=spec, incarnation=7, child=self.child, phase="running")
        mark(self.board, spec, 7, "starting")
        self.report = Report(self.board, [0, 1])

    def fate(self, *, told: bool = True) -> int | OSError | None:
        return fate(self.board, self.slot, told=told)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    subject = Scene(tmp_path)
    yield subject
    subject.lifeline.close()


@pytest.mark.parametrize(
    ("state", "told", "expected"),
    [
        ("stopped", True, SETTLED),
        ("done", False, SETTLED),
        ("unready", True, UNSETTLED),
        ("unready", False, LOST),  # paused, and killed
        ("healthy", True, LOST),
    ],
)
def test_the_board_stands_in_for_the_exit_code(state: str, told: bool, expected: int, scene: Scene) -> None:
    """Where it says that the worker came to its end by itself."""
    scene.report.started()
    scene.report.state(state)

    assert expected == scene.fate(told=told)
    assert scene.child.pid is not None


def test_a_worker_that_was_killed_while_it_said_so_is_lost(scene: Scene) -> None:
    """One of its sensors says that it has stopped, the other does not."""
    scene.report.started()
    scene.report.state("healthy")
    Report(scene.board, [0]).state("stopped")

    assert LOST == scene.fate()


def test_what_another_incarnation_said_means_nothing(scene: Scene) -> None:
    scene.report.started()
    scene.report.state("stopped")
    scene.slot.incarnation = 8
    scene.child.pid = 1234

    assert LOST == scene.fate()


def test_who_was_never_seen_has_not_died(scene: Scene) -> None:
    """Its template died before it could say whether it had started it; nor is anything on the board."""
    end = scene.fate()

    assert isinstance(end, ChildProcessError)
    assert "the template died" == end.strerror


def after(end: int | OSError, *, draining: bool = False, **slot: Any) -> Sequel:
    worker = live_worker(Path("x.db"), settings(SPIKE))
    return sequel(Slot(worker, **slot), end, draining=draining, now=100.0, policy=POLICY, jitter=1.0)


def test_an_orderly_end_is_what_it_was_meant_to_be() -> None:
    """The end, the beginning of the next, or the last of it; in a drain only the end."""
    assert Sequel(None, "") == after(SETTLED)
    assert Sequel(0.0, "restarting") == after(SETTLED, after="restart")
    assert Sequel(None, "absent") == after(SETTLED, after="remove")
    assert Sequel(None, "") == after(SETTLED, draining=True, after="restart")


def test_a_death_is_followed_by_a_restart_until_the_budget_is_used_up() -> None:
    told = "died by SIGKILL, restart in 1.0 s"
    assert Sequel(1.0, "restarting", "SIGKILL", told, died=True) == after(-signal.SIGKILL)
    reason = "died 3 times, last by SIGKILL"
    failed = Sequel(None, "failed", reason, f"failed: {reason}", "failed", died=True)

    assert failed == after(-signal.SIGKILL, deaths=(98.0, 99.0))


def test_nobody_is_restarted_in_a_drain() -> None:
    """Who could not write has said why, who was killed can say nothing."""
    killed = Sequel(None, "stopped", "SIGKILL", "ended with SIGKILL while draining", "killed")
    unsettled = Sequel(None, "", told="ended with readings that it could not write while draining", blame="unsettled")

    assert killed == after(-signal.SIGKILL, draining=True)
    assert killed == after(-signal.SIGKILL, after="remove")
    assert unsettled == after(UNSETTLED, draining=True)


def test_a_shortage_is_no_death_and_told_once() -> None:
    """It is tried again, but neither in a drain nor for a worker that nobody wants any more."""
    reason = "no process can be started: no room"

    assert Sequel(SHORTAGE, "restarting", reason, reason) == after(FULL)
    assert Sequel(SHORTAGE, "restarting", reason) == after(FULL, trouble=reason)
    assert Sequel(None, "stopped") == after(FULL, draining=True)
    assert Sequel(None, "absent") == after(FULL, after="remove")

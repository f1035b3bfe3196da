"""The exit status of a worker whose fork server is gone: the scoreboard stands in for the exit code."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.worker.samples import SPIKE, live_worker, settings
from worker.metrics import MetricsWriter, record_state
from worker.process import EXIT_COMMITTED, EXIT_PENDING
from worker.scoreboard import Scoreboard
from worker.supervision.child import EXIT_UNKNOWN, Child
from worker.supervision.exit_status import exit_status
from worker.supervision.slot import Slot


class Scene:
    """A slot whose worker of two sensors was started as incarnation 7 and has exited, unobserved."""

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
        self.metrics = MetricsWriter(self.scoreboard, [0, 1])

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
        ("unready", False, EXIT_UNKNOWN),  # killed while it waited for its store
        ("healthy", True, EXIT_UNKNOWN),
    ],
)
def test_the_scoreboard_stands_in_for_the_exit_code(
    state: str, asked_to_end: bool, expected: int, scene: Scene
) -> None:
    """If it says that the worker ended by itself."""
    scene.metrics.set_started()
    scene.metrics.set_state(state)

    assert expected == scene.exit_status(asked_to_end=asked_to_end)
    assert scene.child.pid is not None


def test_a_worker_that_was_killed_while_it_wrote_its_state_has_an_unknown_exit(scene: Scene) -> None:
    """One of its sensors is stopped, the other is not."""
    scene.metrics.set_started()
    scene.metrics.set_state("healthy")
    MetricsWriter(scene.scoreboard, [0]).set_state("stopped")

    assert EXIT_UNKNOWN == scene.exit_status()


def test_the_state_of_another_incarnation_is_ignored(scene: Scene) -> None:
    scene.metrics.set_started()
    scene.metrics.set_state("stopped")
    scene.slot.incarnation = 8
    scene.child.pid = 1234

    assert EXIT_UNKNOWN == scene.exit_status()


def test_a_worker_that_never_wrote_its_pid_was_not_started(scene: Scene) -> None:
    """The fork server died before it could answer, and the scoreboard has nothing either."""
    end = scene.exit_status()

    assert isinstance(end, ChildProcessError)
    assert "the fork server died" == end.strerror

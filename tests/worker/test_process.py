"""One real worker process, forked by a real fork server: messages, lifeline, a store that does not take data."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.worker.samples import ANOMALIES, live_worker, settings, wait_for
from tests.worker.stores import expected_seqs, stored_seqs
from worker import messages
from worker.clock import elapsed_ns
from worker.log import LogSpec
from worker.process import EXIT_COMMITTED, EXIT_FENCED, EXIT_PENDING
from worker.scoreboard import STATES, Scoreboard
from worker.supervision.child import Child
from worker.supervision.forkserver import ForkServer

pytestmark = [pytest.mark.process, pytest.mark.claim("000.testing.4")]

SETTINGS = settings(*ANOMALIES, rate="100")


class Stage:
    """A scoreboard, a fork server, and one sensor at 100 readings/s whose workers the test starts."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "CHI_123456.db"
        self.scoreboard = Scoreboard.create(folder / "board", 1)
        self.forkserver = ForkServer(folder / "board", LogSpec(folder / "log"))
        self.running: list[Child] = []

    def register(self, seconds: float | None = None, **store: Any) -> None:
        spec = live_worker(self.path, SETTINGS, seconds=seconds)
        spec = replace(spec, store=replace(spec.store, **store))
        self.origin_ns = spec.run.origin_ns
        self.forkserver.register([spec])

    def spawn(self, incarnation: int = 1) -> Child:
        (child,) = self.forkserver.spawn([("CHI_123456", incarnation)])
        assert isinstance(child, Child)
        self.running.append(child)

        def born() -> bool:
            self.forkserver.receive()
            return child.pid is not None

        wait_for(born, "its process")
        return child

    def working(self) -> Child:
        """Start a worker of a run without an end and wait for its first commit."""
        self.register()
        child = self.spawn()
        wait_for(lambda: "healthy" == self.state and self.row["readings"] > 0, "first commit")
        return child

    @property
    def row(self) -> Any:
        return self.scoreboard.snapshot()[0]

    @property
    def state(self) -> str:
        return STATES[self.row["state"]]

    def ended(self, child: Child, seconds: float = 10.0) -> int:
        """Wait for the exit of a child and return its exit code."""
        codes: list[int] = []

        def over() -> bool:
            self.forkserver.receive()
            code = child.exit_code()
            codes.extend([] if code is None else [code])
            return bool(codes)

        wait_for(over, "the end of the worker", seconds)
        self.running.remove(child)
        child.close_lifeline()
        return codes[0]

    def whole(self) -> int:
        """Check that every reading up to the checkpoint is stored, and return their number."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
            (end,) = reader.execute("SELECT next_seq FROM checkpoints").fetchone() or (0,)
        assert expected_seqs(SETTINGS, end) == stored_seqs(self.path)
        return int(end)

    def close(self) -> None:
        for child in self.running:
            child.close_lifeline()
            child.signal(signal.SIGKILL)
        self.forkserver.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    subject = Stage(tmp_path)
    yield subject
    subject.close()


def test_a_run_ends_by_itself_with_every_reading(stage: Stage) -> None:
    """ceil(for x rate), exit code 0, `done` on the scoreboard."""
    stage.register(seconds=0.755)
    code = stage.ended(stage.spawn())

    assert (EXIT_COMMITTED, "done") == (code, stage.state)
    assert 76 == stage.whole() == stage.row["next_seq"]
    assert len(stored_seqs(stage.path)) == stage.row["readings"]


def test_a_drain_commits_what_is_due(stage: Stage) -> None:
    """Everything due at the time of the message is written, then it exits with 0."""
    child = stage.working()
    due = (elapsed_ns() - stage.origin_ns) * 100 // 1_000_000_000
    child.send_message(messages.drain_message(5.0))

    assert EXIT_COMMITTED == stage.ended(child)
    assert "stopped" == stage.state
    assert stage.whole() >= due


def test_a_worker_ends_when_its_lifeline_closes(stage: Stage) -> None:
    """Within two seconds, with due readings committed: no worker outlives its supervisor."""
    child = stage.working()
    committed = int(stage.row["next_seq"])
    child.close_lifeline()

    assert EXIT_COMMITTED == stage.ended(child, seconds=2.0)
    assert stage.whole() >= committed


def test_a_suspended_worker_ends_when_it_resumes(stage: Stage) -> None:
    """Its lifeline was closed while it was suspended."""
    child = stage.working()
    child.signal(signal.SIGSTOP)
    child.close_lifeline()
    child.signal(signal.SIGCONT)

    assert EXIT_COMMITTED == stage.ended(child, seconds=2.5)
    stage.whole()


@pytest.mark.claim("000.configuration-file.3", "000.error-handling.1", "002.error-handling.1")
def test_a_locked_database_makes_it_unready_and_costs_nothing(stage: Stage) -> None:
    """It reports the reason, keeps its position, and continues without a gap when the lock is released."""
    child = stage.working()
    with closing(apsw.Connection(str(stage.path))) as other:
        other.set_busy_timeout(5_000)
        other.execute("BEGIN IMMEDIATE")
        wait_for(lambda: "unready" == stage.state, "unready")
        assert b"CHI_123456.db: database is locked" == stage.row["reason"]
        before = int(stage.row["next_seq"])
        other.execute("ROLLBACK")
    wait_for(lambda: "healthy" == stage.state and stage.row["next_seq"] > before, "healthy again")
    child.send_message(messages.drain_message(5.0))

    assert EXIT_COMMITTED == stage.ended(child)
    assert stage.whole() > before
    assert b"" == stage.row["reason"]


def test_a_drain_on_a_locked_database_ends_at_its_deadline(stage: Stage) -> None:
    """With exit code 4 and the number of readings on the scoreboard; the next worker writes them."""
    child = stage.working()
    with closing(apsw.Connection(str(stage.path))) as other:
        other.set_busy_timeout(5_000)
        other.execute("BEGIN IMMEDIATE")
        child.send_message(messages.drain_message(0.5))
        assert EXIT_PENDING == stage.ended(child, seconds=4.0)
        other.execute("ROLLBACK")
    assert "unready" == stage.state
    assert b"due readings not written: CHI_123456.db: database is locked" in stage.row["reason"]
    committed = stage.whole()
    again = stage.spawn(2)
    wait_for(lambda: stage.row["next_seq"] > committed + 50, "the next worker")
    again.send_message(messages.drain_message(5.0))

    assert EXIT_COMMITTED == stage.ended(again)
    stage.whole()


def test_a_drain_on_a_locked_database_is_not_slept_through(stage: Stage) -> None:
    """A long delay between two attempts ends at the deadline."""
    stage.register(retry_delay=200.0)
    child = stage.spawn()
    wait_for(lambda: stage.row["readings"] > 0, "first commit")
    with closing(apsw.Connection(str(stage.path))) as other:
        other.set_busy_timeout(5_000)
        other.execute("BEGIN IMMEDIATE")
        child.send_message(messages.drain_message(1.5))
        assert EXIT_PENDING == stage.ended(child, seconds=3.4)  # it would be killed after 3.5
        other.execute("ROLLBACK")
    stage.whole()


@pytest.mark.claim("002.error-handling.5")
def test_the_error_limit_ends_a_worker(stage: Stage) -> None:
    """Nothing is dropped: the next worker writes what was due."""
    stage.register(error_limit=3, retry_delay=0.01)
    child = stage.spawn()
    wait_for(lambda: stage.row["readings"] > 0, "first commit")
    with closing(apsw.Connection(str(stage.path))) as other:
        other.set_busy_timeout(5_000)
        other.execute("BEGIN IMMEDIATE")
        assert EXIT_PENDING == stage.ended(child)
        other.execute("ROLLBACK")
    assert 1 == stage.row["retries"]  # the first attempt, one retry, and a last one without a wait after it
    committed = stage.whole()
    again = stage.spawn(2)
    wait_for(lambda: stage.row["next_seq"] > committed + 50, "the next worker")
    again.send_message(messages.drain_message(5.0))

    assert EXIT_COMMITTED == stage.ended(again)
    stage.whole()


def test_a_newer_incarnation_fences_the_older(stage: Stage) -> None:
    """Both run, only one can write: the older exits with code 3, and no reading is stored twice."""
    older = stage.working()
    newer = stage.spawn(2)

    assert EXIT_FENCED == stage.ended(older)
    newer.send_message(messages.drain_message(5.0))
    assert EXIT_COMMITTED == stage.ended(newer)
    stage.whole()


@pytest.mark.claim("000.error-handling.3")
def test_a_killed_worker_is_continued_where_it_was(stage: Stage) -> None:
    """Its successor catches up: the same run, so no epoch begins and nothing is missing."""
    killed = stage.working()
    killed.signal(signal.SIGKILL)
    assert -signal.SIGKILL == stage.ended(killed)
    committed = stage.whole()
    again = stage.spawn(2)
    wait_for(lambda: stage.row["next_seq"] > committed, "the next worker")
    again.send_message(messages.drain_message(5.0))

    assert EXIT_COMMITTED == stage.ended(again)
    assert stage.whole() > committed

"""Messages to a real worker process: settings change while it runs, also if it is slow to read them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from tests.worker.samples import ANOMALIES, SPIKE, live_worker, settings, wait_for
from worker import messages
from worker.process import EXIT_COMMITTED
from worker.scoreboard import Scoreboard
from worker.spec import Stage, WorkerSpec
from worker.supervision.child import Child
from worker.supervision.forkserver import ForkServer

pytestmark = pytest.mark.process

SETTINGS = settings(*ANOMALIES, rate="100")
WORSE = settings(replace(SPIKE, share=0.8), rate="100")
EPOCHS = "SELECT reason, first_seq, settings FROM epochs ORDER BY first_seq"


class Workshop:
    """A fork server and one worker of a sensor at 100 readings/s."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "CHI_123456.db"
        self.scoreboard = Scoreboard.create(folder / "board", 1)
        self.forkserver = ForkServer(folder / "board", None)
        self.spec = live_worker(self.path, SETTINGS)
        self.forkserver.register([self.spec])
        (child,) = self.forkserver.spawn([("CHI_123456", 1)])
        assert isinstance(child, Child)
        self.child = child

    def working(self) -> None:
        """Wait until the process id is known and the first commit is done."""
        wait_for(self._born, "its process")
        wait_for(lambda: self.seq > 0, "the first commit")

    def _born(self) -> bool:
        self.forkserver.receive()
        return self.child.pid is not None

    @property
    def seq(self) -> int:
        return int(self.scoreboard.snapshot()[0]["next_seq"])

    def changed(self, *stages: Stage) -> WorkerSpec:
        return replace(self.spec, sensors=(replace(self.spec.sensors[0], settings=WORSE, stages=stages),))

    def epochs(self) -> list[tuple[str, int, str]]:
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
            reader.set_busy_timeout(5_000)
            return [(reason, first, text) for reason, first, text in reader.execute(EPOCHS)]

    def drained(self) -> int:
        self.child.send_message(messages.drain_message(5.0))
        codes: list[int | None] = []

        def over() -> bool:
            self.forkserver.receive()
            codes.append(self.child.exit_code())
            return codes[-1] is not None

        wait_for(over, "the end of the worker")
        return codes[-1] if codes[-1] is not None else -1

    def close(self) -> None:
        self.child.signal(signal.SIGKILL)
        self.child.close_lifeline()
        self.forkserver.close()


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    subject = Workshop(tmp_path)
    yield subject
    subject.close()


def test_a_change_is_an_epoch_from_the_next_reading_on(workshop: Workshop) -> None:
    """The same process goes on, and no reading is lost."""
    workshop.working()
    before = workshop.seq
    workshop.child.send_message(messages.change_message(workshop.changed(), workshop.spec))
    wait_for(lambda: len(workshop.epochs()) == 2, "the epoch")

    reason, first, text = workshop.epochs()[1]
    assert ("settings", True) == (reason, before <= first <= workshop.seq)
    assert '"share":0.8' in text
    assert EXIT_COMMITTED == workshop.drained()


def test_a_worker_that_is_being_started_receives_messages(workshop: Workshop) -> None:
    """They wait in its lifeline, before its process id is known."""
    assert workshop.child.pid is None
    workshop.child.send_message(messages.change_message(workshop.changed(), workshop.spec))
    workshop.working()

    wait_for(lambda: '"share":0.8' in workshop.epochs()[-1][2], "the epoch")
    assert EXIT_COMMITTED == workshop.drained()


def test_a_suspended_worker_receives_all_messages_when_it_resumes(workshop: Workshop) -> None:
    """Also more than its lifeline can hold: the rest is sent while the supervisor polls its children."""
    workshop.working()
    workshop.child.signal(signal.SIGSTOP)
    many = workshop.changed(*(Stage(2**60 + number, WORSE) for number in range(100_000)))
    workshop.child.send_message(messages.change_message(many, workshop.spec))
    workshop.child.send_message(messages.change_message(workshop.changed(), many))
    workshop.child.signal(signal.SIGCONT)

    def taken() -> bool:
        assert workshop.child.exit_code() is None
        return len(workshop.epochs()) == 2

    wait_for(taken, "the epoch")
    assert EXIT_COMMITTED == workshop.drained()

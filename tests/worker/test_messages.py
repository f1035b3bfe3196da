"""Orders to a real worker process: it changes its settings while it runs, however slow it is to listen."""

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

SETTINGS = settings(*ANOMALIES, rate="100")
WORSE = settings(replace(SPIKE, share=0.8), rate="100")
EPOCHS = "SELECT reason, first_seq, settings FROM epochs ORDER BY first_seq"


class Workshop:
    """A forkserver that knows one worker of a sensor at 100 readings/s."""

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
        """Its process is known, and has committed."""
        wait_for(self._born, "its process")
        wait_for(lambda: self.seq > 0, "the first commit")

    def _born(self) -> bool:
        self.forkserver.receive()
        return self.child.pid is not None

    @property
    def seq(self) -> int:
        return int(self.scoreboard.snapshot()[0]["next_seq"])

    def told(self, *stages: Stage) -> WorkerSpec:
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
    """By the same process, in the database with the readings, none of them lost."""
    workshop.working()
    before = workshop.seq
    workshop.child.send_message(messages.change_message(workshop.told()))
    wait_for(lambda: len(workshop.epochs()) == 2, "the epoch")

    reason, first, text = workshop.epochs()[1]
    assert ("settings", True) == (reason, before <= first <= workshop.seq)
    assert '"share":0.8' in text
    assert EXIT_COMMITTED == workshop.drained()


def test_a_worker_that_is_about_to_begin_takes_its_orders(workshop: Workshop) -> None:
    """They wait in its inbox, though nobody knows yet which process it will be."""
    assert workshop.child.pid is None
    workshop.child.send_message(messages.change_message(workshop.told()))
    workshop.working()

    wait_for(lambda: '"share":0.8' in workshop.epochs()[-1][2], "the epoch")
    assert EXIT_COMMITTED == workshop.drained()


def test_a_stopped_worker_takes_all_orders_when_it_wakes(workshop: Workshop) -> None:
    """Also more than its inbox can hold: the rest is sent on while the supervisor looks after its children."""
    workshop.working()
    workshop.child.signal(signal.SIGSTOP)
    many = workshop.told(*(Stage(2**60 + number, WORSE) for number in range(100_000)))
    workshop.child.send_message(messages.change_message(many))
    workshop.child.send_message(messages.change_message(workshop.told()))
    workshop.child.signal(signal.SIGCONT)

    def taken() -> bool:
        assert workshop.child.exit_code() is None
        return len(workshop.epochs()) == 2

    wait_for(taken, "the epoch")
    assert EXIT_COMMITTED == workshop.drained()

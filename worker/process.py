"""The loop of one worker: due? generate, deliver, publish, listen.

The lifeline is a socket to the supervisor. It is the worker's sleep, its inbox for orders, and its proof that the
supervisor lives: when it closes, the worker commits what it has and is gone.
"""

from __future__ import annotations

import json
import logging
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from worker.board import Board
from worker.clock import elapsed_ns
from worker.database import Database
from worker.orders import Order, changed
from worker.report import Report
from worker.sensor import Sensor
from worker.sinks import Fenced, Portion, Sink, Unavailable
from worker.spec import WorkerSpec

SETTLED, FENCED, UNSETTLED = 0, 3, 4
"""Exit codes: all due readings are written; a newer incarnation has the sensors; some could not be written."""

MOST = 10_000
"""Readings in one transaction, all sensors together."""

SECOND = 1_000_000
SHORTEST_INTERVAL = 20_000
BEAT = SECOND // 2
GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio, modulo 1, spread evenly: so are the commits of a fleet over the interval."""

ORPHAN_SECONDS = 1.2

LARGEST_GULP = 1 << 16
"""Bytes of the inbox that are read at once; the settings of a sensor are two or three thousand."""

SILENCE = 4.0
"""Hang limits without a beat after which a worker is not even waited for by itself."""


class Worker:
    """One worker process from the inside. `clock` gives the nanoseconds that the run's origin is counted in, `beat` is
    called along with each beat of the heart."""

    def __init__(
        self,
        spec: WorkerSpec,
        incarnation: int,
        lifeline: socket.socket,
        board: Board,
        sink: Sink,
        clock: Callable[[], int] = elapsed_ns,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._incarnation, self._clock, self._beat = spec, incarnation, clock, beat
        self._lifeline, self._sink = lifeline, sink
        self._sensors = [Sensor(sensor, spec.run) for sensor in spec.sensors]
        self._report = Report(board, [sensor.row for sensor in spec.sensors])
        self._log = logging.getLogger(spec.name)
        self._poll = select.poll()  # not select(): a fleet has more than 1024 descriptors
        self._poll.register(lifeline, select.POLLIN)
        self._claimed = False
        self._placed = False  # whether it was known once where the sensors stand
        self._deadline: float | None = None  # monotonic seconds; set once it is to end
        self._until_us: int | None = None  # simulated time up to which it still writes, once it is to end
        self._inbox = b""
        self._pace(spec)

    def run(self) -> int:
        """Work until done, told to end, or orphaned. Returns the exit code."""
        self._report.started()
        self._beat()
        try:
            while True:
                backlog = self._persist(self._step)
                if self._deadline is None and all(self._over(sensor) for sensor in self._sensors):
                    self._report.state("done")
                    return SETTLED
                if self._deadline is not None and not backlog:
                    self._persist(self._finish)
                    self._report.state("stopped")
                    return SETTLED
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    raise Unavailable("there was no time for more", lost=False)
                self._listen(0 if backlog else self._wait())
        except Fenced as fenced:
            self._log.warning("fenced: %s", fenced)
            return FENCED
        except Unavailable as unavailable:
            return self._give_up(unavailable)
        finally:
            self._sink.close()

    # What is written

    def _step(self) -> bool:
        """Settle what is due, at most MOST readings. Returns whether some is left."""
        self._claim()
        now = self._now()
        for sensor in self._sensors:
            if self._deadline is None and sensor.overdue(now):
                sensor.skip(now)
        return self._deliver(now, final=False)

    def _finish(self) -> None:
        """The last transaction before the end: records of episodes that would go on are cut."""
        self._claim()
        self._deliver(self._now(), final=True)

    def _claim(self) -> None:
        if not self._claimed:
            identities = [sensor.spec.identity for sensor in self._sensors]
            positions = self._sink.claim(identities, self._incarnation)
            for sensor, position in zip(self._sensors, positions, strict=True):
                sensor.resume(position)
            self._claimed = self._placed = True

    def _deliver(self, now: int, *, final: bool) -> bool:
        share = max(1, MOST // len(self._sensors))
        portions: list[tuple[int, Portion]] = []
        for index, sensor in enumerate(self._sensors):
            portions.extend((index, portion) for portion in sensor.portions(now, share, final=final))
        if portions:
            begun = self._clock()
            self._sink.deliver([portion for _, portion in portions])
            took = (self._clock() - begun) // 1000
            for index, portion in portions:
                self._sensors[index].settled(portion)
                self._report.settled(index, portion)
            self._report.committed(portions, took, self._now())
        else:
            self._report.alive()
        self._report.paused([sensor.paused for sensor in self._sensors])
        return any(sensor.due(now) > sensor.next_seq for sensor in self._sensors)

    def _persist(self, action: Callable[[], Any]) -> Any:
        """Do it, again and again while the sink is unavailable. Raises Unavailable only after the deadline."""
        try:
            return action()
        except Unavailable as error:
            self._refused(error)
            return self._retry(action)

    def _refused(self, error: Unavailable) -> None:
        self._claimed = self._claimed and not error.lost
        if error.renewed:
            self._report.renewed()
            self._log.error("%s", error)

    def _retry(self, action: Callable[[], Any]) -> Any:
        delay = self._spec.store.retry_delay
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(multiplier=delay / 4, max=5 * delay),
            stop=self._enough,
            before_sleep=self._unavailable,
            sleep=lambda seconds: self._listen(int(seconds * SECOND)),
            reraise=True,
        )
        return retrying(action)

    def _enough(self, attempt: RetryCallState) -> bool:
        """Whether to end instead of trying again: there is no time for more, or so many failures in a row are the end
        by the operator's wish. Nothing is dropped then: what is due stays due for the next incarnation."""
        limit = self._spec.store.error_limit
        overdue = self._deadline is not None and time.monotonic() >= self._deadline
        return overdue or (limit is not None and attempt.attempt_number + 1 >= limit)

    def _unavailable(self, attempt: RetryCallState) -> None:
        error = attempt.outcome and attempt.outcome.exception()
        assert isinstance(error, Unavailable)
        self._refused(error)
        given_up = attempt.attempt_number == self._spec.store.retry_attempts
        self._report.retried(given_up=given_up)
        if self._placed:
            self._report.waiting([sensor.lag(self._now()) for sensor in self._sensors])
        if given_up:
            self._report.state("unready", str(error))
            self._log.error("paused, nothing is dropped: %s", error)

    def _give_up(self, unavailable: Unavailable) -> int:
        now = self._now()
        left = sum(max(0, sensor.due(now) - sensor.next_seq) for sensor in self._sensors) if self._claimed else None
        told = f"{left} due readings" if left is not None else "due readings"
        self._report.state("unready", f"{told} not written: {unavailable}")
        self._log.error("%s not written: %s", told, unavailable)
        return UNSETTLED

    # When

    def _pace(self, spec: WorkerSpec) -> None:
        """How often to commit, and when within that interval."""
        fastest = float(max(sensor.fastest for sensor in spec.sensors))
        wanted = min(spec.store.batch_interval, spec.store.batch_size / fastest)
        self._interval = max(int(wanted * SECOND), SHORTEST_INTERVAL)
        self._slot = int(spec.sensors[0].row * GOLDEN % 1 * self._interval)

    def _now(self) -> int:
        """Simulated time; once the worker is to end, the time at which it was told."""
        run = self._spec.run
        now = run.start_us + (self._clock() - run.origin_ns) // 1000
        return now if self._until_us is None else min(now, self._until_us)

    def _over(self, sensor: Sensor) -> bool:
        """Whether it has nothing more to write in this run."""
        end_us = self._spec.run.end_us
        return sensor.done or (sensor.paused and end_us is not None and self._now() >= end_us)

    def _wait(self) -> int:
        """Microseconds until the next commit is due, or until it is to be seen whether one is."""
        now, run = self._now(), self._spec.run
        waiting = [sensor for sensor in self._sensors if not (sensor.done or sensor.paused)]
        if not waiting:
            return BEAT
        next_due = max(now, min(sensor.schedule.time(sensor.next_seq) for sensor in waiting))
        passed = next_due - run.start_us - self._slot
        commit = next_due - passed % self._interval + self._interval
        ends = [sensor.end_us for sensor in waiting if sensor.end_us is not None and now < sensor.end_us]
        return min([commit, *ends]) - now

    def _listen(self, microseconds: int) -> None:
        """Sleep that long, beating; ends early when an order arrives or the supervisor dies."""
        end = self._clock() + microseconds * 1000
        while True:
            left = max(0, end - self._clock()) // 1_000_000
            ready = self._poll.poll(min(left, BEAT // 1000))
            self._beat()
            self._report.alive()
            if ready:
                self._receive()
                return
            if left <= BEAT // 1000:
                return

    def _receive(self) -> None:
        received = self._lifeline.recv(LARGEST_GULP)
        if not received:
            self._end(ORPHAN_SECONDS, "the supervisor is gone")
        *lines, self._inbox = (self._inbox + received).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: Order) -> None:
        match order["order"]:
            case "drain":
                self._end(order["seconds"], "draining")
            case "change":
                self._change(changed(self._spec, order))
            case other:
                raise ValueError(f"order {other} is unknown")

    def _change(self, spec: WorkerSpec) -> None:
        """Go on by another spec of the same sensors, each from its next unsettled reading on."""
        self._spec = spec
        logging.getLogger().setLevel(spec.log_level)
        self._pace(spec)
        for sensor, told in zip(self._sensors, spec.sensors, strict=True):
            if sensor.spec != told:
                sensor.change(told)

    def _end(self, seconds: float, why: str) -> None:
        self._log.info("%s", why)
        self._poll.unregister(self._lifeline)  # nothing that could still come would change its mind
        self._until_us = self._now()
        self._deadline = time.monotonic() + seconds


def main(spec: WorkerSpec, incarnation: int, board: Board, lifeline: socket.socket) -> int:
    """The body of a worker process. Returns its exit code. If its heart does not beat for very long and nobody is left to
    end it, the kernel does, by SIGALRM."""
    logging.raiseExceptions = False  # on a full disk lines are lost, and no traceback of that is to go to the terminal
    logging.getLogger().setLevel(spec.log_level)
    longest = SILENCE * spec.run.hang_seconds

    def beat() -> None:
        signal.setitimer(signal.ITIMER_REAL, longest)

    return Worker(spec, incarnation, lifeline, board, Database(spec.store), beat=beat).run()

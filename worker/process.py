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

from worker.clock import elapsed_ns
from worker.messages import Message, apply_change
from worker.metrics import MetricsWriter
from worker.scoreboard import Scoreboard
from worker.sensor import Sensor
from worker.spec import WorkerSpec
from worker.storage.database import Database
from worker.storage.sinks import Fenced, Portion, Sink, Unavailable

EXIT_COMMITTED, EXIT_FENCED, EXIT_PENDING = 0, 3, 4
"""Exit codes: all due readings are written; a newer incarnation has the sensors; some could not be written."""

MAX_READINGS_PER_COMMIT = 10_000
"""Readings in one transaction, all sensors together."""

SECOND_US = 1_000_000
MIN_COMMIT_INTERVAL_US = 20_000
HEARTBEAT_INTERVAL_US = SECOND_US // 2
GOLDEN_RATIO_CONJUGATE = 0.6180339887498949
"""Multiples of the golden ratio, modulo 1, spread evenly: so are the commits of a fleet over the interval."""

ORPHAN_DRAIN_SECONDS = 1.2

MAX_RECEIVE_BYTES = 1 << 16
"""Bytes of the inbox that are read at once; the settings of a sensor are two or three thousand."""

WATCHDOG_FACTOR = 4.0
"""Hang limits without a beat after which a worker is not even waited for by itself."""


class Worker:
    """One worker process from the inside. `clock` gives the nanoseconds that the run's origin is counted in, `heartbeat` is
    called along with each beat of the heart."""

    def __init__(
        self,
        spec: WorkerSpec,
        incarnation: int,
        lifeline: socket.socket,
        scoreboard: Scoreboard,
        sink: Sink,
        clock: Callable[[], int] = elapsed_ns,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._incarnation, self._clock, self._heartbeat = spec, incarnation, clock, heartbeat
        self._lifeline, self._sink = lifeline, sink
        self._sensors = [Sensor(sensor, spec.run) for sensor in spec.sensors]
        self._metrics = MetricsWriter(scoreboard, [sensor.row for sensor in spec.sensors])
        self._log = logging.getLogger(spec.name)
        self._poll = select.poll()  # not select(): a fleet has more than 1024 descriptors
        self._poll.register(lifeline, select.POLLIN)
        self._claimed = False
        self._position_known = False  # whether it was known once where the sensors stand
        self._deadline: float | None = None  # monotonic seconds; set once it is to end
        self._until_us: int | None = None  # simulated time up to which it still writes, once it is to end
        self._inbox = b""
        self._plan_commits(spec)

    def run(self) -> int:
        """Work until done, told to end, or orphaned. Returns the exit code."""
        self._metrics.set_started()
        self._heartbeat()
        try:
            while True:
                backlog = self._persist(self._step)
                if self._deadline is None and all(self._finished(sensor) for sensor in self._sensors):
                    self._metrics.set_state("done")
                    return EXIT_COMMITTED
                if self._deadline is not None and not backlog:
                    self._persist(self._finish)
                    self._metrics.set_state("stopped")
                    return EXIT_COMMITTED
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    raise Unavailable("there was no time for more", outcome_unknown=False)
                self._listen(0 if backlog else self._wait())
        except Fenced as fenced:
            self._log.warning("fenced: %s", fenced)
            return EXIT_FENCED
        except Unavailable as unavailable:
            return self._give_up(unavailable)
        finally:
            self._sink.close()

    # What is written

    def _step(self) -> bool:
        """Settle what is due, at most MAX_READINGS_PER_COMMIT readings. Returns whether some is left."""
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
            self._claimed = self._position_known = True

    def _deliver(self, now: int, *, final: bool) -> bool:
        share = max(1, MAX_READINGS_PER_COMMIT // len(self._sensors))
        portions: list[tuple[int, Portion]] = []
        for index, sensor in enumerate(self._sensors):
            portions.extend((index, portion) for portion in sensor.portions(now, share, final=final))
        if portions:
            begun = self._clock()
            self._sink.deliver([portion for _, portion in portions])
            took = (self._clock() - begun) // 1000
            for index, portion in portions:
                self._sensors[index].commit(portion)
                self._metrics.count_portion(index, portion)
            self._metrics.count_commit(portions, took, self._now())
        else:
            self._metrics.heartbeat()
        self._metrics.set_paused([sensor.paused for sensor in self._sensors])
        return any(sensor.due(now) > sensor.next_seq for sensor in self._sensors)

    def _persist(self, action: Callable[[], Any]) -> Any:
        """Do it, again and again while the sink is unavailable. Raises Unavailable only after the deadline."""
        try:
            return action()
        except Unavailable as error:
            self._note_unavailable(error)
            return self._retry(action)

    def _note_unavailable(self, error: Unavailable) -> None:
        self._claimed = self._claimed and not error.outcome_unknown
        if error.recreated:
            self._metrics.count_recreation()
            self._log.error("%s", error)

    def _retry(self, action: Callable[[], Any]) -> Any:
        delay = self._spec.store.retry_delay
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(multiplier=delay / 4, max=5 * delay),
            stop=self._stop_retrying,
            before_sleep=self._record_retry,
            sleep=lambda seconds: self._listen(int(seconds * SECOND_US)),
            reraise=True,
        )
        return retrying(action)

    def _stop_retrying(self, attempt: RetryCallState) -> bool:
        """Whether to end instead of trying again: there is no time for more, or so many failures in a row are the end
        by the operator's wish. Nothing is dropped then: what is due stays due for the next incarnation."""
        limit = self._spec.store.error_limit
        overdue = self._deadline is not None and time.monotonic() >= self._deadline
        return overdue or (limit is not None and attempt.attempt_number + 1 >= limit)

    def _record_retry(self, attempt: RetryCallState) -> None:
        error = attempt.outcome and attempt.outcome.exception()
        assert isinstance(error, Unavailable)
        self._note_unavailable(error)
        given_up = attempt.attempt_number == self._spec.store.retry_attempts
        self._metrics.count_retry(given_up=given_up)
        if self._position_known:
            self._metrics.set_lags([sensor.lag(self._now()) for sensor in self._sensors])
        if given_up:
            self._metrics.set_state("unready", str(error))
            self._log.error("paused, nothing is dropped: %s", error)

    def _give_up(self, unavailable: Unavailable) -> int:
        now = self._now()
        left = sum(max(0, sensor.due(now) - sensor.next_seq) for sensor in self._sensors) if self._claimed else None
        told = f"{left} due readings" if left is not None else "due readings"
        self._metrics.set_state("unready", f"{told} not written: {unavailable}")
        self._log.error("%s not written: %s", told, unavailable)
        return EXIT_PENDING

    # When

    def _plan_commits(self, spec: WorkerSpec) -> None:
        """How often to commit, and when within that interval."""
        max_rate = float(max(sensor.max_rate for sensor in spec.sensors))
        wanted = min(spec.store.batch_interval, spec.store.batch_size / max_rate)
        self._interval = max(int(wanted * SECOND_US), MIN_COMMIT_INTERVAL_US)
        self._slot = int(spec.sensors[0].row * GOLDEN_RATIO_CONJUGATE % 1 * self._interval)

    def _now(self) -> int:
        """Simulated time; once the worker is to end, the time at which it was told."""
        run = self._spec.run
        now = run.start_us + (self._clock() - run.origin_ns) // 1000
        return now if self._until_us is None else min(now, self._until_us)

    def _finished(self, sensor: Sensor) -> bool:
        """Whether it has nothing more to write in this run."""
        end_us = self._spec.run.end_us
        return sensor.done or (sensor.paused and end_us is not None and self._now() >= end_us)

    def _wait(self) -> int:
        """Microseconds until the next commit is due, or until it is to be seen whether one is."""
        now, run = self._now(), self._spec.run
        waiting = [sensor for sensor in self._sensors if not (sensor.done or sensor.paused)]
        if not waiting:
            return HEARTBEAT_INTERVAL_US
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
            ready = self._poll.poll(min(left, HEARTBEAT_INTERVAL_US // 1000))
            self._heartbeat()
            self._metrics.heartbeat()
            if ready:
                self._receive()
                return
            if left <= HEARTBEAT_INTERVAL_US // 1000:
                return

    def _receive(self) -> None:
        received = self._lifeline.recv(MAX_RECEIVE_BYTES)
        if not received:
            self._end(ORPHAN_DRAIN_SECONDS, "the supervisor is gone")
        *lines, self._inbox = (self._inbox + received).split(b"\n")
        for line in lines:
            self._handle_message(json.loads(line))

    def _handle_message(self, order: Message) -> None:
        match order["order"]:
            case "drain":
                self._end(order["seconds"], "draining")
            case "change":
                self._change(apply_change(self._spec, order))
            case other:
                raise ValueError(f"order {other} is unknown")

    def _change(self, spec: WorkerSpec) -> None:
        """Go on by another spec of the same sensors, each from its next unsettled reading on."""
        self._spec = spec
        logging.getLogger().setLevel(spec.log_level)
        self._plan_commits(spec)
        for sensor, told in zip(self._sensors, spec.sensors, strict=True):
            if sensor.spec != told:
                sensor.change(told)

    def _end(self, seconds: float, why: str) -> None:
        self._log.info("%s", why)
        self._poll.unregister(self._lifeline)  # nothing that could still come would change its mind
        self._until_us = self._now()
        self._deadline = time.monotonic() + seconds


def main(spec: WorkerSpec, incarnation: int, scoreboard: Scoreboard, lifeline: socket.socket) -> int:
    """The body of a worker process. Returns its exit code. If its heart does not beat for very long and nobody is left to
    end it, the kernel does, by SIGALRM."""
    logging.raiseExceptions = False  # on a full disk lines are lost, and no traceback of that is to go to the terminal
    logging.getLogger().setLevel(spec.log_level)
    longest = WATCHDOG_FACTOR * spec.run.hang_seconds

    def heartbeat() -> None:
        signal.setitimer(signal.ITIMER_REAL, longest)

    return Worker(spec, incarnation, lifeline, scoreboard, Database(spec.store), heartbeat=heartbeat).run()

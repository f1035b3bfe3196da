"""The loop of one worker process: compute the readings that are due, deliver them, update the scoreboard, sleep.

The lifeline is a socket to the supervisor. The worker sleeps on it, receives messages through it, and learns from it that
the supervisor has died: when it closes, the worker commits what is due and exits.
"""

from __future__ import annotations

import json
import logging
import math
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from worker.clock import elapsed_ns
from worker.messages import Message, apply_change
from worker.metrics import MetricsWriter
from worker.schedule import GOLDEN_RATIO_CONJUGATE
from worker.scoreboard import Scoreboard
from worker.sensor import Sensor
from worker.spec import WorkerSpec
from worker.storage.database import Database
from worker.storage.sinks import Fenced, Portion, Sink, Unavailable

EXIT_COMMITTED, EXIT_FENCED, EXIT_PENDING = 0, 3, 4
"""Exit codes: all due readings are written; a newer incarnation owns the sensors; some due readings are not written."""

MAX_READINGS_PER_COMMIT = 10_000
"""Readings in one transaction, all sensors together."""

MIN_READINGS_PER_COMMIT = 1000
"""Readings of the first transactions of a history, and of those of a machine that is too busy for more."""

READINGS_PER_TURN = 2000
"""Readings that a sensor of a pack writes of its history before it is the turn of another. Few at a time are slow."""

LONG_STEP_SECONDS = 1.0
"""A step of a history that takes longer is followed by a smaller one: the heartbeats of hundreds of busy workers must not
be late."""

SECOND_US = 1_000_000
MIN_COMMIT_INTERVAL_US = 20_000
HEARTBEAT_INTERVAL_US = SECOND_US // 2
ORPHAN_DRAIN_SECONDS = 1.2
"""Seconds that a worker has to write due readings after its supervisor has died."""

MAX_RECEIVE_BYTES = 1 << 16
"""Bytes of the lifeline that are read at once; the settings of a sensor take two or three thousand."""

WATCHDOG_FACTOR = 4.0
"""Hang limits without a heartbeat after which the kernel kills a worker that has no supervisor."""


class CommitTimes(NamedTuple):
    """When a worker commits, in microseconds of wall-clock time since the origin of the run: every `interval`, at `offset`
    within it. The commits of a fleet are spread over the interval. The speed of simulated time has no effect."""

    interval: int
    offset: int

    @classmethod
    def of(cls, spec: WorkerSpec) -> CommitTimes:
        """Compute the interval from the batch size and rate, and the offset from the worker's first scoreboard row."""
        max_rate = float(max(sensor.max_rate for sensor in spec.sensors))
        seconds = min(spec.store.batch_interval, spec.store.batch_size / max_rate)
        interval = max(int(seconds * SECOND_US), MIN_COMMIT_INTERVAL_US)
        return cls(interval, int(spec.sensors[0].row * GOLDEN_RATIO_CONJUGATE % 1 * interval))

    def after(self, elapsed_us: int) -> int:
        """Return the first commit time after `elapsed_us`."""
        return elapsed_us - (elapsed_us - self.offset) % self.interval + self.interval


class Worker:
    """One worker process.

    `clock` returns nanoseconds on the clock of `RunSpec.origin_ns`; `heartbeat` is called at least every
    HEARTBEAT_INTERVAL_US. `run` does everything.
    """

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
        self._metrics = MetricsWriter(scoreboard, [sensor.row for sensor in spec.sensors])
        self._log = logging.getLogger(spec.name)
        self._poll = select.poll()  # not select(): a fleet has more than 1024 descriptors
        self._poll.register(lifeline, select.POLLIN)
        self._claimed = False
        self._sensors: list[Sensor] = []  # made by the first claim, when their positions are known
        self._deadline: float | None = None  # monotonic seconds, set when the end is ordered
        self._until_us: int | None = (
            None  # simulated time up to which readings are written, set when the end is ordered
        )
        self._inbox = b""
        self._commits = CommitTimes.of(spec)
        self._most_readings = MIN_READINGS_PER_COMMIT if spec.run.live_us else MAX_READINGS_PER_COMMIT

    def run(self) -> int:
        """Work until all is done, the end is ordered, or the supervisor dies. Returns the exit code."""
        self._metrics.set_started()
        self._heartbeat()
        try:
            while True:
                backlog = self._persist(self._step)
                if self._deadline is None and all(self._finished(sensor) for sensor in self._sensors):
                    if not self._persist(self._check):
                        continue
                    self._metrics.set_state("done")
                    return EXIT_COMMITTED
                if self._deadline is not None and not backlog:
                    self._persist(self._finish)
                    if not self._persist(self._check):
                        continue
                    self._metrics.set_state("stopped")
                    return EXIT_COMMITTED
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    raise Unavailable("no time left", outcome_unknown=False)
                self._listen(0 if backlog else self._wait())
        except Fenced as fenced:
            self._log.warning("fenced: %s", fenced)
            return EXIT_FENCED
        except Unavailable as unavailable:
            return self._give_up(unavailable)
        finally:
            self._sink.close()

    # Writing

    def _step(self) -> bool:
        """Commit what is due, at most MAX_READINGS_PER_COMMIT readings. Returns whether more is due."""
        self._claim()
        now = self._now()
        for sensor in self._sensors:
            if self._deadline is None and sensor.overdue(now):
                sensor.skip(now)
        return self._deliver(now, final=False)

    def _finish(self) -> bool:
        """Commit the last transaction: it cuts the records of episodes that would continue."""
        self._claim()
        return self._deliver(self._now(), final=True)

    def _check(self) -> bool:
        """Return whether the sink has all that was delivered. If not, it was begun again, and so must the readings be."""
        if self._claimed:
            self._sink.check()
        return self._claimed

    def _claim(self) -> None:
        if not self._claimed:
            spec = self._spec
            positions = self._sink.claim([sensor.identity for sensor in spec.sensors], self._incarnation)
            self._sensors = [
                Sensor(sensor, spec.run, position) for sensor, position in zip(spec.sensors, positions, strict=True)
            ]
            self._claimed = True
            if self._deadline is not None:
                self._leave_history()

    def _deliver(self, now: int, *, final: bool) -> bool:
        begun_at = time.monotonic()
        turn = self._turn(final=final)
        share = max(1, self._most_readings // len(turn))
        portions: list[tuple[int, Portion]] = []
        for index in turn:
            portions.extend((index, portion) for portion in self._sensors[index].portions(now, share, final=final))
        if portions:
            begun = self._clock()
            self._sink.deliver([portion for _, portion in portions])
            took = (self._clock() - begun) // 1000
            for index, portion in portions:
                self._sensors[index].commit(portion)
                self._metrics.count_portion(index, portion)
            self._metrics.count_commit(portions, took, self._age_us)
        self._metrics.set_ready([activity(sensor) for sensor in self._sensors])
        self._most_readings = next_step(self._most_readings, time.monotonic() - begun_at)
        return any(sensor.due(now) > sensor.next_seq for sensor in self._sensors)

    def _turn(self, *, final: bool) -> Sequence[int]:
        """Return the numbers of the sensors that write now: all, or, in a history, those that have come least far."""
        if final or not any(sensor.backfilling for sensor in self._sensors):
            return range(len(self._sensors))
        by_progress = sorted(
            range(len(self._sensors)),
            key=lambda index: self._sensors[index].schedule.time(self._sensors[index].next_seq),
        )
        return by_progress[: max(1, self._most_readings // READINGS_PER_TURN)]

    def _persist(self, action: Callable[[], bool]) -> bool:
        """Retry `action` while the sink is unavailable. Raises Unavailable only after the deadline or the error limit."""
        try:
            return action()
        except Unavailable as error:
            self._note_unavailable(error)
            return self._retry(action)

    def _note_unavailable(self, error: Unavailable) -> None:
        self._claimed = self._claimed and not error.outcome_unknown
        if error.recreated:
            age_us = self._now() - self._spec.run.start_us
            self._metrics.count_recreation(incomplete=age_us > self._spec.run.longest_pause_us)
            self._log.error("%s", error)

    def _retry(self, action: Callable[[], bool]) -> bool:
        delay = self._spec.store.retry_delay
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(multiplier=delay / 4, max=5 * delay),
            stop=self._stop_retrying,
            before_sleep=self._record_retry,
            sleep=lambda seconds: self._listen(int(min(seconds, self._seconds_left()) * SECOND_US)),
            reraise=True,
        )
        return retrying(action)

    def _seconds_left(self) -> float:
        """Return the seconds until the deadline: who sleeps past it is killed."""
        return math.inf if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _stop_retrying(self, attempt: RetryCallState) -> bool:
        """Whether to exit instead of retrying: the deadline has passed, or the error limit is reached.

        Nothing is dropped: what is due stays due for the next incarnation.
        """
        limit = self._spec.store.error_limit
        overdue = self._deadline is not None and time.monotonic() >= self._deadline
        return overdue or (limit is not None and attempt.attempt_number + 1 >= limit)

    def _record_retry(self, attempt: RetryCallState) -> None:
        error = attempt.outcome and attempt.outcome.exception()
        assert isinstance(error, Unavailable)
        self._note_unavailable(error)
        given_up = attempt.attempt_number == self._spec.store.retry_attempts
        self._metrics.count_retry(given_up=given_up)
        if self._sensors:
            self._metrics.set_lags([self._lag_us(sensor) for sensor in self._sensors])
        if given_up:
            self._metrics.set_state("unready", str(error))
            self._log.error("waiting for the database, nothing is dropped: %s", error)

    def _give_up(self, unavailable: Unavailable) -> int:
        now = self._now()
        left = sum(max(0, sensor.due(now) - sensor.next_seq) for sensor in self._sensors) if self._claimed else None
        count = f"{left} due readings" if left is not None else "due readings"
        self._metrics.set_state("unready", f"{count} not written: {unavailable}")
        self._log.error("%s not written: %s", count, unavailable)
        return EXIT_PENDING

    # Timing

    def _now(self) -> int:
        """Return the simulated time, at most the time at which the end was ordered."""
        now = self._spec.run.clock.now_us(self._clock())
        return now if self._until_us is None else min(now, self._until_us)

    def _age_us(self, due_us: int) -> int:
        """Return for how long a reading that was due at a simulated time is due, in microseconds of the wall clock. The
        history becomes due when it ends."""
        run = self._spec.run
        return run.clock.wall_us(max(0, self._now() - max(due_us, run.live_us)))

    def _lag_us(self, sensor: Sensor) -> int:
        """Return for how long the oldest due reading that is not committed is due, in microseconds of the wall clock."""
        is_due = sensor.due(self._now()) > sensor.next_seq
        return self._age_us(sensor.schedule.time(sensor.next_seq)) if is_due else 0

    def _finished(self, sensor: Sensor) -> bool:
        """Whether a sensor has nothing more to write in this run."""
        end_us = self._spec.run.end_us
        return sensor.done or (sensor.paused and end_us is not None and self._now() >= end_us)

    def _wait(self) -> int:
        """Return the microseconds on the wall clock until the next commit, or until the next check if none is known."""
        now, run = self._now(), self._spec.run
        waiting = [sensor for sensor in self._sensors if not (sensor.done or sensor.paused)]
        if not waiting:
            return HEARTBEAT_INTERVAL_US
        next_due = max(now, min(sensor.schedule.time(sensor.next_seq) for sensor in waiting))
        commit_us = self._commits.after((run.clock.clock_ns(next_due) - run.origin_ns) // 1000)
        ends = [sensor.end_us for sensor in waiting if sensor.end_us is not None and now < sensor.end_us]
        moments = [run.origin_ns + commit_us * 1000, *map(run.clock.clock_ns, ends)]
        return max(0, -(-(min(moments) - self._clock()) // 1000))

    def _listen(self, microseconds: int) -> None:
        """Sleep with heartbeats, at most that long, until a message arrives or the supervisor dies."""
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

    def _handle_message(self, message: Message) -> None:
        match message["type"]:
            case "drain":
                self._end(message["seconds"], "draining")
            case "change":
                self._change(apply_change(self._spec, message))
            case other:
                raise ValueError(f"unknown message {other!r}")

    def _change(self, spec: WorkerSpec) -> None:
        """Continue with another spec of the same sensors, each from its next uncommitted reading on."""
        self._spec = spec
        logging.getLogger().setLevel(spec.log_level)
        self._commits = CommitTimes.of(spec)
        for sensor, changed in zip(self._sensors, spec.sensors, strict=False):  # no sensors before the first claim
            if sensor.spec != changed:
                sensor.change(changed)

    def _end(self, seconds: float, why: str) -> None:
        self._log.info("%s", why)
        self._poll.unregister(self._lifeline)  # no later message matters
        self._until_us = self._now()
        self._leave_history()
        self._deadline = time.monotonic() + seconds

    def _leave_history(self) -> None:
        """End the run where the history has come to: what is left of it is written by the next run."""
        reached = [sensor.schedule.time(sensor.next_seq) - 1 for sensor in self._sensors if sensor.backfilling]
        if reached:
            self._until_us = min(reached)


def next_step(readings: int, seconds: float) -> int:
    """Return the most readings of the next transaction after one of at most `readings` took `seconds`."""
    if seconds > LONG_STEP_SECONDS:
        return max(readings // 2, MIN_READINGS_PER_COMMIT)
    return min(2 * readings, MAX_READINGS_PER_COMMIT) if seconds < LONG_STEP_SECONDS / 4 else readings


def activity(sensor: Sensor) -> str:
    """Return the state of a sensor that has committed all it could."""
    return "paused" if sensor.paused else "backfilling" if sensor.backfilling else "healthy"


def main(spec: WorkerSpec, incarnation: int, scoreboard: Scoreboard, lifeline: socket.socket) -> int:
    """Run a worker process and return its exit code.

    SIGALRM kills it if it has no heartbeat for WATCHDOG_FACTOR hang limits: a hung worker without a supervisor ends too.
    """
    logging.raiseExceptions = False  # no tracebacks on the terminal if the log cannot be written (a full disk)
    logging.getLogger().setLevel(spec.log_level)
    alarm_seconds = WATCHDOG_FACTOR * spec.run.hang_seconds

    def heartbeat() -> None:
        signal.setitimer(signal.ITIMER_REAL, alarm_seconds)

    return Worker(spec, incarnation, lifeline, scoreboard, Database(spec.store), heartbeat=heartbeat).run()

"""A stream on several cores. The stream is made in blocks: job `n` of `N` makes the blocks n, n + N, ... and each writes when it is
its turn, so that the bytes are the same for any number of jobs.

The turn goes round by the parent process: it sends the statistics to a job, which sends them back when its block is written.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.streaming.stream import StreamStats, StreamWriter

POLL_SECONDS = 0.1


class Job:
    """A process that makes every `jobs`-th block. `writer` writes the stream; it is used in the process."""

    def __init__(self, number: int, jobs: int, writer: StreamWriter, rate: Fraction, *, throttled: bool) -> None:
        self._writer, self._rate, self._throttled = writer, rate, throttled
        self._total = writer.total
        self._connection, self._its_end = multiprocessing.Pipe()
        self.process: BaseProcess = multiprocessing.get_context("fork").Process(
            target=self._run, args=(number, jobs), daemon=True
        )
        self.process.start()
        self._its_end.close()

    def take_turn(
        self, stats: StreamStats, stop: threading.Event, report: Callable[[StreamStats], None]
    ) -> StreamStats:
        """Let the job write its next block, or the part of it that is written until `stop` is set. Returns the statistics."""
        answer, written = self._ask(stats, stop)
        while not written:
            report(answer)
            answer, written = self._ask(None, stop)
        return answer

    def _ask(self, stats: StreamStats | None, stop: threading.Event) -> tuple[StreamStats, bool]:
        """Begin a turn with `stats`, None to go on with one. Returns the statistics, and whether it is over. OSError from the
        output."""
        try:
            if stats is not None:
                self._connection.send(stats)
            while not self._connection.poll(POLL_SECONDS):
                if stop.is_set():
                    self.process.terminate()
            answer, written = self._connection.recv()
        except (EOFError, OSError):
            raise UserError(
                "a process of the stream has ended too early: the output may end with a part of a line"
            ) from None
        if isinstance(answer, OSError):
            raise answer
        return answer, written

    def end(self) -> None:
        self.process.kill()
        self.process.join()

    def _run(self, number: int, jobs: int) -> None:
        """The process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._writer.stop.set())
        self._connection.close()
        connection: Connection[Any, Any] = self._its_end
        readings, writer = self._writer.readings, self._writer
        writer.report = lambda stats: connection.send((stats, False))
        for block in count(number, jobs):
            first = readings.make_block(block)
            try:
                writer.stats = connection.recv()
            except EOFError:  # the parent has gone
                return
            writer.position, writer.total = first, first + readings.readings_per_block
            if self._total is not None:
                writer.total = min(writer.total, self._total)
            try:
                writer.run(self._rate, throttled=self._throttled)
            except OSError as error:
                connection.send((error, True))
                os._exit(0)  # what is left in the buffer of the output cannot be written
            connection.send((writer.stats, True))


def run_jobs(jobs: int, writer: StreamWriter, rate: Fraction, *, throttled: bool) -> StreamStats:
    """Write the stream of `writer`, which has written nothing, in processes. Raises OSError if the output cannot be written."""
    writer.output.flush()
    stats, total, size = writer.stats, writer.total, writer.readings.readings_per_block
    running = [Job(number, jobs, writer, rate, throttled=throttled) for number in range(jobs)]
    try:
        for block in count():
            if writer.stop.is_set() or (total is not None and block * size >= total):
                return stats
            stats = running[block % jobs].take_turn(stats, writer.stop, writer.report)
    finally:
        for job in running:
            job.end()
    raise AssertionError("unreachable")

"""The processes that make a history. Each takes the next group of files that no other makes; the files of a group are
written side by side, because sensors that are computed together share what is slow in their signals.

A process that dies is replaced, and its group is begun again.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import apsw

from fleet.errors import UserError

MAX_ATTEMPTS = 3
"""Processes that may die over one group before the others are stopped as well."""

POLL_SECONDS = 0.1
END_SECONDS = 5.0

FileWritingErrors = (OSError, apsw.Error)


class FileWriter(Protocol):
    """Writes one file."""

    def advance(self, until_us: int) -> int:
        """Write the readings that are due before a time. Returns how many scheduled readings these are."""

    def finish(self) -> None:
        """Write what is left, and give the file its name."""


class HistoryFile(Protocol):
    """A file to be written. It exists when it is whole. `readings` is about how many scheduled readings it has."""

    @property
    def path(self) -> Path: ...

    @property
    def readings(self) -> int: ...

    @property
    def max_rate(self) -> Fraction: ...

    def open(self) -> FileWriter: ...


class FileGroup(NamedTuple):
    """Files whose readings are computed together, from `start_us` until `end_us` in steps of `step_us`."""

    files: Sequence[HistoryFile]
    start_us: int
    end_us: int
    step_us: int

    def write(self, report: Callable[[int], None]) -> None:
        """Write all files. `report` is called with numbers of readings that were written."""
        writers = [file.open() for file in self.files]
        for until_us in (*range(self.start_us + self.step_us, self.end_us, self.step_us), self.end_us):
            for writer in writers:
                report(writer.advance(until_us))
        for writer in writers:
            writer.finish()


class Failure(NamedTuple):
    """The end of a process that cannot go on, with a reason for the user."""

    reason: str


class Job:
    """A process that writes groups, one after the other, in the order in which the parent names them."""

    def __init__(self, groups: Sequence[FileGroup], others: Sequence[Job]) -> None:
        self._groups = groups
        self.connection, its_end = multiprocessing.Pipe()
        # A copy of the other jobs' connections would keep these open when this process has died.
        inherited = [self.connection, *(other.connection for other in others)]
        self.process: Any = multiprocessing.get_context("fork").Process(
            target=self._run, args=(its_end, inherited), daemon=True
        )
        self.process.start()
        its_end.close()
        self.group: int | None = None

    def begin(self, group: int) -> None:
        self.group = group
        with suppress(BrokenPipeError):  # it has died; the next answer is the end of the pipe
            self.connection.send(group)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _run(self, connection: Connection[Any, Any], inherited: Sequence[Connection[Any, Any]]) -> None:
        """The process. It ends with the parent: its next report fails then."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for other in inherited:
            other.close()
        try:
            while True:
                self._groups[connection.recv()].write(connection.send)
                connection.send(None)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except FileWritingErrors as error:
            connection.send(Failure(str(error)))


def write_groups(groups: Sequence[FileGroup], jobs: int, on_progress: Callable[[int], None]) -> None:
    """Write all groups in processes. `on_progress` is called with numbers of readings that were written or, if a process
    has died, with the negative number of those that are written again. Raises UserError."""
    waiting, attempts = deque(range(len(groups))), [0] * len(groups)
    running: list[Job] = []
    written: dict[Job, int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Job(groups, running))
                start_next(running[-1], waiting, attempts, written)
            for ready in wait([job.connection for job in running], POLL_SECONDS):
                job = next(job for job in running if job.connection is ready)
                try:
                    answer = job.connection.recv()
                except (EOFError, OSError):
                    on_progress(-written[job])
                    give_back(job, waiting, attempts)
                    running.remove(job)
                    job.end()
                    continue
                if isinstance(answer, Failure):
                    raise UserError(answer.reason)
                if answer is not None:
                    written[job] += answer
                    on_progress(answer)
                elif waiting:
                    start_next(job, waiting, attempts, written)
                else:
                    running.remove(job)
                    job.end()
    finally:
        for job in running:
            job.end()


def start_next(job: Job, waiting: deque[int], attempts: list[int], written: dict[Job, int]) -> None:
    group = waiting.popleft()
    attempts[group] += 1
    written[job] = 0
    job.begin(group)


def give_back(job: Job, waiting: deque[int], attempts: Sequence[int]) -> None:
    """Have the group of a dead process written again. Raises UserError if that was tried often enough, and RuntimeError if it
    was not killed: it has printed a traceback."""
    assert job.group is not None
    job.process.join(END_SECONDS)
    if job.process.exitcode is not None and job.process.exitcode > 0:
        raise RuntimeError("a process that writes the history has ended with an error")
    if attempts[job.group] >= MAX_ATTEMPTS:
        raise UserError(
            f"a process that writes the history was killed {MAX_ATTEMPTS} times (exit code {job.process.exitcode}): "
            "is there enough memory? --jobs 1 needs least; the same command goes on where it was"
        )
    waiting.appendleft(job.group)

"""The processes of an export. Several files are written by a process each; the readings of a single file are read by several
processes and written by this one."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Event
from typing import NamedTuple

from fleet.errors import UserError
from fleet.history.selection import HistoryPart
from fleet.history.table import BoolArray, ReadingTable, TableColumn, constant_column
from worker.readings.attributes import AttributeColumn
from worker.spec import AttributeValue

READINGS_PER_PIECE = 1 << 17
"""Readings that a process hands over at once."""

POLL_SECONDS = 0.2

FORK = multiprocessing.get_context("fork")


class OutputFile(NamedTuple):
    """A file with readings: its path in the folder, what is in it beyond that it is readings, and these."""

    name: str
    title: str
    parts: tuple[HistoryPart, ...]


class WriteFile(ABC):
    """How files are written. `divisible` ones may be read by several processes."""

    @property
    @abstractmethod
    def divisible(self) -> bool: ...

    @abstractmethod
    def read(self, part: HistoryPart) -> Iterator[ReadingTable]:
        """Yield the readings of a part as they are stored."""

    @abstractmethod
    def write(
        self,
        output: OutputFile,
        tables: Callable[[HistoryPart], Iterator[ReadingTable]] | None,
        done: Callable[[int], None],
    ) -> int:
        """Write a file, of readings that `tables` gives, or reading them itself. Returns the number of rows. `done` takes how many
        of them have been written since it was called before."""


class Task(NamedTuple):
    """What the processes do. They inherit it, so that nothing of it is copied."""

    write: WriteFile
    files: Sequence[OutputFile]
    pieces: Sequence[HistoryPart]
    counts: SynchronizedArray[int]
    stop: Event


_task: list[Task] = []
"""The task of this process of an export, set when it begins."""


def run_jobs(
    files: Sequence[OutputFile], write: WriteFile, jobs: int, on_progress: Callable[[int, int], None]
) -> list[int]:
    """Write the files, and return the number of rows of each. UserError, OSError."""
    total = sum(part.readings for each in files for part in each.parts)
    done = [0]

    def report(rows: int) -> None:
        done[0] += rows
        on_progress(done[0], total)

    pieces = [piece for each in files for part in each.parts for piece in pieces_of(part)]
    if jobs == 1 or total < READINGS_PER_PIECE:
        return [write.write(each, None, report) for each in files]
    if len(files) >= jobs or not write.divisible:
        with processes(Task(write, files, (), shared_counts(len(files)), FORK.Event()), min(jobs, len(files))) as (
            pool,
            task,
        ):
            return finished([pool.submit(write_nth, number) for number in range(len(files))], task, total, on_progress)
    with processes(Task(write, files, pieces, shared_counts(1), FORK.Event()), jobs) as (pool, _):
        source = iter(in_order(pool, len(pieces), 2 * jobs))
        return [write.write(each, partial(tables_of, source), report) for each in files]


def shared_counts(length: int) -> SynchronizedArray[int]:
    return FORK.Array("q", length)


@contextmanager
def processes(task: Task, jobs: int) -> Iterator[tuple[ProcessPoolExecutor, Task]]:
    """Start the processes of a task; they are ended at the end of the block. UserError if one dies."""
    gc.freeze()  # a collection in a child would copy the memory that it shares with this process
    pool = ProcessPoolExecutor(jobs, FORK, begin, (task,))
    try:
        yield pool, task
    except BrokenProcessPool:
        raise UserError("a process of the export has died: is there enough memory? --jobs 1 needs the least") from None
    finally:
        task.stop.set()  # those at work end after a table: one that is killed may have a lock of the pool
        pool.shutdown(cancel_futures=True)


def begin(task: Task) -> None:
    """Prepare a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    _task[:] = [task]


class Stopped(Exception):
    """The export was ended before its time."""


def check_stop(task: Task) -> None:
    if task.stop.is_set():
        raise Stopped


def write_nth(number: int) -> int:
    task = _task[0]

    def done(rows: int) -> None:
        task.counts[number] += rows
        check_stop(task)

    return task.write.write(task.files[number], None, done)


def finished(futures: list[Future[int]], task: Task, total: int, on_progress: Callable[[int, int], None]) -> list[int]:
    """Wait for files, and return their numbers of rows."""
    waiting = {*futures}
    while waiting:
        ready, waiting = wait(waiting, POLL_SECONDS, FIRST_COMPLETED)
        on_progress(sum(task.counts[:]), total)
        for future in ready:
            future.result()
    return [future.result() for future in futures]


def pieces_of(part: HistoryPart) -> Iterator[HistoryPart]:
    for first in range(part.first, part.end, READINGS_PER_PIECE):
        yield HistoryPart(part.history, first, min(part.end, first + READINGS_PER_PIECE))


PackedColumn = tuple[AttributeValue, int] | TableColumn
PackedTable = tuple[dict[str, PackedColumn], BoolArray | None]


def read_nth(number: int) -> list[PackedTable]:
    """Read a piece, in a process."""
    task = _task[0]
    tables = []
    for table in task.write.read(task.pieces[number]):
        check_stop(task)
        tables.append(packed(table))
    return tables


def in_order(pool: ProcessPoolExecutor, count: int, most: int) -> Iterator[list[PackedTable]]:
    """Yield pieces in their order; at most `most` are read ahead."""
    futures: deque[Future[list[PackedTable]]] = deque()
    for number in range(count):
        futures.append(pool.submit(read_nth, number))
        if len(futures) >= most:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def tables_of(source: Iterator[list[PackedTable]], part: HistoryPart) -> Iterator[ReadingTable]:
    """Yield the readings of a part from the pieces of all."""
    for _ in pieces_of(part):
        for table in next(source):
            yield unpacked(table)


def packed(table: ReadingTable) -> PackedTable:
    """Return a table without an array for constants."""
    columns: dict[str, PackedColumn] = {}
    for name, values in table.columns.items():
        if isinstance(values, AttributeColumn) and len(values.table) == 1:
            columns[name] = values.table[0], len(values)
        else:
            columns[name] = values
    return columns, table.missing


def unpacked(table: PackedTable) -> ReadingTable:
    columns, missing = table
    return ReadingTable(
        {name: constant_column(*values) if isinstance(values, tuple) else values for name, values in columns.items()},
        missing,
    )

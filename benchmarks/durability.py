"""What `synchronous: full` costs against `normal`, on the disk of the folder given (by default that of temporary files).

First one process that commits as fast as it can, then a fleet's worth of processes at their own pace.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Self

import apsw

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from worker.readings.generator import SignalGenerator
from worker.schedule import GOLDEN_RATIO_CONJUGATE
from worker.spec import Identity, Settings, StoreSpec, Synchronous
from worker.storage.database import Database
from worker.storage.sinks import Portion

SETTINGS: tuple[Synchronous, Synchronous] = ("normal", "full")
COMMITS = {1: 300, 10: 300, 100: 200, 1000: 40}
"""Rows in a commit, and how many of those commits are one run."""

CHUNK = 40_000
RUNS = 3
PROCESSES, ROWS = 20, 10
SECONDS = {1.0: 5, 0.0: 2}
"""How long they run, by the seconds from one commit to the next; 0 is as fast as they can."""


def main(folder: str | None) -> None:
    settings = settings_for(load_config(None), load_catalogue(), Identity("BENCH_000001"))
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        print(f"a sync of 4 KB: {bare_sync(place) * 1000:.2f} ms\n")
        print(
            f"{'rows in a commit':20}{'normal rows/s':>16}{'full rows/s':>16}{'full/normal':>14}{'full per commit':>18}"
        )
        for rows, commits in COMMITS.items():
            print(alone(place, settings, rows, commits), flush=True)
        print(f"\n{PROCESSES} processes with a database each, {ROWS} rows in a commit, {RUNS} runs")
        for pace in SECONDS:
            print("one commit a second each" if pace else "as fast as they can")
            for synchronous in SETTINGS:
                print(together(place, settings, synchronous, pace), flush=True)


def bare_sync(place: Path) -> float:
    taken = []
    with (place / "bare").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


class Deliveries:
    """One sensor whose readings are delivered in portions of the same size. They are made ahead."""

    def __init__(self, store: StoreSpec, settings: Settings, rows: int) -> None:
        self._identity, self._settings, self._rows = Identity("BENCH_000001"), settings, rows
        self._generator = SignalGenerator(1, self._identity, settings, 0, 0)
        self._chunk, self._next = self._generator.block(0, CHUNK), 0
        self.database = Database(store)
        self.database.claim([self._identity], 1)

    def deliver(self) -> float:
        """Seconds for the commit alone."""
        first, end = self._next, self._next + self._rows
        if end > self._chunk.end:
            self._chunk = self._generator.block(first, CHUNK)
        block = self._chunk.between(first, end)
        begun = time.perf_counter()
        self.database.deliver([Portion(self._identity, self._settings, self._generator.schedule, first, block)])
        self._next = end
        return time.perf_counter() - begun


def alone(place: Path, settings: Settings, rows: int, commits: int) -> str:
    seconds: dict[str, list[float]] = {synchronous: [] for synchronous in SETTINGS}
    for run in range(RUNS):
        for synchronous in SETTINGS:  # by turns: whatever else the machine does meets both
            deliveries = Deliveries(
                StoreSpec(place / f"{rows}-{run}-{synchronous}.db", synchronous=synchronous), settings, rows
            )
            seconds[synchronous].append(sum(deliveries.deliver() for _ in range(commits)))
            deliveries.database.close()
    normal, full = (statistics.median(seconds[synchronous]) for synchronous in SETTINGS)
    told = f"{rows:<20}{rows * commits / normal:16,.0f}{rows * commits / full:16,.0f}{normal / full:14.2f}"
    return f"{told}{full / commits * 1000:15.2f} ms"


class Life(NamedTuple):
    """What one process has seen: the seconds that each commit took, and the number of syncs."""

    commits: list[float]
    syncs: int


def together(place: Path, settings: Settings, synchronous: Synchronous, pace: float) -> str:
    lives: list[Life] = []
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for run in range(RUNS):
            begin = time.monotonic() + 1.0  # they open their databases until then
            stores = [
                StoreSpec(place / f"{number}-{run}-{pace}-{synchronous}.db", synchronous=synchronous)
                for number in range(PROCESSES)
            ]
            tasks = [(store, settings, begin, number, pace) for number, store in enumerate(stores)]
            lives += pool.starmap(lived, tasks, chunksize=1)
    commits = sorted(second for life in lives for second in life.commits)
    syncs = sum(life.syncs for life in lives)
    p50, p99 = commits[len(commits) // 2], commits[len(commits) * 99 // 100]
    seconds = RUNS * SECONDS[pace]
    return (
        f"  {synchronous:8}{len(commits) / seconds:8,.0f} commits/s{syncs / seconds:8,.0f} syncs/s"
        f"   commit p50 {p50 * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms"
    )


def lived(store: StoreSpec, settings: Settings, begin: float, number: int, pace: float) -> Life:
    """Commit every `pace` seconds, spread like a fleet's, for SECONDS[pace] after `begin` on the monotonic clock."""
    with SyncCounter() as counter:
        deliveries = Deliveries(store, settings, ROWS)
        counter.syncs = 0
        due, commits = begin + number * GOLDEN_RATIO_CONJUGATE % 1 * pace, []
        while due < begin + SECONDS[pace]:
            time.sleep(max(0.0, due - time.monotonic()))
            commits.append(deliveries.deliver())
            due = due + pace if pace else time.monotonic()
        life = Life(commits, counter.syncs)
        deliveries.database.close()
    return life


class SyncCounter(apsw.VFS):
    """The usual file system of SQLite, counting its syncs while it is entered."""

    def __init__(self) -> None:
        self.syncs = 0
        super().__init__(f"sync-counter-{os.getpid()}", "unix", makedefault=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        file = CountedFile("unix", name, flags)
        file.counter = self
        return file


class CountedFile(apsw.VFSFile):
    counter: SyncCounter

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self.counter.syncs += 1


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)

"""The collector: sweep after sweep over all databases under a directory, several at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from fleet.collection.sources import find, name_of
from fleet.collection.target import Failed, Unavailable
from fleet.collection.visit import Round, visit

LOOK = 0.1
"""Seconds between two looks at whether to stop."""

GRACE = 10.0
"""Seconds that visits get to end their batch once the collector is to stop."""

Told = Callable[[], None]


class Collector:
    """Sweeps `directory` with a number of threads. `told` is called a few times a second, to show how it goes."""

    def __init__(self, directory: Path, round_: Round, workers: int, told: Told = lambda: None) -> None:
        self._directory, self._round, self._workers, self._told = directory, round_, workers, told
        self.failure: str | None = None
        """What made the target fail in the last sweep."""

        self.abandoned = False
        """Whether a visit did not end in time; its thread still runs."""

    def run(self, interval: float | None) -> None:
        """Sweep once (None), or again so many seconds after each sweep until it is to stop. OSError if the directory cannot
        be listed."""
        self.sweep()
        while interval is not None and not self._rest(interval):
            self.sweep()

    def _rest(self, seconds: float) -> bool:
        """Whether it is to stop."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._round.stop.wait(min(LOOK, seconds)):
            self._told()
        return self._round.stop.is_set()

    def sweep(self) -> None:
        """One sweep: every database is visited until nothing is left in it, or something stands in the way."""
        self.failure = None
        names = {path: name_of(path, self._directory) for path in find(self._directory)}
        tally = self._round.tally
        tally.forget_vanished(set(names.values()))
        tally.visited, tally.to_visit = 0, len(names)
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="collect")
        try:
            self._visit_all(executor, names)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        tally.sweeps += 1
        self._told()

    def _visit_all(self, executor: ThreadPoolExecutor, names: dict[Path, str]) -> None:
        waiting = list(reversed(names))
        running: dict[Future[bool], Path] = {}
        end = float("inf")
        while waiting or running:
            if self._round.stop.is_set():
                waiting.clear()
                end = min(end, time.monotonic() + GRACE)
            while waiting and len(running) < self._workers:
                path = waiting.pop()
                running[executor.submit(self._visit, path, names[path])] = path
            done, _ = wait(running, LOOK, FIRST_COMPLETED)
            for future in done:
                path = running.pop(future)
                if future.result():
                    waiting.insert(0, path)
                else:
                    self._round.tally.visited += 1
            self._told()
            if running and time.monotonic() > end:
                self.abandoned = True
                for path in running.values():
                    self._round.tally.settle(
                        names[path], error=f"still busy {GRACE:.0f} s after the collector was to stop"
                    )
                return

    def _visit(self, path: Path, name: str) -> bool:
        """Once the target has failed, nothing is tried any more until the next sweep."""
        if self.failure is not None:
            self._round.tally.settle(name, error=self.failure, kind="target")
            return False
        try:
            return visit(path, name, self._round)
        except Failed as error:
            self._round.tally.settle(name, error=self._trouble(error), kind="target")
            return False

    def _trouble(self, error: Failed) -> str:
        """What is told of it. How often several have tried the same in vain is one trouble."""
        if self.failure is not None and isinstance(error, Unavailable):
            return self.failure
        if not self._round.stop.is_set():
            self.failure = str(error)
        return str(error)

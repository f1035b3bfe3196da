"""The collector: sweep after sweep over all databases under a directory, several at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from fleet.delivery.sources import database_name, find_databases
from fleet.delivery.sweep_database import SweepContext, sweep_database
from fleet.delivery.target import DeliveryFailed, TargetUnavailable

POLL_SECONDS = 0.1
"""Seconds between two looks at whether to stop."""

STOP_GRACE_SECONDS = 10.0
"""Seconds that visits get to end their batch once the collector is to stop."""

OnProgress = Callable[[], None]


class Collector:
    """Sweeps `directory` with a number of threads. `on_progress` is called a few times a second, to show how it goes."""

    def __init__(
        self, directory: Path, context: SweepContext, workers: int, on_progress: OnProgress = lambda: None
    ) -> None:
        self._directory, self._context, self._workers, self._on_progress = directory, context, workers, on_progress
        self.failure: str | None = None
        """What made the target fail in the last sweep."""

        self.abandoned = False
        """Whether a visit did not end in time; its thread still runs."""

    def run(self, interval: float | None) -> None:
        """Sweep once (None), or again so many seconds after each sweep until it is to stop. OSError if the directory cannot
        be listed."""
        self.sweep()
        while interval is not None and not self._wait(interval):
            self.sweep()

    def _wait(self, seconds: float) -> bool:
        """Whether it is to stop."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._context.stop.wait(min(POLL_SECONDS, seconds)):
            self._on_progress()
        return self._context.stop.is_set()

    def sweep(self) -> None:
        """One sweep: every database is databases_done until nothing is left in it, or something stands in the way."""
        self.failure = None
        names = {path: database_name(path, self._directory) for path in find_databases(self._directory)}
        stats = self._context.stats
        stats.forget_vanished(set(names.values()))
        stats.databases_done, stats.databases_total = 0, len(names)
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="collect")
        try:
            self._sweep_all(executor, names)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        stats.sweeps += 1
        self._on_progress()

    def _sweep_all(self, executor: ThreadPoolExecutor, names: dict[Path, str]) -> None:
        waiting = list(reversed(names))
        running: dict[Future[bool], Path] = {}
        end = float("inf")
        while waiting or running:
            if self._context.stop.is_set():
                waiting.clear()
                end = min(end, time.monotonic() + STOP_GRACE_SECONDS)
            while waiting and len(running) < self._workers:
                path = waiting.pop()
                running[executor.submit(self._sweep_database, path, names[path])] = path
            done, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                path = running.pop(future)
                if future.result():
                    waiting.insert(0, path)
                else:
                    self._context.stats.databases_done += 1
            self._on_progress()
            if running and time.monotonic() > end:
                self.abandoned = True
                for path in running.values():
                    self._context.stats.record_outcome(
                        names[path], error=f"still busy {STOP_GRACE_SECONDS:.0f} s after the collector was to stop"
                    )
                return

    def _sweep_database(self, path: Path, name: str) -> bool:
        """Once the target has failed, nothing is tried any more until the next sweep."""
        if self.failure is not None:
            self._context.stats.record_outcome(name, error=self.failure, kind="target")
            return False
        try:
            return sweep_database(path, name, self._context)
        except DeliveryFailed as error:
            self._context.stats.record_outcome(name, error=self._record_failure(error), kind="target")
            return False

    def _record_failure(self, error: DeliveryFailed) -> str:
        """What is told of it. How often several have tried the same in vain is one trouble."""
        if self.failure is not None and isinstance(error, TargetUnavailable):
            return self.failure
        if not self._context.stop.is_set():
            self.failure = str(error)
        return str(error)

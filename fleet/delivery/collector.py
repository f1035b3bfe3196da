"""The collector: sweeps all databases under a directory, several at a time, once or periodically."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from fleet.delivery.sources import database_name, find_databases
from fleet.delivery.sweep_database import SweepContext, sweep_database
from fleet.delivery.target import DeliveryFailed, HoldingTarget, TargetUnavailable

POLL_SECONDS = 0.1
"""Seconds between checks of the stop event."""

STOP_GRACE_SECONDS = 10.0
"""Seconds in which running batches may end after the collector is asked to stop."""

OnProgress = Callable[[], None]


class Collector:
    """Sweeps `directory` with `workers` threads. `on_progress` is called a few times a second."""

    def __init__(
        self, directory: Path, context: SweepContext, workers: int, on_progress: OnProgress = lambda: None
    ) -> None:
        self._directory, self._context, self._workers, self._on_progress = directory, context, workers, on_progress
        self.failure: str | None = None
        """The failure of the target in the last sweep."""

        self.abandoned = False
        """True if the sweep of a database did not end in time; its thread still runs."""

    def run(self, interval: float | None) -> None:
        """Sweep once (None), or again `interval` seconds after each sweep until asked to stop. OSError if the directory
        cannot be listed."""
        self.sweep()
        while interval is not None and not self._wait(interval):
            self.sweep()

    def _wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; returns True if asked to stop."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._context.stop.wait(min(POLL_SECONDS, seconds)):
            self._on_progress()
        return self._context.stop.is_set()

    def sweep(self) -> None:
        """Sweep every database until nothing is left in it or an error stops it."""
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
        self._write_held(everything=False)
        stats.sweeps += 1
        self._on_progress()

    def finish(self) -> None:
        """Have the target write what it holds back. An error of it is that of all databases."""
        self._write_held(everything=True)

    def _write_held(self, *, everything: bool) -> None:
        target, stats = self._context.target, self._context.stats
        if not isinstance(target, HoldingTarget) or self.abandoned:
            return
        try:
            target.write_held(everything=everything)
        except DeliveryFailed as error:
            names = [database.name for database in stats.databases.values() if not database.skipped]
            for name in names or [target.name]:  # what is held may be all that is left of the databases
                stats.record_outcome(name, error=self._record_failure(error), kind="target")

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
        """Sweep one database; returns True if it has more. After a failure of the target, does nothing until the next sweep."""
        if self.failure is not None:
            self._context.stats.record_outcome(name, error=self.failure, kind="target")
            return False
        try:
            return sweep_database(path, name, self._context)
        except DeliveryFailed as error:
            self._context.stats.add_retry()
            self._context.stats.record_outcome(name, error=self._record_failure(error), kind="target")
            return False
        except Exception as error:  # noqa: BLE001 - a database of others may hold anything; it must not end the collector
            self._context.stats.record_outcome(name, error=f"not foreseen: {describe_bug(error)}")
            return False

    def _record_failure(self, error: DeliveryFailed) -> str:
        """Record a failure of the target; returns the message. Further databases report the first one's message."""
        if self.failure is not None and isinstance(error, TargetUnavailable):
            return self.failure
        if not self._context.stop.is_set():
            self.failure = str(error)
        return str(error)


def describe_bug(error: Exception) -> str:
    """The error on one line, with the place in the source where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{' '.join(f'{type(error).__name__}: {error}'.split())} ({Path(last.filename).name}, line {last.lineno})"

"""The progress of a running fleet on the terminal: a bar while it starts, then a line every few seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click
import numpy as np

from fleet.monitoring.backfill import BackfillProgress, backfill_progress
from fleet.monitoring.health import FleetState, count_healthy, display_states
from fleet.monitoring.stats import FleetStats, compact_number, fleet_stats

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def ignoring_closed_output() -> Iterator[None]:
    """Keep a fleet running although its output cannot be written (a closed terminal, `| head -1`, a full disk): from the
    first failure on, all output is discarded."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class ProgressReporter(Protocol):
    """Receives the progress of a fleet. `committed` sensors have made their first commit, `failed` ones been given up."""

    def starting(self, committed: int, failed: int) -> None: ...
    def started(self, seconds: float) -> None: ...
    def running(self, stats: FleetStats, healthy: int, rate: float, backfill: BackfillProgress | None) -> None: ...
    def event(self, text: str) -> None: ...
    def close(self) -> None: ...


class LineProgress:
    """Lines for a log, without colour and cursor movement. `target_rate` gives the present target in readings a second."""

    def __init__(self, target_rate: Callable[[], float]) -> None:
        self._target_rate = target_rate

    def starting(self, committed: int, failed: int) -> None:
        """Do nothing: a log has a line only when the start is complete."""

    def started(self, seconds: float) -> None:
        self.event(f"all workers have committed, {seconds:.1f} s after the first was started")

    def running(self, stats: FleetStats, healthy: int, rate: float, backfill: BackfillProgress | None) -> None:
        self.event(summary_line(stats, healthy, rate, self._target_rate(), backfill))

    def event(self, text: str) -> None:
        with ignoring_closed_output():
            click.echo(f"{time.strftime('%H:%M:%S')} {text}")

    def close(self) -> None: ...


class TerminalProgress(LineProgress):
    """Lines on a terminal, with a bar while workers start."""

    def __init__(self, target_rate: Callable[[], float], sensors: int) -> None:
        super().__init__(target_rate)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        # Without a refresh thread, which would be copied half-way into forked processes.
        columns = (TextColumn("starting"), BarColumn(40), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
        self._bar: Progress | None = Progress(*columns, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("starting", total=sensors, note="")

    def starting(self, committed: int, failed: int) -> None:
        if self._bar:
            note = f"{failed} failed" if failed else ""
            with ignoring_closed_output():
                self._bar.start()  # not before the loop runs, after which the cursor is always restored
                self._bar.update(self._task, completed=committed, note=note, refresh=True)

    def event(self, text: str) -> None:
        if self._bar:
            with ignoring_closed_output():
                line = f"{time.strftime('%H:%M:%S')} {text}"
                self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)  # a link stays whole
        else:
            super().event(text)

    def started(self, seconds: float) -> None:
        self.close()
        super().started(seconds)

    def close(self) -> None:
        if self._bar:
            bar, self._bar = self._bar, None
            with ignoring_closed_output():
                bar.stop()


def summary_line(
    stats: FleetStats, healthy: int, rate: float, target_rate: float, backfill: BackfillProgress | None = None
) -> str:
    """Return the state of the fleet in one line that fits 80 columns together with the time."""
    if backfill:
        return "  ".join(
            (
                f"{healthy}/{stats.sensors} healthy",
                f"{compact_number(rate)}/s",
                f"{compact_number(stats.errors)} errors" if stats.errors else f"{compact_number(stats.readings)} rows",
                backfill.describe(rate),
            )
        )
    parts = [
        f"{healthy}/{stats.sensors} healthy",
        f"{compact_number(rate)} of {compact_number(target_rate)} readings/s"
        if target_rate >= 10
        else f"{rate:.2f} of {target_rate:g} readings/s",
        f"{compact_number(stats.errors)} errors" if stats.errors else f"{compact_number(stats.readings)} rows",
        f"lag {stats.lag:.1f} s" if stats.lag < 10 else f"lag {stats.lag:.0f} s",
    ]
    return "  ".join(parts)


class ProgressMonitor:
    """Feeds a ProgressReporter with observations of the fleet, several times a second. `begun_ns` is the time of the
    first start of a worker on the monotonic clock."""

    def __init__(self, progress: ProgressReporter, observe: Callable[[], FleetState], begun_ns: int) -> None:
        self._progress, self._observe, self._begun_ns = progress, observe, begun_ns
        self._starting = True
        self._last_line: tuple[float, int] | None = None

    def __call__(self) -> None:
        fleet, now = self._observe(), time.monotonic()
        stats = fleet_stats(fleet.rows)
        if self._starting:
            committed = int(np.count_nonzero(fleet.rows["first_commit_ns"]))
            self._progress.starting(committed, stats.failed)
            if committed >= stats.sensors - stats.failed:
                self._starting = False
                self._progress.started(now - self._begun_ns / 1e9)
        if self._last_line is None:
            self._last_line = (now, stats.scheduled)
        elif now - self._last_line[0] >= SECONDS_BETWEEN_LINES and not self._starting:
            rate = (stats.scheduled - self._last_line[1]) / (now - self._last_line[0])
            self._progress.running(stats, count_healthy(display_states(fleet)), rate, backfill_progress(fleet))
            self._last_line = (now, stats.scheduled)


class NoProgress:
    """Prints nothing; events are in the log."""

    def starting(self, committed: int, failed: int) -> None: ...
    def started(self, seconds: float) -> None: ...
    def running(self, stats: FleetStats, healthy: int, rate: float, backfill: BackfillProgress | None) -> None: ...
    def event(self, text: str) -> None: ...
    def close(self) -> None: ...


def progress_for(target_rate: Callable[[], float], sensors: int, console: bool = True) -> ProgressReporter:
    if not console:
        return NoProgress()
    return TerminalProgress(target_rate, sensors) if sys.stdout.isatty() else LineProgress(target_rate)

"""What the terminal shows of a running fleet: a bar while it starts, then a line every few seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from fleet.monitoring.stats import FleetStats

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 5.0
"""Seconds between two lines."""


@contextmanager
def ignoring_closed_output() -> Iterator[None]:
    """Output that is no reason to stop: if nobody can take it any more (a closed terminal, `| head -1`, a full disk),
    this process says nothing from then on, and the fleet ends when and how it is told to."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class ProgressReporter(Protocol):
    """Somebody who wants to know how it goes."""

    def starting(self, stats: FleetStats, committed: int) -> None: ...
    def started(self, seconds: float) -> None: ...
    def running(self, stats: FleetStats, rate: float) -> None: ...
    def event(self, text: str) -> None: ...
    def close(self) -> None: ...


class LineProgress:
    """Lines for a log: no colour, no cursor. `target_rate` is the rate that is asked for at the moment."""

    def __init__(self, target_rate: Callable[[], float]) -> None:
        self._target_rate = target_rate

    def starting(self, stats: FleetStats, committed: int) -> None:
        """A log wants to know only that it is done."""

    def started(self, seconds: float) -> None:
        self.event(f"all workers have committed, {seconds:.1f} s after the first was started")

    def running(self, stats: FleetStats, rate: float) -> None:
        self.event(summary_line(stats, rate, self._target_rate()))

    def event(self, text: str) -> None:
        with ignoring_closed_output():
            click.echo(f"{time.strftime('%H:%M:%S')} {text}")

    def close(self) -> None: ...


class TerminalProgress(LineProgress):
    """The same on a terminal, with a bar while workers start."""

    def __init__(self, target_rate: Callable[[], float], sensors: int) -> None:
        super().__init__(target_rate)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        # Redrawn by us: a thread of rich's own would be copied half-way into forked processes.
        columns = (TextColumn("starting"), BarColumn(40), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
        self._bar: Progress | None = Progress(*columns, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("starting", total=sensors, note="")

    def starting(self, stats: FleetStats, committed: int) -> None:
        if self._bar:
            failed = stats.states.get("failed", 0)
            note = f"{failed} failed" if failed else ""
            with ignoring_closed_output():
                self._bar.start()  # not before the loop runs, which sees to it that the cursor is shown again
                self._bar.update(self._task, completed=committed, note=note, refresh=True)

    def event(self, text: str) -> None:
        if self._bar:
            with ignoring_closed_output():
                self._bar.console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False, markup=False)
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


def summary_line(stats: FleetStats, rate: float, target_rate: float) -> str:
    """The state of the fleet in one line that fits 80 columns."""
    parts = [
        f"{stats.healthy}/{stats.sensors} healthy",
        f"{rate:,.0f} of {target_rate:,.0f} readings/s"
        if target_rate >= 10
        else f"{rate:.2f} of {target_rate:g} readings/s",
        f"{sum(stats.anomalies.values()):,} anomalous",
        f"{stats.errors} errors",
        f"lag {stats.lag:.1f} s",
    ]
    return "  ".join(parts)


class ProgressMonitor:
    """Feeds a ProgressReporter from the scoreboard; called several times a second by the supervisor's loop.

    `first_commits` gives how many sensors have committed in this run.
    """

    def __init__(
        self,
        progress: ProgressReporter,
        read_stats: Callable[[], FleetStats],
        first_commits: Callable[[], int],
        begun_ns: int,
    ) -> None:
        self._progress, self._read_stats, self._first_commits, self._run_start_ns = (
            progress,
            read_stats,
            first_commits,
            begun_ns,
        )
        self._starting = True
        self._seen: tuple[float, int] | None = None

    def __call__(self) -> None:
        stats, now = self._read_stats(), time.monotonic()
        if self._starting:
            committed = self._first_commits()
            self._progress.starting(stats, committed)
            if committed >= stats.sensors - stats.states.get("failed", 0):
                self._starting = False
                self._progress.started(now - self._run_start_ns / 1e9)
        if self._seen is None:
            self._seen = (now, stats.scheduled)
        elif now - self._seen[0] >= SECONDS_BETWEEN_LINES and not self._starting:
            rate = (stats.scheduled - self._seen[1]) / (now - self._seen[0])
            self._progress.running(stats, rate)
            self._seen = (now, stats.scheduled)


class NoProgress:
    """Nothing of it on the terminal; the log has the events."""

    def starting(self, stats: FleetStats, committed: int) -> None: ...
    def started(self, seconds: float) -> None: ...
    def running(self, stats: FleetStats, rate: float) -> None: ...
    def event(self, text: str) -> None: ...
    def close(self) -> None: ...


def progress_for(target_rate: Callable[[], float], sensors: int, console: bool = True) -> ProgressReporter:
    if not console:
        return NoProgress()
    return TerminalProgress(target_rate, sensors) if sys.stdout.isatty() else LineProgress(target_rate)


def print_summary(stats: FleetStats, due: int | None, seconds: float, classes: Mapping[str, int] = {}) -> None:
    """The table at the end of a run. `due` is the number of scheduled readings it should have, None if open; `classes`
    are the errors by class."""
    rows = [
        ("sensors", f"{stats.sensors:,}"),
        ("scheduled readings", f"{stats.scheduled:,}" + (f" of {due:,}" if due is not None else "")),
        ("rows written", f"{stats.readings:,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in stats.anomalies.items()),
        ("restarts", f"{stats.restarts:,}"),
        ("success rate", success_rate(stats, due)),
        ("errors", f"{stats.errors:,}"),
        *((f"  {name}", f"{count:,}") for name, count in classes.items()),
        ("retries", f"{stats.retries:,}"),
        *((("database renewals", f"{stats.renewals:,}"),) if stats.renewals else ()),
        ("commits", f"{stats.commits:,}, {stats.commit_ms:.1f} ms on average"),
        ("achieved rate", f"{stats.scheduled / seconds:,.1f} readings/s over {seconds:,.1f} s" if seconds else "-"),
    ]
    with ignoring_closed_output():
        if sys.stdout.isatty():
            print_table(rows)
        else:
            click.echo("\n".join(f"{name}: {value}" for name, value in rows))


def success_rate(stats: FleetStats, due: int | None) -> str:
    """How much of what was due is settled. Of a run without an end that is known only of sensors that ended well."""
    if due is not None:
        return f"{stats.scheduled / due:.2%} of the readings that were due" if due else "nothing was due"
    behind = stats.sensors - stats.healthy
    return (
        f"not known: {behind:,} sensors ended with readings due" if behind else "100.00% of the readings that were due"
    )


def print_table(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="run summary", title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table, highlight=False)

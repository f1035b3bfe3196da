"""What the terminal shows of a running fleet: a bar while it starts, then a line every few seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from fleet.storage.figures import Figures

if TYPE_CHECKING:
    from rich.progress import Progress

PERIOD = 5.0
"""Seconds between two lines."""


@contextmanager
def to_whom_it_may_concern() -> Iterator[None]:
    """Output that is no reason to stop: if nobody can take it any more (a closed terminal, `| head -1`, a full disk),
    this process says nothing from then on, and the fleet ends when and how it is told to."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Progressing(Protocol):
    """Somebody who wants to know how it goes."""

    def starting(self, figures: Figures, committed: int) -> None: ...
    def started(self, seconds: float) -> None: ...
    def running(self, figures: Figures, pace: float) -> None: ...
    def event(self, text: str) -> None: ...
    def close(self) -> None: ...


class PlainProgress:
    """Lines for a log: no colour, no cursor. `asked` is the rate that is asked for at the moment."""

    def __init__(self, asked: Callable[[], float]) -> None:
        self._asked = asked

    def starting(self, figures: Figures, committed: int) -> None:
        """A log wants to know only that it is done."""

    def started(self, seconds: float) -> None:
        self.event(f"all workers have committed, {seconds:.1f} s after the first was started")

    def running(self, figures: Figures, pace: float) -> None:
        self.event(summary_line(figures, pace, self._asked()))

    def event(self, text: str) -> None:
        with to_whom_it_may_concern():
            click.echo(f"{time.strftime('%H:%M:%S')} {text}")

    def close(self) -> None: ...


class TerminalProgress(PlainProgress):
    """The same on a terminal, with a bar while workers start."""

    def __init__(self, asked: Callable[[], float], sensors: int) -> None:
        super().__init__(asked)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        # Redrawn by us: a thread of rich's own would be copied half-way into forked processes.
        columns = (TextColumn("starting"), BarColumn(40), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
        self._bar: Progress | None = Progress(*columns, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("starting", total=sensors, note="")

    def starting(self, figures: Figures, committed: int) -> None:
        if self._bar:
            failed = figures.states.get("failed", 0)
            note = f"{failed} failed" if failed else ""
            with to_whom_it_may_concern():
                self._bar.start()  # not before the loop runs, which sees to it that the cursor is shown again
                self._bar.update(self._task, completed=committed, note=note, refresh=True)

    def event(self, text: str) -> None:
        if self._bar:
            with to_whom_it_may_concern():
                self._bar.console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False, markup=False)
        else:
            super().event(text)

    def started(self, seconds: float) -> None:
        self.close()
        super().started(seconds)

    def close(self) -> None:
        if self._bar:
            bar, self._bar = self._bar, None
            with to_whom_it_may_concern():
                bar.stop()


def summary_line(figures: Figures, pace: float, asked: float) -> str:
    """The state of the fleet in one line that fits 80 columns."""
    parts = [
        f"{figures.healthy}/{figures.sensors} healthy",
        f"{pace:,.0f} of {asked:,.0f} readings/s" if asked >= 10 else f"{pace:.2f} of {asked:g} readings/s",
        f"{sum(figures.anomalies.values()):,} anomalous",
        f"{figures.errors} errors",
        f"lag {figures.lag:.1f} s",
    ]
    return "  ".join(parts)


class Watch:
    """Feeds a Progressing from the board; called several times a second by the supervisor's loop.

    `first_commits` gives how many sensors have committed in this run.
    """

    def __init__(
        self, progress: Progressing, look: Callable[[], Figures], first_commits: Callable[[], int], begun_ns: int
    ) -> None:
        self._progress, self._look, self._first_commits, self._begun_ns = progress, look, first_commits, begun_ns
        self._starting = True
        self._seen: tuple[float, int] | None = None

    def __call__(self) -> None:
        figures, now = self._look(), time.monotonic()
        if self._starting:
            committed = self._first_commits()
            self._progress.starting(figures, committed)
            if committed >= figures.sensors - figures.states.get("failed", 0):
                self._starting = False
                self._progress.started(now - self._begun_ns / 1e9)
        if self._seen is None:
            self._seen = (now, figures.scheduled)
        elif now - self._seen[0] >= PERIOD and not self._starting:
            pace = (figures.scheduled - self._seen[1]) / (now - self._seen[0])
            self._progress.running(figures, pace)
            self._seen = (now, figures.scheduled)


class Silence:
    """Nothing of it on the terminal; the log has the events."""

    def starting(self, figures: Figures, committed: int) -> None: ...
    def started(self, seconds: float) -> None: ...
    def running(self, figures: Figures, pace: float) -> None: ...
    def event(self, text: str) -> None: ...
    def close(self) -> None: ...


def progress_for(asked: Callable[[], float], sensors: int, console: bool = True) -> Progressing:
    if not console:
        return Silence()
    return TerminalProgress(asked, sensors) if sys.stdout.isatty() else PlainProgress(asked)


def print_summary(figures: Figures, due: int | None, seconds: float, classes: Mapping[str, int] = {}) -> None:
    """The table at the end of a run. `due` is the number of scheduled readings it should have, None if open; `classes`
    are the errors by class."""
    rows = [
        ("sensors", f"{figures.sensors:,}"),
        ("scheduled readings", f"{figures.scheduled:,}" + (f" of {due:,}" if due is not None else "")),
        ("rows written", f"{figures.readings:,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in figures.anomalies.items()),
        ("restarts", f"{figures.restarts:,}"),
        ("success rate", success_rate(figures, due)),
        ("errors", f"{figures.errors:,}"),
        *((f"  {name}", f"{count:,}") for name, count in classes.items()),
        ("retries", f"{figures.retries:,}"),
        *((("database renewals", f"{figures.renewals:,}"),) if figures.renewals else ()),
        ("commits", f"{figures.commits:,}, {figures.commit_ms:.1f} ms on average"),
        ("achieved rate", f"{figures.scheduled / seconds:,.1f} readings/s over {seconds:,.1f} s" if seconds else "-"),
    ]
    with to_whom_it_may_concern():
        if sys.stdout.isatty():
            print_table(rows)
        else:
            click.echo("\n".join(f"{name}: {value}" for name, value in rows))


def success_rate(figures: Figures, due: int | None) -> str:
    """How much of what was due is settled. Of a run without an end that is known only of sensors that ended well."""
    if due is not None:
        return f"{figures.scheduled / due:.2%} of the readings that were due" if due else "nothing was due"
    behind = figures.sensors - figures.healthy
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

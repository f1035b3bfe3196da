"""The report of a collector on a terminal: progress, errors as they begin and end, and a summary."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from fleet.delivery.stats import CollectorStats, DatabaseStats

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

MAX_SUMMARY_DATABASES = 20
PROGRESS_INTERVAL_SECONDS = 10.0
"""Seconds between two lines of progress when stderr is not a terminal."""


class ProgressReporter:
    """Shows the stats on stderr: on a terminal as a bar of the databases that are done, elsewhere as occasional lines.

    An error is shown once when it begins and once when it ends, a note once.
    """

    def __init__(self, stats: CollectorStats) -> None:
        self._stats = stats
        self._bar: Bar | None = None
        self._reported_errors: dict[str, str] = {}
        self._reported_notes: set[str] = set()
        self._started_at = self._last_line_at = time.monotonic()
        self._delivered = 0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (
                BarColumn(20),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TextColumn("{task.description}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task("", total=0)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._report_errors()
        self._report_notes()
        if self._bar:
            self._bar.stop()

    def show(self) -> None:
        self._report_errors()
        self._report_notes()
        now, delivered = time.monotonic(), self._stats.totals().delivered
        if self._bar:
            stats, (task,) = self._stats, self._bar.task_ids
            line = self._line(now, delivered)
            self._bar.update(task, completed=stats.databases_done, total=stats.databases_total, description=line)
        elif now - self._last_line_at >= PROGRESS_INTERVAL_SECONDS and delivered > self._delivered:
            click.echo(self._line(now, delivered), err=True)
            self._last_line_at, self._delivered = now, delivered

    def _line(self, now: float, delivered: int) -> str:
        rate = delivered / max(now - self._started_at, 1e-3)
        return f"{delivered:,} readings delivered, {rate:,.0f}/s"

    def _report_errors(self) -> None:
        failing = {self._subject(database): database.error or "" for database in self._stats.failing()}
        new = {subject: error for subject, error in failing.items() if self._reported_errors.get(subject) != error}
        for error, names in group_by_error(new).items():
            click.echo(f"fleet collect: {shorten_names(names)}: {error}", err=True)
        for subject in self._reported_errors.keys() - failing.keys():
            click.echo(f"fleet collect: {subject}: well again", err=True)
        self._reported_errors = failing

    def _report_notes(self) -> None:
        new = {name: note for name, note in self._stats.notes().items() if name not in self._reported_notes}
        for note, names in group_by_error(new).items():
            click.echo(f"fleet collect: {shorten_names(names)}: {note}", err=True)
        self._reported_notes |= new.keys()

    def _subject(self, database: DatabaseStats) -> str:
        """The name of what fails: a failing target is reported once, not for each database."""
        return "the target" if database.blame == "target" else database.name


def group_by_error(errors: dict[str, str]) -> dict[str, list[str]]:
    """The names that have an error, by the error."""
    groups: dict[str, list[str]] = {}
    for name, error in errors.items():
        groups.setdefault(error, []).append(name)
    return groups


def shorten_names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def summary_lines(stats: CollectorStats, target: str, seconds: float) -> list[str]:
    """The lines of a summary: the databases (failed ones first), then the totals."""
    databases = list(stats.databases.values())
    shown = sorted(
        (database for database in databases if database.found or database.error),
        key=lambda database: (database.error is None, not database.dead, -database.found, database.name),
    )
    lines = table_lines(shown[:MAX_SUMMARY_DATABASES])
    if len(shown) > MAX_SUMMARY_DATABASES:
        lines.append(f"  and {len(shown) - MAX_SUMMARY_DATABASES:,} more (--json has them all)")
    for reason, names in group_by_error({a.name: a.skipped for a in databases if a.skipped}).items():
        lines.append(f"skipped: {shorten_names(names)}: {reason}")
    for reason, names in group_by_error({a.name: a.error for a in databases if a.error}).items():
        lines.append(f"FAILED: {shorten_names(names)}: {reason}")
    whole = stats.totals()
    if stats.unfinished:
        lines.append(
            f"stopped before {stats.unfinished:,} of {stats.databases_total:,} databases were swept to their end"
        )
    parts = [f"{whole.delivered:,} of {whole.found:,} readings delivered to {target}"]
    if whole.duplicates:
        parts.append(f"{whole.duplicates:,} were there already")
    if whole.dead:
        parts.append(f"{whole.dead:,} dead letters")
    parts.append(f"{whole.episodes:,} episodes")
    parts.append(f"{seconds:.1f} s, {whole.delivered / max(seconds, 1e-3):,.0f} readings/s")
    return [*lines, "; ".join(parts)]


def table_lines(databases: list[DatabaseStats]) -> list[str]:
    if not databases:
        return []
    head = ("database", "found", "delivered", "duplicates", "dead", "readings/s")
    rows = [
        (a.name, f"{a.found:,}", f"{a.delivered:,}", f"{a.duplicates:,}", f"{a.dead:,}", f"{a.rate:,.0f}")
        for a in databases
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            (row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        )
        for row in (head, *rows)
    ]

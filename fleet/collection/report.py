"""What a collector tells a person: a line that moves, troubles as they come, a summary at the end."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from fleet.collection.tally import Account, Tally

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

MOST_LINES = 20
EVERY = 10.0
"""Seconds between two lines where nobody watches."""


class Progress:
    """Shows a tally: on a terminal as a bar, the databases of a sweep that are done, elsewhere as a line now and then.
    Troubles are told as they begin and as they end, once each. All of it on stderr."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._bar: Bar | None = None
        self._told: dict[str, str] = {}
        self._begun = self._spoke = time.monotonic()
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
        self._troubles()
        if self._bar:
            self._bar.stop()

    def show(self) -> None:
        self._troubles()
        now, delivered = time.monotonic(), self._tally.totals().delivered
        if self._bar:
            tally, (task,) = self._tally, self._bar.task_ids
            line = self._line(now, delivered)
            self._bar.update(task, completed=tally.visited, total=tally.to_visit, description=line)
        elif now - self._spoke >= EVERY and delivered > self._delivered:
            click.echo(self._line(now, delivered), err=True)
            self._spoke, self._delivered = now, delivered

    def _line(self, now: float, delivered: int) -> str:
        rate = delivered / max(now - self._begun, 1e-3)
        return f"{delivered:,} readings delivered, {rate:,.0f}/s"

    def _troubles(self) -> None:
        failing = {self._subject(account): account.error or "" for account in self._tally.failing()}
        new = {subject: error for subject, error in failing.items() if self._told.get(subject) != error}
        for error, names in grouped(new).items():
            click.echo(f"fleet collect: {several(names)}: {error}", err=True)
        for subject in self._told.keys() - failing.keys():
            click.echo(f"fleet collect: {subject}: well again", err=True)
        self._told = failing

    def _subject(self, account: Account) -> str:
        """A target that is down is one trouble, not one of each database."""
        return "the target" if account.blame == "target" else account.name


def grouped(troubles: dict[str, str]) -> dict[str, list[str]]:
    """The names by what is wrong with them."""
    groups: dict[str, list[str]] = {}
    for name, error in troubles.items():
        groups.setdefault(error, []).append(name)
    return groups


def several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def summary(tally: Tally, target: str, seconds: float) -> list[str]:
    """The lines of a summary: the databases (those with something to tell first), then all together."""
    accounts = list(tally.accounts.values())
    shown = sorted(
        (account for account in accounts if account.found or account.error),
        key=lambda account: (account.error is None, not account.dead, -account.found, account.name),
    )
    lines = table(shown[:MOST_LINES])
    if len(shown) > MOST_LINES:
        lines.append(f"  and {len(shown) - MOST_LINES:,} more (--json has them all)")
    for reason, names in grouped({a.name: a.skipped for a in accounts if a.skipped}).items():
        lines.append(f"skipped: {several(names)}: {reason}")
    for reason, names in grouped({a.name: a.error for a in accounts if a.error}).items():
        lines.append(f"FAILED: {several(names)}: {reason}")
    whole = tally.totals()
    if tally.unfinished:
        lines.append(f"stopped before {tally.unfinished:,} of {tally.to_visit:,} databases were swept to their end")
    parts = [f"{whole.delivered:,} of {whole.found:,} readings delivered to {target}"]
    if whole.duplicates:
        parts.append(f"{whole.duplicates:,} were there already")
    if whole.dead:
        parts.append(f"{whole.dead:,} dead letters")
    parts.append(f"{whole.episodes:,} episodes")
    parts.append(f"{seconds:.1f} s, {whole.delivered / max(seconds, 1e-3):,.0f} readings/s")
    return [*lines, "; ".join(parts)]


def table(accounts: list[Account]) -> list[str]:
    if not accounts:
        return []
    head = ("database", "found", "delivered", "duplicates", "dead", "readings/s")
    rows = [
        (a.name, f"{a.found:,}", f"{a.delivered:,}", f"{a.duplicates:,}", f"{a.dead:,}", f"{a.rate:,.0f}")
        for a in accounts
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            (row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        )
        for row in (head, *rows)
    ]

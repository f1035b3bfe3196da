"""`fleet verify` on a terminal: a bar while it works, a table for each kind of finding, one line at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fleet.commands import comparison_report
from fleet.comparison.against import Against, arrivals, compare
from fleet.comparison.delivery_verdict import DeliveryVerdict
from fleet.verification.findings import KINDS, Finding, Verdict
from fleet.verification.verification import Told, verify

MOST_LINES = 20


def show(data: Path, *, sensor: str | None, complete: bool, as_json: bool, against: Against | None = None) -> int:
    """Verify, compare with what arrived `against` a target, and print. The exit code is 0 if all is as it must be,
    1 otherwise."""
    if against is not None:
        arrivals(against).close()  # one that cannot be read is told of before the work
    with bar("verifying") as told:
        verdict = verify(data, sensor=sensor, complete=complete, told=told)
    delivery = None
    if against is not None:
        with bar("comparing") as told:
            delivery = compare(data, against, told)
    if as_json:
        click.echo(json.dumps(document(verdict, delivery), indent=2))
    else:
        report(verdict, delivery)
    return 0 if ok(verdict, delivery) else 1


def ok(verdict: Verdict, delivery: DeliveryVerdict | None) -> bool:
    return verdict.ok and (delivery is None or delivery.ok)


def document(verdict: Verdict, delivery: DeliveryVerdict | None) -> dict[str, Any]:
    compared = {} if delivery is None else {"against": comparison_report.document(delivery)}
    return {"ok": ok(verdict, delivery), **asdict(verdict), **compared}


def report(verdict: Verdict, delivery: DeliveryVerdict | None) -> None:
    tell(verdict.counts, verdict.findings)
    for name in verdict.skipped:
        click.echo(f"skipped: {name}")
    for name in verdict.quarantined:
        click.echo(f"not verified, moved aside by the fleet because it was damaged: {name}")
    click.echo(summary(verdict))
    if delivery is not None:
        click.echo()
        tell(delivery.counts, delivery.findings)
        for line in comparison_report.lines(delivery):
            click.echo(line)


def tell(counts: Mapping[str, int], all_findings: Sequence[Finding]) -> None:
    """A table for each kind."""
    for kind, title in KINDS.items():
        if kind in counts:
            findings = [finding for finding in all_findings if finding.kind == kind]
            click.echo(f"{title}: {counts[kind]:,}")
            for line in table(findings[:MOST_LINES]):
                click.echo(line)
            if len(findings) > MOST_LINES:
                click.echo(f"  and {len(findings) - MOST_LINES:,} more")
            click.echo()


def table(findings: list[Finding]) -> list[str]:
    rows = [(finding.sensor_id or "", place(finding), finding.detail, finding.database) for finding in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [
        "  " + "  ".join((row[0].ljust(widths[0]), row[1].rjust(widths[1]), f"{row[2]}  ({row[3]})")).strip()
        for row in rows
    ]


def place(finding: Finding) -> str:
    if finding.first_seq is None:
        return ""
    if finding.last_seq in (None, finding.first_seq):
        return f"{finding.first_seq}"
    return f"{finding.first_seq}..{finding.last_seq}"


def summary(verdict: Verdict) -> str:
    counted = (
        f"{many(verdict.sensors, 'sensor')}, {many(verdict.readings, 'reading')}, "
        f"{many(verdict.episodes, 'episode')} in {many(verdict.databases, 'database')}"
    )
    wrong = sum(verdict.counts.values())
    told = "all as they must be" if verdict.ok else f"{wrong:,} findings"
    return f"{counted}: {told}, {verdict.seconds:.1f} s"


def many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


@contextmanager
def bar(doing: str) -> Iterator[Told]:
    """A bar on stderr if a person is looking, gone when it is done."""
    if not sys.stdout.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(40), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield told

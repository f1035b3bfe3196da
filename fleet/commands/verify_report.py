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

from fleet.commands import compare_report
from fleet.delivery.compare.against import ComparisonOptions, compare, open_delivered
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.verify.findings import FINDING_TITLES, Finding, Verdict
from fleet.verify.verification import ProgressCallback, verify

MAX_FINDING_LINES = 20


def show(
    data: Path, *, sensor: str | None, complete: bool, as_json: bool, against: ComparisonOptions | None = None
) -> int:
    """Verify, compare with what arrived `against` a target, and print. The exit code is 0 if all is as it must be,
    1 otherwise."""
    if against is not None:
        open_delivered(against).close()  # one that cannot be read is told of before the work
    with progress_bar("verifying") as on_progress:
        verdict = verify(data, sensor=sensor, complete=complete, on_progress=on_progress)
    delivery = None
    if against is not None:
        with progress_bar("comparing") as on_progress:
            delivery = compare(data, against, on_progress)
    if as_json:
        click.echo(json.dumps(verdict_document(verdict, delivery), indent=2))
    else:
        print_verdict(verdict, delivery)
    return 0 if ok(verdict, delivery) else 1


def ok(verdict: Verdict, delivery: DeliveryVerdict | None) -> bool:
    return verdict.ok and (delivery is None or delivery.ok)


def verdict_document(verdict: Verdict, delivery: DeliveryVerdict | None) -> dict[str, Any]:
    compared = {} if delivery is None else {"against": compare_report.delivery_document(delivery)}
    return {"ok": ok(verdict, delivery), **asdict(verdict), **compared}


def print_verdict(verdict: Verdict, delivery: DeliveryVerdict | None) -> None:
    print_findings(verdict.counts, verdict.findings)
    for name in verdict.skipped:
        click.echo(f"skipped: {name}")
    for name in verdict.quarantined:
        click.echo(f"not verified, moved aside by the fleet because it was damaged: {name}")
    click.echo(verdict_summary(verdict))
    if delivery is not None:
        click.echo()
        print_findings(delivery.counts, delivery.findings)
        for line in compare_report.summary_lines(delivery):
            click.echo(line)


def print_findings(counts: Mapping[str, int], all_findings: Sequence[Finding]) -> None:
    """A table for each kind."""
    for kind, title in FINDING_TITLES.items():
        if kind in counts:
            findings = [finding for finding in all_findings if finding.kind == kind]
            click.echo(f"{title}: {counts[kind]:,}")
            for line in table(findings[:MAX_FINDING_LINES]):
                click.echo(line)
            if len(findings) > MAX_FINDING_LINES:
                click.echo(f"  and {len(findings) - MAX_FINDING_LINES:,} more")
            click.echo()


def table(findings: list[Finding]) -> list[str]:
    rows = [(finding.sensor_id or "", seq_range(finding), finding.detail, finding.database) for finding in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [
        "  " + "  ".join((row[0].ljust(widths[0]), row[1].rjust(widths[1]), f"{row[2]}  ({row[3]})")).strip()
        for row in rows
    ]


def seq_range(finding: Finding) -> str:
    if finding.first_seq is None:
        return ""
    if finding.last_seq in (None, finding.first_seq):
        return f"{finding.first_seq}"
    return f"{finding.first_seq}..{finding.last_seq}"


def verdict_summary(verdict: Verdict) -> str:
    counted = (
        f"{pluralize(verdict.sensors, 'sensor')}, {pluralize(verdict.readings, 'reading')}, "
        f"{pluralize(verdict.episodes, 'episode')} in {pluralize(verdict.databases, 'database')}"
    )
    wrong = sum(verdict.counts.values())
    result = "all as they must be" if verdict.ok else f"{wrong:,} findings"
    return f"{counted}: {result}, {verdict.seconds:.1f} s"


def pluralize(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


@contextmanager
def progress_bar(doing: str) -> Iterator[ProgressCallback]:
    """A bar on stderr if a person is looking, gone when it is done."""
    if not sys.stdout.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(40), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield on_progress

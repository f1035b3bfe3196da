"""`fleet verify`: check the databases, and print a table for each kind of finding and a summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet.commands.options import DATA_OPTION, RECORD_OPTION, Completion, ShareParam
from fleet.errors import UserError
from fleet.escaping import escape_short

if TYPE_CHECKING:
    from fleet.delivery.compare.verdict import DeliveryVerdict, Latency
    from fleet.delivery.selection import Selection
    from fleet.verify.findings import Finding, Verdict

MAX_FINDING_LINES = 20
"""Findings of one kind that are printed."""

SELECTION_KEYS = ("kind", "city", "firmware", "share")
"""The keys of --select, the same as those of `select` in a config."""

DURATION_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def selection_option(_context: click.Context, option: click.Parameter, texts: Sequence[str]) -> Selection | None:
    """Return the selection that the texts KEY=VALUE describe, None without any. UserError for another one."""
    from fleet.delivery.selection import Selection

    stated: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in SELECTION_KEYS or not value or key in stated:
            reason = (
                "is there twice" if key in stated else f"is not KEY=VALUE: KEY is one of {', '.join(SELECTION_KEYS)}"
            )
            raise UserError(f"--select: {escape_short(text)!r} {reason}")
        stated[key] = ShareParam().convert(value, option, None) if key == "share" else value
    return Selection(**stated) if stated else None


@click.command()
@DATA_OPTION
@click.option("--sensor", metavar="ID", shell_complete=Completion("sensor_id"), help="Only this sensor.")
@click.option("--complete", is_flag=True, help="Every sensor of the last run must have all that was due in it.")
@click.option("--against", metavar="TARGET", help="Compare with what arrived there, named as in `fleet collect --to`.")
@click.option(
    "--table",
    metavar="NAME",
    help="With --against: a table of your own there, matched by sensor and seq, or timestamp.",
)
@RECORD_OPTION
@click.option(
    "--select",
    "selection",
    multiple=True,
    metavar="KEY=VALUE",
    callback=selection_option,
    help="With --against: only readings of this kind, city, firmware or share have to be there, as with `select` of a "
    "target in a config.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(data: Path, sensor: str | None, complete: bool, against: str | None, as_json: bool, **of_target: Any) -> int:
    """Prove that no reading was lost, duplicated or altered: compute each again and compare.

    The exit code is 1 if there are differences.
    """
    from fleet.delivery.compare.against import compare, comparison_options, open_delivered
    from fleet.verify import verification

    target = comparison_options(against, sensor=sensor, complete=complete, **of_target)
    if target is not None:
        open_delivered(data, target).close()  # a target that cannot be read is an error before the work begins
    with progress_bar("verifying") as on_progress:
        verdict = verification.verify(data, sensor=sensor, complete=complete, on_progress=on_progress)
    delivery = None
    if target is not None:
        with progress_bar("comparing") as on_progress:
            delivery = compare(data, target, on_progress)
    ok = verdict.ok and (delivery is None or delivery.ok)
    if as_json:
        compared = {} if delivery is None else {"against": {"ok": delivery.ok, **asdict(delivery)}}
        click.echo(json.dumps({"ok": ok, **asdict(verdict), **compared}, indent=2))
    else:
        print_verdict(verdict)
        if delivery is not None:
            print_delivery(delivery)
    return 0 if ok else 1


def print_verdict(verdict: Verdict) -> None:
    """Print the findings, the files that were not verified, and a summary line."""
    print_findings(verdict.counts, verdict.findings)
    for file in verdict.skipped:
        click.echo(f"skipped: {file}")
    for line in verdict.paused:
        click.echo(line)
    for name in verdict.quarantined:
        click.echo(f"not verified, moved aside by the fleet because it was damaged: {name}")
    counts = (
        f"{pluralize(verdict.sensors, 'sensor')}, {pluralize(verdict.readings, 'reading')}, "
        f"{pluralize(verdict.episodes, 'episode')} in {pluralize(verdict.databases, 'database')}"
    )
    click.echo(f"{counts}: {result(verdict)}")


def print_delivery(delivery: DeliveryVerdict) -> None:
    """Print the findings of a comparison with a target, and its summary."""
    click.echo()
    print_findings(delivery.counts, delivery.findings)
    for line in delivery_summary(delivery):
        click.echo(line)


def delivery_summary(delivery: DeliveryVerdict) -> Iterator[str]:
    """Yield the summary, in lines of less than 80 characters but for the name of the target."""
    yield f"compared with {delivery.target}"
    yield f"  {delivery.arrived:,} of {delivery.generated:,} readings arrived, {delivery.pending:,} pending"
    if delivery.not_taken:
        yield f"  {delivery.not_taken:,} not sent, or not taken because of a fault on the way: no loss"
    for outcome in delivery.faults:
        yield f"  {outcome.line()}"
    yield f"  {delivery.episodes:,} episodes and {delivery.epochs:,} epochs compared"
    for note in delivery.notes:
        yield f"  {note}"
    if delivery.strangers:
        yield f"  {delivery.strangers:,} readings of other databases ignored"
    if delivery.alarms:
        yield f"  {delivery.alarms:,} arrived again with other values; the target rejected them"
    if delivery.latency is not None:
        yield f"  delivery time: {format_latency(delivery.latency)}"
    yield f"  {result(delivery)}"


def result(verdict: Verdict | DeliveryVerdict) -> str:
    """Return the result of a check and its duration."""
    differences = "no differences" if verdict.ok else pluralize(sum(verdict.counts.values()), "finding")
    return f"{differences}, {verdict.seconds:.1f} s"


def print_findings(counts: Mapping[str, int], findings: Sequence[Finding]) -> None:
    """Print a table for each kind of finding."""
    from fleet.verify.findings import FINDING_TITLES

    for kind, title in FINDING_TITLES.items():
        if kind in counts:
            kept = [finding for finding in findings if finding.kind == kind]
            click.echo(f"{title}: {counts[kind]:,}")
            shown = kept[:MAX_FINDING_LINES]
            for line in table_lines(shown):
                click.echo(line)
            if more := counts[kind] - sum(finding.count for finding in shown):
                click.echo(f"  and {more:,} more")
            click.echo()


def table_lines(findings: list[Finding]) -> list[str]:
    """Return a line for each finding, with the sensor and the sequence numbers in columns."""
    rows = [(finding.sensor_id or "", seq_range(finding), finding.detail, finding.database) for finding in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [
        "  " + "  ".join((row[0].ljust(widths[0]), row[1].rjust(widths[1]), f"{row[2]}  ({row[3]})")).strip()
        for row in rows
    ]


def seq_range(finding: Finding) -> str:
    """Return the sequence numbers of a finding, such as `17` or `17..20`; an empty text if it has none."""
    if finding.first_seq is None:
        return ""
    if finding.last_seq in (None, finding.first_seq):
        return f"{finding.first_seq}"
    return f"{finding.first_seq}..{finding.last_seq}"


def pluralize(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_latency(latency: Latency) -> str:
    """Return the percentiles of the delivery times."""
    return (
        f"50 % {format_duration(latency.p50)}, 95 % {format_duration(latency.p95)}, "
        f"99 % {format_duration(latency.p99)}, all {format_duration(latency.max)}"
    )


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit of which it has at least two."""
    for size, unit in DURATION_UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.2f} s"


@contextmanager
def progress_bar(activity: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while the context is open, if stdout is a terminal. Yields a function (done, total)."""
    if not sys.stdout.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(activity), BarColumn(40), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(activity, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield on_progress

"""`fleet backfill`: the history of a fleet, as fast as it can be computed, as a data directory, as files or in a target."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet.commands.options import (
    CONFIG_FILE_OPTION,
    RECORD_OPTION,
    SENSOR_OPTIONS,
    IntegerParam,
    PathParam,
    add_options,
    config_overrides,
)
from fleet.durations import DURATION_PART, parse_duration
from fleet.errors import UserError
from fleet.escaping import escape_short

if TYPE_CHECKING:
    from fleet.config.sections import Simulation
    from fleet.datadir.backfill_record import BackfillRecord
    from fleet.history.backfill import Backfill
    from fleet.history.computed import Span

MAX_JOBS = 256
SECOND_US = 1_000_000
REFRESH_SECONDS = 0.1
DELIVERY_BATCH_READINGS, DELIVERY_THREADS = 1000, 4
SQLITE, NO_READINGS = "sqlite", "none"
FORMATS = (SQLITE, "parquet", "jsonl", "csv", "arrow")


@click.command()
@add_options(CONFIG_FILE_OPTION)
@click.option(
    "--from",
    "from_",
    metavar="TIME",
    help="Time of the first reading, such as 2026-01-01, 2026-01-01T12:00:00Z, or 30d for that long before the end. "
    "Default: simulation.start of the config, for its duration if it has one.",
)
@click.option(
    "--to",
    multiple=True,
    metavar="TIME|TARGET",
    help="A time: the end of the history, excluded. Or a target: deliver the readings there, as `fleet collect --to` does; "
    "several times for several targets.",
)
@click.option("--until", metavar="TIME", help="The end of the history, as with --to TIME. Default: now.")
@click.option("--for", "duration", metavar="DURATION", help="The length of the history instead of its end.")
@click.option("--out", type=PathParam(), metavar="DIR", help="Where to write; a new directory, or one to go on with.")
@click.option(
    "--format",
    "file_format",
    metavar="FORMAT",
    help="sqlite (the default): a data directory as `fleet up` writes it; or a file for each sensor: parquet, jsonl, csv, arrow.",
)
@click.option(
    "--jobs", type=IntegerParam(1, MAX_JOBS), metavar="N", help="How many processes. Default: one for each core."
)
@add_options(*SENSOR_OPTIONS)
@click.option("--identities", type=PathParam(), metavar="DIR", help="Folder of identity files. Default: in --out.")
@RECORD_OPTION
def backfill(config: Path | None, out: Path | None, identities: Path | None, **flags: Any) -> int:
    """Write the history of a fleet at once: what it would have written if it had run all that time.

    The same seed gives the same bytes. After Ctrl-C, a crash or a kill the same command goes on where it was.
    """
    times, targets = split_times_and_targets(flags.pop("to"))
    duration = flags.pop("duration")
    end = end_of(times, flags.pop("until"), duration)
    wanted = Wanted(flags.pop("from_"), end, duration, chosen_format(flags.pop("file_format"), targets))
    jobs = flags.pop("jobs") or cores()
    if flags["record"] and not targets:
        raise UserError("--record: goes with --to TARGET, whose readings it is for")
    record, overrides = flags.pop("record"), config_overrides({**flags, "duration": None})
    if not targets:
        if out is None:
            raise UserError("--out: name the directory to write to, or a target with --to")
        return write_history(wanted, config, overrides, identities, out, jobs)
    if wanted.format == NO_READINGS:
        overrides["database.store"] = NO_READINGS
    directory = out or Path(tempfile.mkdtemp(prefix="fleet-backfill-"))
    code = None
    try:
        write_history(wanted, config, overrides, identities, directory, jobs)
        code = deliver(directory, targets, record)
    finally:
        if out is None and code == 0:
            shutil.rmtree(directory)
        elif out is None:
            click.echo(f"not all is delivered: the same command with --out {directory} goes on", err=True)
    return code


@dataclass(frozen=True, slots=True)
class Wanted:
    """The times of a history as they were given, and its format."""

    start: str | None
    end: str | None
    duration: str | None
    format: str


def chosen_format(given: str | None, targets: Sequence[str]) -> str:
    """Return the format of a history. One that goes to targets needs no file with readings. Raises UserError."""
    if given is None:
        return NO_READINGS if targets else SQLITE
    if given not in FORMATS:
        raise UserError(f"--format: {escape_short(given)!r} is not one of {', '.join(FORMATS)}")
    if targets and given != SQLITE:
        raise UserError(f"--format: {given} files cannot be delivered: leave it out, or --to {targets[0]}")
    return given


def deliver(directory: Path, targets: Sequence[str], record: str | None) -> int:
    """Deliver a history to targets, one after the other; each goes on where it was. Returns the exit code."""
    from fleet.commands.collect import CollectOptions, collect_readings

    codes = [
        collect_readings(
            CollectOptions(
                directory,
                target,
                record,
                batch_size=DELIVERY_BATCH_READINGS,
                workers=DELIVERY_THREADS,
                interval=None,
                max_runtime=None,
                state=None,
                cursor=True,
                retry_dead=False,
                gzip=False,
                health_port=None,
                as_json=False,
                show_readings=False,
            )
        )
        for target in targets
    ]
    return max(codes)


def cores() -> int:
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MAX_JOBS)


def split_times_and_targets(values: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the times and the targets among the values of --to. Raises UserError for a value that is neither."""
    from fleet.delivery.targets.registry import find_entry
    from fleet.target_urls import ENVIRONMENT, FILE, without_password

    times, targets = [], []
    for value in values:
        if parse_time(value) is not None:
            times.append(value)
        elif find_entry(value) or value.startswith((ENVIRONMENT, FILE)):
            try:
                targets.append(without_password(value))
            except ValueError as error:
                raise UserError(f"--to: {escape_short(value)!r} {error}") from None
        else:
            raise UserError(
                f"--to: {escape_short(value)!r} is neither a time, such as 2026-02-01 or 2026-02-01T12:00:00Z, nor a target, "
                "such as postgresql://HOST/DATABASE (`fleet collect --help` lists them)"
            )
    return times, targets


def end_of(times: Sequence[str], until: str | None, duration: str | None) -> str | None:
    """Return the only end of the history that was given, None if it follows from its length or is now."""
    given = [("--to", time) for time in times] + ([("--until", until)] if until is not None else [])
    given += [("--for", duration)] if duration is not None else []
    if len(given) > 1:
        (first, value), (second, other) = given[:2]
        raise UserError(
            f"{second}: {escape_short(other)} is a second end of the history, after {first} {value}: give one"
        )
    return given[0][1] if given and duration is None else None


def parse_time(text: str) -> int | None:
    """Return microseconds since 1970 for a time in ISO 8601 (UTC if it has no offset), or `now`; None for another text."""
    from fleet.runtime.simulation_clock import iso_to_microseconds

    if text.strip().lower() == "now":
        return time.time_ns() // 1000 // SECOND_US * SECOND_US
    try:
        return iso_to_microseconds(text.strip())
    except ValueError:
        return None


def parse_given_time(text: str, option: str) -> int:
    moment = parse_time(text)
    if moment is None:
        raise UserError(f"{option}: {escape_short(text)!r} is not a time such as 2026-02-01 or 2026-02-01T12:00:00Z")
    return moment


def span_of(wanted: Wanted, configured: Simulation, old: BackfillRecord | None) -> Span:
    """Return the span of a history. `configured` has the start and the duration in the config, `old` is the record of a
    backfill that goes on. Raises UserError."""
    from fleet.history.computed import Span

    end = parse_given_time(wanted.end or "now", "--until")
    if old is not None and (wanted.end or "now").strip().lower() == "now":
        end = old.end_us
    if wanted.start is None:
        if configured.start is None:
            raise UserError(
                "--from: say when the history begins, such as --from 2026-01-01, or --from 30d before its end"
            )
        start = parse_given_time(configured.start, "simulation.start")
    elif re.fullmatch(f"(?:{DURATION_PART.pattern})+", wanted.start.strip().lower()):
        if wanted.duration is not None:
            raise UserError(
                f"--from: {escape_short(wanted.start)} counts from the end, which --for does not give: name a time"
            )
        start = end - round(parse_duration(wanted.start, "--from") * SECOND_US)
    else:
        start = parse_given_time(wanted.start, "--from")
    if wanted.duration is not None:
        end = start + round(parse_duration(wanted.duration, "--for") * SECOND_US)
    elif wanted.end is None and wanted.start is None and configured.duration_seconds is not None:
        end = start + round(configured.duration_seconds * SECOND_US)
    if end <= start:
        raise UserError(f"--until: the history ends at {iso(end)}, which is not after its beginning at {iso(start)}")
    return Span(start, end)


def iso(time_us: int) -> str:
    """Return a time as a config has it, without a fraction where it has none."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()


def write_history(
    wanted: Wanted,
    config: Path | None,
    overrides: Mapping[str, object],
    identities: Path | None,
    out: Path,
    jobs: int,
) -> int:
    """Write what is missing of a history to a directory, and say what there is then. Raises UserError."""
    from fleet.config.config import SourcedValue, load_config
    from fleet.config.effects import load_with_warnings
    from fleet.datadir.directory import DataDirectory
    from fleet.history.backfill import check_directory, prepare, wait_for_ended_command, write
    from fleet.runtime.reload import ConfigSource

    old = check_directory(out, wanted.format)
    directory = DataDirectory(out)
    wait_for_ended_command(directory)
    directory.check_startable()
    span = span_of(wanted, load_config(config, os.environ, overrides).simulation, old)
    overrides = {**overrides, "simulation.start": SourcedValue(iso(span.start_us), "--from")}
    if old is not None and "simulation.seed" not in overrides:
        overrides |= {"simulation.seed": SourcedValue(old.seed, str(out))}
    settings, warnings = load_with_warnings(config, os.environ, overrides, out)
    started = time.monotonic()
    prepared = prepare(
        settings, directory, ConfigSource(config, dict(os.environ), overrides, {}), identities, span, wanted.format
    )
    for warning in (*warnings, *prepared.plan.warnings):
        click.echo(f"warning: {warning}", err=True)
    missing = prepared.missing
    begun = len(missing) < len(prepared.files)
    if begun and missing:
        click.echo(f"{out}: {len(prepared.files) - len(missing)} of {len(prepared.files)} files are there already")
    readings = sum(file.readings for file in missing)
    with interruption_explained(), progress_of(readings) as on_progress:
        write(prepared, jobs, on_progress)
    print_summary(prepared, readings, time.monotonic() - started)
    return 0


@contextmanager
def interruption_explained() -> Iterator[None]:
    """Say on Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped: the same command goes on with the files that are missing", err=True)
        raise


@contextmanager
def progress_of(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, with the rate and the time left. Yields the function that takes numbers of readings."""
    if not sys.stdout.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(30),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    started, shown, done = time.monotonic(), 0.0, 0
    with Progress(
        *columns, auto_refresh=False, transient=True
    ) as bar:  # a thread would not survive the fork of processes
        task = bar.add_task("", total=total, rate="")

        def show(readings: int) -> None:
            nonlocal shown, done
            done += readings
            now = time.monotonic()
            if now - shown >= REFRESH_SECONDS:
                shown = now
                rate = f"{done / max(now - started, 1e-3):,.0f} readings/s"
                bar.update(task, completed=done, rate=rate, refresh=True)

        yield show


def print_summary(backfill: Backfill, written: int, seconds: float) -> None:
    record, out = backfill.record, backfill.directory.path
    sensors, files = len(backfill.plan.members), len(backfill.files)
    click.echo(
        f"{sensors} {'sensor' if sensors == 1 else 'sensors'} from {iso(record.start_us)} until {iso(record.end_us)}, seed "
        f"{record.seed}: {files} {'file' if files == 1 else 'files'} in {out}"
    )
    if written:
        click.echo(f"{written:,} scheduled readings in {seconds:.1f} s, {written / max(seconds, 1e-3):,.0f}/s")
    else:
        click.echo("nothing was missing")
    if record.format == SQLITE:
        click.echo(f"`fleet up --data {out}` goes on from there, `fleet verify --data {out}` checks the readings")

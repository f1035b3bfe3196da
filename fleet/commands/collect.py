"""`fleet collect`: deliver readings to a target, sweep after sweep, and print a summary."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet.commands.options import RECORD_OPTION, ConfigParam, DurationParam, IntegerParam, PathParam
from fleet.errors import UserError
from fleet.standard_output import kept_for_readings

if TYPE_CHECKING:
    from fleet.delivery.bisecting_delivery import BisectingDelivery
    from fleet.delivery.collector import Collector
    from fleet.delivery.stats import CollectorStats
    from fleet.delivery.target import Target
    from fleet.delivery.targets.registry import TargetOptions

TARGET_FORMS = "http(s)://..., sqlite:///FILE, postgresql://..., mqtt(s)://..., kafka://..., influx(s)://..., influx:FILE, jsonl:FILE, csv:FILE, batches:DIR, s3://BUCKET/PREFIX or parquet:DIR"


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """The options of the command line. Without an `interval` there is one sweep."""

    directory: Path
    target: str
    record: str | None
    batch_size: int
    workers: int
    interval: float | None
    max_runtime: float | None
    state: Path | None
    cursor: bool
    retry_dead: bool
    gzip: bool
    health_port: int | None
    as_json: bool
    show_readings: bool
    faults: Path | None = None


@click.command()
@click.option(
    "--data-dir",
    "--data",
    type=PathParam(),
    metavar="DIR",
    default=Path("data"),
    show_default=True,
    help="Folder whose databases are swept, including those in its subfolders.",
)
@click.option(
    "--to",
    "--api-url",
    "target",
    metavar="TARGET",
    required=True,
    help=f"Where to: {TARGET_FORMS}; env:NAME or file:PATH for a URL with a password.",
)
@RECORD_OPTION
@click.option(
    "--batch-size", type=IntegerParam(1, 100_000), default=1000, show_default=True, help="Readings per batch."
)
@click.option("--once", is_flag=True, help="One sweep; without it, sweep after sweep until stopped.")
@click.option("--interval", type=DurationParam(), default="10s", show_default=True, help="Pause between two sweeps.")
@click.option("--max-runtime", type=DurationParam(), metavar="TIME", help="Stop after this time.")
@click.option("--workers", type=IntegerParam(1, 64), default=4, show_default=True, help="Databases at the same time.")
@click.option(
    "--cursor", is_flag=True, help="Do not write to `synced`; keep the progress in each database in --state instead."
)
@click.option(
    "--faults",
    type=ConfigParam(),
    metavar="CONFIG",
    help="Put `delivery.faults` of this config on the way; see docs/delivery-faults.md. Goes with --cursor.",
)
@click.option(
    "--state", type=PathParam(), metavar="DIR", help="The collector's own records. Default: .collector in --data-dir."
)
@click.option(
    "--retry-dead-letters", "retry_dead", is_flag=True, help="Offer the readings again that the target rejected."
)
@click.option("--gzip", is_flag=True, help="Compress what is sent over HTTP.")
@click.option(
    "--health-port", type=IntegerParam(0, 65535), metavar="P", help="Serve /health and /metrics on 127.0.0.1."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option(
    "--show-readings", is_flag=True, help="Print a line for each reading, and statistics every 100, as for one sensor."
)
def collect(data_dir: Path, target: str, once: bool, interval: float, **options: Any) -> int:
    """Deliver every reading exactly once to a central place, also while the fleet writes.

    Secrets for http(s) targets come from the environment: COLLECT_TOKEN, COLLECT_HEADERS.
    """
    with kept_for_readings([target]):
        return collect_readings(CollectOptions(data_dir, target, interval=None if once else interval, **options))


def collect_readings(options: CollectOptions) -> int:
    """Sweep until the end of the options, and print a summary. Returns 0 if no error was left at the end, else 1."""
    from fleet.delivery.collector import Collector
    from fleet.delivery.leases import Leases
    from fleet.delivery.reading_log import LoggedTarget
    from fleet.delivery.records.registry import record_for
    from fleet.delivery.report import ProgressReporter
    from fleet.delivery.state import STATE_FOLDER, CollectorState
    from fleet.delivery.stats import CollectorStats
    from fleet.delivery.sweep_database import SweepContext
    from fleet.delivery.targets.registry import TargetOptions, utc_now

    if not options.directory.is_dir():
        raise UserError(f"--data-dir: {options.directory} is not a directory")
    stop = threading.Event()
    record = record_for(options.target, options.record, options.directory)
    folder = options.state or options.directory / STATE_FOLDER
    target = open_collected(options, TargetOptions(gzip=options.gzip, record=record, stop=stop, folder=folder))
    logged = LoggedTarget(target, click.echo, utc_now) if options.show_readings else None
    target = logged or target
    with closing(target), closing(CollectorState(folder, target.name)) as state, stopped_by_signals(stop):
        leases = Leases(folder if options.cursor else None)
        stats = CollectorStats()
        marking, size = not options.cursor, options.batch_size
        context = SweepContext(
            target,
            state,
            leases,
            stats,
            stop,
            utc_now,
            size,
            marking,
            retry_dead=options.retry_dead,
            record=record,
        )
        started_at = time.monotonic()
        with ProgressReporter(stats) as progress, health_server(stats, options.health_port):
            collector = Collector(options.directory, context, options.workers, progress.show)
            with stopped_after(options.max_runtime, stop):
                run_collector(collector, options.interval)
        seconds = time.monotonic() - started_at
    report_rejected_history(context.delivery)
    if logged is not None:
        click.echo("\n".join(("-" * 60, *logged.statistics("Final stats"))))
    print_summary(stats, target.name, seconds, as_json=options.as_json)
    code = 1 if stats.failing() else 0
    if collector.abandoned:  # a thread still waits for the target, and an ordinary exit would join it
        sys.stdout.flush()
        os._exit(code)
    return code


def open_collected(options: CollectOptions, target_options: TargetOptions) -> Target:
    """Open the target, with faults on the way there if the command line has such, or if an earlier process holds readings back
    because of them. UserError if it cannot work."""
    from fleet.config.config import load_config
    from fleet.config.delivery_faults import FAULTY_SCHEMES, DeliveryFaults, unreachable_target
    from fleet.datadir.directory import DataDirectory
    from fleet.delivery.faults.fault_record import FAULT_FILE
    from fleet.delivery.faults.faulty_target import open_faulty_target
    from fleet.delivery.targets.registry import open_target

    url, folder, faults = options.target, target_options.folder, DeliveryFaults()
    if options.faults is not None:
        if not options.cursor or options.state is not None:
            raise UserError(
                "--faults: goes with --cursor and without --state: the record of the faults is in the data directory"
            )
        faults = load_config(options.faults, os.environ).delivery.faults
        if not faults.any:
            raise UserError(f"--faults: {options.faults} has no delivery.faults with a probability above 0")
        if reason := unreachable_target(faults, (url,)):
            raise UserError(f"--faults: {reason}")
    held = options.cursor and url.startswith(FAULTY_SCHEMES) and (folder / FAULT_FILE).exists()
    if not (faults.any or held):
        return open_target(url, target_options)
    manifest = DataDirectory(options.directory).read_manifest()
    if manifest is None:
        raise UserError(f"--faults: {options.directory} has no fleet.json with the seed that the faults follow from")
    return open_faulty_target(url, target_options, faults, manifest.seed, folder)


def print_summary(stats: CollectorStats, target: str, seconds: float, *, as_json: bool) -> None:
    """Print what was delivered from each database, as text or JSON."""
    from fleet.delivery.report import summary_lines

    if not as_json:
        for line in summary_lines(stats, target, seconds):
            click.echo(line)
        return
    document = {
        "ok": not stats.failing(),
        "seconds": seconds,
        "unfinished": stats.unfinished,
        "databases": [{**asdict(database), "found": database.found} for database in stats.databases.values()],
    }
    click.echo(json.dumps(document, indent=2))


def report_rejected_history(delivery: BisectingDelivery) -> None:
    """Print warnings about episodes and epochs that the target rejected, although it has the readings."""
    from fleet.delivery.report import group_by_error, shorten_names

    if not delivery.history_supported:
        click.echo("fleet collect: the target rejects episodes and epochs; it got the readings only", err=True)
        return
    for error, names in group_by_error(delivery.rejected_history).items():
        click.echo(f"fleet collect: left out: {shorten_names(names)}: {error}", err=True)


def run_collector(collector: Collector, interval: float | None) -> None:
    """Run the collector. UserError if the data directory cannot be read."""
    try:
        collector.run(interval)
        collector.finish()
    except OSError as error:
        raise UserError(f"--data-dir: {error.filename}: {error.strerror}") from error


@contextmanager
def health_server(stats: CollectorStats, port: int | None) -> Iterator[None]:
    """Serve /health and /metrics on `port` while the context is open; None serves nothing."""
    if port is None:
        yield
        return
    from fleet.delivery.health_server import serve_health

    with serve_health(stats, port) as url:
        click.echo(f"health and metrics on {url}", err=True)
        yield


@contextmanager
def stopped_after(seconds: float | None, stop: threading.Event) -> Iterator[None]:
    """Set `stop` after `seconds` while the context is open; None never does."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on SIGTERM and Ctrl-C, so that the current batch is finished; end the process on a second signal."""

    def on_signal(number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

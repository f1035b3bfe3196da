"""The work of `fleet collect` on a terminal: what is swept where, how it goes, and what came of it."""

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

import click

from fleet.delivery.bisecting_delivery import BisectingDelivery
from fleet.delivery.collector import Collector
from fleet.delivery.leases import Leases
from fleet.delivery.report import ProgressReporter, group_by_error, shorten_names, summary_lines
from fleet.delivery.state import STATE_FOLDER, CollectorState
from fleet.delivery.stats import CollectorStats
from fleet.delivery.sweep_database import SweepContext
from fleet.delivery.targets.registry import TargetOptions, open_target, utc_now
from fleet.errors import UserError


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """What the command line says."""

    directory: Path
    target: str
    batch_size: int = 1_000
    workers: int = 4
    interval: float | None = None
    max_runtime: float | None = None
    state: Path | None = None
    cursor: bool = False
    retry_dead: bool = False
    gzip: bool = False
    health_port: int | None = None
    as_json: bool = False


def collect_readings(given: CollectOptions) -> int:
    """Sweep until it is time to stop, and print a summary. The exit code is 0 if nothing stood in the way at the end."""
    if not given.directory.is_dir():
        raise UserError(f"--data-dir: {given.directory} is not a directory")
    stop = threading.Event()
    target = open_target(given.target, TargetOptions(gzip=given.gzip, stop=stop))
    folder = given.state or given.directory / STATE_FOLDER
    with closing(target), closing(CollectorState(folder, target.name)) as state, stopped_by_signals(stop):
        leases = Leases(folder if given.cursor else None)
        stats = CollectorStats()
        marking, size = not given.cursor, given.batch_size
        context = SweepContext(target, state, leases, stats, stop, utc_now, size, marking, retry_dead=given.retry_dead)
        begun = time.monotonic()
        with ProgressReporter(stats) as progress, health_server(stats, given.health_port):
            collector = Collector(given.directory, context, given.workers, progress.show)
            with stopped_after(given.max_runtime, stop):
                run_collector(collector, given.interval)
        seconds = time.monotonic() - begun
    report_refused_history(context.delivery)
    failing = stats.failing()
    if given.as_json:
        accounts = [{**asdict(database), "found": database.found} for database in stats.databases.values()]
        click.echo(
            json.dumps(
                {"ok": not failing, "seconds": seconds, "unfinished": stats.unfinished, "databases": accounts}, indent=2
            )
        )
    else:
        for line in summary_lines(stats, target.name, seconds):
            click.echo(line)
    code = 1 if failing else 0
    if collector.abandoned:  # a thread still waits for the target, and would be waited for
        sys.stdout.flush()
        os._exit(code)
    return code


def report_refused_history(delivery: BisectingDelivery) -> None:
    """Tell of the history that the target would not take: the readings are there, but not all that belongs to them."""
    if not delivery.history_supported:
        click.echo("fleet collect: the target refuses episodes and epochs, and got readings alone", err=True)
        return
    for error, names in group_by_error(delivery.rejected_history).items():
        click.echo(f"fleet collect: left out: {shorten_names(names)}: {error}", err=True)


def run_collector(collector: Collector, interval: float | None) -> None:
    try:
        collector.run(interval)
    except OSError as error:
        raise UserError(f"--data-dir: {error.filename}: {error.strerror}") from error


@contextmanager
def health_server(stats: CollectorStats, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from fleet.delivery.health_server import serve_health

    with serve_health(stats, port) as url:
        click.echo(f"health and metrics on {url}", err=True)
        yield


@contextmanager
def stopped_after(seconds: float | None, stop: threading.Event) -> Iterator[None]:
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
    """SIGTERM and Ctrl-C end the batch that is under way and then the collector; a second one ends it at once."""

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

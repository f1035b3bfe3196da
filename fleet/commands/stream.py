"""`fleet stream`: write readings as lines of JSON while they are made, without a data directory."""

from __future__ import annotations

import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

import click
from click.core import ParameterSource

from fleet.commands.collect import stopped_by_signals
from fleet.commands.console import discard_output
from fleet.commands.options import MAX_SENSORS, IntegerParam, PathParam, kind_overrides, parameter_name
from fleet.durations import parse_duration
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.standard_output import kept_for_readings

if TYPE_CHECKING:
    from fleet.config.config import Config
    from fleet.streaming.stream import StreamStats

STDOUT = Path("-")
REPORT_SECONDS = 5.0
MAX_RATE = 1_000_000
"""Times have microseconds."""
MAX_SENSOR_RATE = 100_000
MAX_JOBS = 64
RETRY_SECONDS = 2.0
"""Seconds for which a delivery is tried again before the stream is said to wait."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What determines a stream, beside its sensors: `total` readings, None for no end, and how it is run."""

    seed: int
    rate: Fraction
    start_us: int
    total: int | None
    throttled: bool
    report_seconds: float


class RateParam(click.ParamType[Fraction]):
    """Records a second, such as 10000, 0.5, 1/min or every 15m."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        from fleet.validation.rates import RATE_FORMS, rate_of_text

        text = str(value).strip()
        try:
            rate = Fraction(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) else rate_of_text(text)
        except ValueError as error:
            raise UserError(f"{parameter_name(param)}: {escape_short(text)} {error}") from None
        if rate is not None and 0 < rate <= MAX_RATE:
            return rate
        raise UserError(
            f"{parameter_name(param)}: {escape_short(text)!r} is not a number of records a second, above 0 and at most "
            f"{MAX_RATE}, nor {RATE_FORMS}; --unthrottled writes as fast as it can"
        )


class RunTimeParam(click.ParamType[Fraction]):
    """A duration such as 30s; 0 is without an end."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        text = str(value).strip()
        if re.fullmatch(r"0+(\.0+)?(ms|[dhms])?", text):
            return Fraction(0)
        return Fraction(str(parse_duration(text, parameter_name(param))))


@click.command()
@click.option(
    "-o",
    "output",
    type=PathParam(),
    metavar="FILE",
    default="output.jsonl",
    show_default=True,
    help="Where to write; - is standard output.",
)
@click.option(
    "--to",
    "target",
    metavar="TARGET",
    help="Deliver the records there instead, as `fleet collect --to` does; a target that is away holds up the stream.",
)
@click.option(
    "--record",
    metavar="NAME",
    help="With --to: the shape of the records, as for `fleet collect`. Default: pipeline for that kind, else row.",
)
@click.option(
    "-rate",
    "--rate",
    "rate",
    type=RateParam(),
    metavar="N",
    default="10000",
    show_default=True,
    help="Records per second of all sensors together; or 1/min, every 15m.",
)
@click.option(
    "-d",
    "duration",
    type=RunTimeParam(),
    metavar="DURATION",
    help="Write the records of 30s, 5m, 1h30m ... Default, and with 0: until Ctrl-C.",
)
@click.option("-v", "verbose", is_flag=True, help="Print statistics on stderr every 5 seconds.")
@click.option("-append", "--append", "append", is_flag=True, help="Write behind what the file has already.")
@click.option(
    "--kind",
    multiple=True,
    metavar="NAME[=WEIGHT]",
    help="Kind of sensor, or a file that describes one. Several mix by weight. Default: pipeline.",
)
@click.option("--sensors", type=IntegerParam(1, MAX_SENSORS), default=100, show_default=True, help="How many sensors.")
@click.option("--seed", metavar="S", help="The same seed gives the same sensors, with --start the same bytes.")
@click.option("--start", metavar="TIME", help="Time of the first record, such as 2026-01-01T00:00:00Z. Default: now.")
@click.option("--unthrottled", is_flag=True, help="Do not wait until a record is due; --rate gives the times alone.")
@click.option(
    "--jobs", type=IntegerParam(1, MAX_JOBS), default=1, show_default=True, help="How many processes make the records."
)
def stream(output: Path, rate: Fraction, target: str | None, record: str | None, **flags: Any) -> int:
    """Write records of simulated sensors as lines of JSON, or deliver them to a target, without a data directory.

    A sensor of the kind pipeline has records for pipeline monitors, any other the columns of its database.
    """
    if target is not None:
        check_to(flags)
    elif record is not None:
        raise click.UsageError("--record goes with --to, whose records it is for")
    config, duration = stream_config(rate, flags), flags["duration"]
    plan = StreamPlan(
        seed=secrets.randbelow(1 << 32) if config.simulation.seed is None else config.simulation.seed,
        rate=rate,
        start_us=start_time(config),
        total=-(-duration * rate // 1) if duration else None,
        throttled=not flags["unthrottled"],
        report_seconds=REPORT_SECONDS if flags["verbose"] else float("inf"),
    )
    if target is not None:
        return send_stream(config, plan, target, record)
    return write_stream(config, plan, output, append=flags["append"], jobs=flags["jobs"])


def write_stream(config: Config, plan: StreamPlan, output: Path, *, append: bool, jobs: int) -> int:
    """Write the stream to a file."""
    from fleet.streaming.jobs import run_jobs
    from fleet.streaming.sensors import stream_sensors
    from fleet.streaming.stream import StreamReadings, StreamWriter

    sensors = stream_sensors(config, plan.seed)
    stop = threading.Event()
    try:
        with opened(output, append=append) as file, stopped_by_signals(stop):
            readings = StreamReadings(sensors, plan.seed, plan.rate, plan.start_us, throttled=plan.throttled)
            writer = StreamWriter(readings, file, plan.total, stop, print_progress, plan.report_seconds)
            if jobs == 1:
                stats = writer.run(plan.rate, throttled=plan.throttled)
            else:
                stats = run_jobs(jobs, writer, plan.rate, throttled=plan.throttled)
    except BrokenPipeError:  # `| head`: click would make it the exit code 1
        discard_output()
        return 0
    print_final_block(stats, plan.seed)
    return 0


def check_to(flags: Mapping[str, Any]) -> None:
    """UsageError if options contradict --to."""
    context = click.get_current_context()
    if context.get_parameter_source("output") is ParameterSource.COMMANDLINE:
        raise click.UsageError("-o and --to both say where the records go: leave one of them out", context)
    if flags["append"]:
        raise click.UsageError("--append goes with -o: a target of --to is continued in any case", context)
    if flags["jobs"] > 1:
        raise click.UsageError("--jobs goes with -o: one process delivers to a target", context)


def send_stream(config: Config, plan: StreamPlan, to: str, record_name: str | None) -> int:
    """Deliver the stream to a target. Returns 1 if some of its records were refused, or could not be delivered at the end."""
    from fleet.delivery.records.registry import TABLE_SCHEMES, record_for
    from fleet.delivery.targets.registry import TargetOptions, open_target
    from fleet.streaming.rows import StreamRows
    from fleet.streaming.sender import Destination, StreamSender
    from fleet.streaming.sensors import stream_sensors
    from fleet.target_urls import resolve_target
    from worker.schedule import format_time

    url, stop = resolve_target(to, os.environ).url, threading.Event()
    if record_name is None and config.sensor_types == ("pipeline",) and not url.startswith(TABLE_SCHEMES):
        record_name = "pipeline"
    record = record_for(url, record_name)

    def warn(text: str) -> None:
        click.echo(f"fleet stream: {text}", err=True)

    with TemporaryDirectory() as folder, kept_for_readings([url]), stopped_by_signals(stop):
        options = TargetOptions(record=record, stop=stop, retry_seconds=RETRY_SECONDS, folder=Path(folder))
        sensors = stream_sensors(config, plan.seed)
        rows = StreamRows(sensors, plan.seed, plan.rate, plan.start_us, throttled=plan.throttled)
        with closing(open_target(to, options)) as target:
            destination = Destination(target, record, warn)
            sender = StreamSender(rows, destination, plan.total, stop, print_progress, plan.report_seconds)
            sender.run(plan.rate, throttled=plan.throttled)
            sender.finish()
    print_final_block(sender.stats, plan.seed)
    if not sender.complete:
        warn(
            f"not everything was delivered: the same command with --seed {plan.seed} --start {format_time(plan.start_us)} "
            "begins again, with the same keys"
        )
    return 1 if not sender.complete or sender.stats.refused else 0


def stream_config(rate: Fraction, flags: Mapping[str, Any]) -> Config:
    """Return the config of the flags. Raises UserError."""
    from fleet.config.config import SourcedValue, load_config

    each = rate / flags["sensors"]
    if each > MAX_SENSOR_RATE:
        raise UserError(
            f"--rate: {float(rate):g} records a second of {flags['sensors']} sensors are more than {MAX_SENSOR_RATE} each; "
            f"take --sensors {-(-rate // MAX_SENSOR_RATE)}"
        )
    return load_config(
        None,
        os.environ,
        {
            "replicas.count": SourcedValue(flags["sensors"], "--sensors"),
            "simulation.readings_per_second": SourcedValue(f"{each.numerator}/{each.denominator}s", "--rate"),
            "simulation.seed": SourcedValue(flags["seed"], "--seed"),
            "simulation.start": SourcedValue(flags["start"], "--start"),
            **kind_overrides(flags["kind"] or ("pipeline",)),
        },
    )


def start_time(config: Config) -> int:
    """Return the time of the first record, microseconds since 1970."""
    from fleet.runtime.simulation_clock import iso_to_microseconds

    start = config.simulation.start
    return time.time_ns() // 1000 if start is None else iso_to_microseconds(start)


@contextmanager
def opened(path: Path, *, append: bool) -> Iterator[BinaryIO]:
    """Open the output. UserError if it cannot be written."""
    if path == STDOUT:
        yield sys.stdout.buffer
        return
    try:
        file = path.open("ab" if append else "wb")
        if append and not ends_with_line(path):
            file.write(b"\n")
    except OSError as error:
        raise UserError(f"-o: {escape_short(str(path))} cannot be written: {error.strerror}") from None
    with file:
        yield file


def ends_with_line(path: Path) -> bool:
    """Return whether a regular file is empty or ends with a whole line: a program that was killed may have left a part."""
    if not path.is_file() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def print_progress(stats: StreamStats) -> None:
    click.echo(
        f"{stats.seconds:.0f} s: {stats.records:,} records, {stats.records_per_second:,.0f}/s, "
        + (f"{stats.written_bytes / 1e6:,.1f} MB, " if stats.written_bytes else "")
        + f"{stats.anomalies:,} anomalies",
        err=True,
    )


def print_final_block(stats: StreamStats, seed: int) -> None:
    share = f" ({stats.anomalies / stats.records:.1%})" if stats.records else ""
    for name, value in {
        "records": f"{stats.records:,}",
        "seconds": f"{stats.seconds:,.1f}",
        "records/s": f"{stats.records_per_second:,.0f}",
        **({"bytes": f"{stats.written_bytes:,}"} if stats.written_bytes else {}),
        **({"refused": f"{stats.refused:,}"} if stats.refused else {}),
        "anomalies": f"{stats.anomalies:,}{share}",
        "seed": str(seed),
    }.items():
        click.echo(f"{name:10} {value}", err=True)

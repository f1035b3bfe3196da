"""`fleet export`: write the readings of a data directory to files for other programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet.commands.options import Completion, DurationParam, IntegerParam, PathParam
from fleet.commands.verify import progress_bar
from fleet.errors import UserError
from fleet.escaping import escape_short

if TYPE_CHECKING:
    from fleet.history.export import ExportOptions, ExportResult
    from fleet.history.selection import Selection

FORMATS = ("csv", "jsonl", "parquet", "arrow")
LAYOUTS = ("long", "wide")
SPLITS = ("all", "sensor", "day")
TIMES = ("text", "timestamp", "s", "ms", "us")
MISSING = ("omit", "null", "held")
AGGREGATES = ("mean", "min", "max", "first", "last")
MAX_JOBS = 64


class ChoiceParam(click.ParamType[str]):
    """One of some words."""

    name = "choice"

    def __init__(self, *words: str) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in self._words:
            return str(value)
        flag = max(param.opts, key=len) if param else "value"
        raise UserError(f"{flag}: {escape_short(str(value))!r} is not one of {', '.join(self._words)}")

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        return [click.shell_completion.CompletionItem(word) for word in self._words if word.startswith(incomplete)]


class MomentParam(click.ParamType[int]):
    """A time such as 2026-01-01 or 2026-01-01T12:00:00Z, in microseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from fleet.runtime.simulation_clock import iso_to_microseconds

        try:
            return value if isinstance(value, int) else iso_to_microseconds(str(value).strip())
        except (ValueError, OverflowError):
            flag = max(param.opts, key=len) if param else "value"
            raise UserError(
                f"{flag}: {escape_short(str(value))!r} is not a time such as 2026-01-01 or 2026-01-01T12:00:00Z"
            ) from None


class NamesParam(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(dict.fromkeys(name.strip() for name in str(value).split(",") if name.strip()))


@click.command()
@click.argument("data", type=PathParam(), default="data", metavar="[DATA]")
@click.option(
    "-o", "output", type=PathParam(), metavar="DIR", default="export", show_default=True, help="A new folder."
)
@click.option(
    "--format",
    "file_format",
    type=ChoiceParam(*FORMATS),
    metavar="NAME",
    default="csv",
    show_default=True,
    help="csv, jsonl, parquet or arrow; the last two need the extra `parquet`.",
)
@click.option("--from", "start_us", type=MomentParam(), metavar="TIME", help="From the readings that are due then on.")
@click.option("--to", "end_us", type=MomentParam(), metavar="TIME", help="Only readings that are due before.")
@click.option(
    "--sensors",
    type=NamesParam(),
    metavar="ID,...",
    multiple=True,
    shell_complete=Completion("sensor_id"),
    help="Only these sensors.",
)
@click.option("--kind", type=NamesParam(), metavar="NAME,...", multiple=True, help="Only sensors of these kinds.")
@click.option(
    "--columns",
    type=NamesParam(),
    metavar="NAME,...",
    multiple=True,
    help="Only these columns, with timestamp and sensor_id. Default: all; the channels if the layout is wide.",
)
@click.option(
    "--every",
    type=DurationParam(),
    metavar="DURATION",
    help="Resample: one row for the readings of each 1m, 1h ...",
)
@click.option(
    "--aggregate",
    type=ChoiceParam(*AGGREGATES),
    metavar="HOW",
    default="mean",
    show_default=True,
    help="With --every: the mean, min, max, first or last of the numbers.",
)
@click.option(
    "--layout",
    type=ChoiceParam(*LAYOUTS),
    metavar="HOW",
    default="long",
    show_default=True,
    help="long: a row for each reading. wide: a row for each time, with columns SENSOR.CHANNEL.",
)
@click.option(
    "--time",
    "times",
    type=ChoiceParam(*TIMES),
    metavar="HOW",
    help="text, timestamp (a type for times, UTC), or a number since 1970: s, ms, us. "
    "Default: text, timestamp in Parquet and Arrow.",
)
@click.option(
    "--missing",
    type=ChoiceParam(*MISSING),
    metavar="HOW",
    default="omit",
    show_default=True,
    help="Missing readings are left out (omit), rows of NULL (null), or held at the values before (held).",
)
@click.option(
    "--split",
    type=ChoiceParam(*SPLITS),
    metavar="HOW",
    default="all",
    show_default=True,
    help="One file for all, for each sensor, or for each day (UTC).",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@click.option(
    "--jobs",
    type=IntegerParam(1, MAX_JOBS),
    metavar="N",
    help="Processes that work at the same time. Default: one for each core.",
)
def export(data: Path, output: Path, **flags: Any) -> int:
    """Write readings to CSV, JSON, Parquet or Arrow, with episodes, epochs and identities.

    A fleet may be running there. The folder has a README and a datapackage.json, which describe its files.
    """
    from fleet.history.export import export as export_readings
    from fleet.history.stored import read_histories

    selection, options = selection_of(flags), options_of(flags)
    histories = read_histories(data)
    with progress_bar("exporting") as on_progress:
        result = export_readings(histories, selection, options, output, str(data), on_progress)
    click.echo(describe(result, output))
    return 0


def selection_of(flags: dict[str, Any]) -> Selection:
    from fleet.history.selection import Selection

    if flags["start_us"] is not None and flags["end_us"] is not None and flags["start_us"] >= flags["end_us"]:
        raise UserError("--from: is not before --to")
    return Selection(
        joined(flags["sensors"]),
        joined(flags["kind"]),
        flags["start_us"],
        flags["end_us"],
        joined(flags["columns"]) or None,
    )


def joined(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for names in lists for name in names)


def options_of(flags: dict[str, Any]) -> ExportOptions:
    from fleet.history.export import ExportOptions
    from fleet.history.rows import RowOptions

    if flags["layout"] == "wide" and flags["split"] == "sensor":
        raise UserError("--layout: wide has all sensors in a row, so --split is all or day")
    every = flags["every"]
    if every is None and flags["aggregate"] != "mean":
        raise UserError("--aggregate: goes with --every, whose intervals it is for")
    rows = RowOptions(flags["missing"], None if every is None else round(every * 1_000_000), flags["aggregate"])
    return ExportOptions(
        flags["file_format"],
        flags["layout"],
        flags["split"],
        flags["times"],
        rows,
        flags["jobs"] or core_count(),
        flags["overwrite"],
    )


def describe(result: ExportResult, output: Path) -> str:
    files = "1 file" if result.files == 1 else f"{result.files:,} files"
    sensors = "1 sensor" if result.sensors == 1 else f"{result.sensors:,} sensors"
    return f"{result.rows:,} rows of {sensors} in {files}, {result.bytes / 1e6:,.1f} MB: {output}"


def core_count() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1

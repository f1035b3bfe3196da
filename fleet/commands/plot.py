"""`fleet plot`: draw the readings of sensors into a file, or in the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet.commands.options import (
    DATA_OPTION,
    Completion,
    DurationParam,
    PathParam,
    TimeParam,
    complete_channel,
)
from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.plots.selection import PlotRange, PlottedFleet

FORMATS = (".png", ".svg", ".html")
WIDTH_INCHES = 11.0
POINTS = 1200
"""Points of a channel in a file: one for a pixel of a PNG."""

DEFAULT_COLUMNS, MIN_COLUMNS, MAX_COLUMNS = 80, 40, 240


@click.command()
@click.argument("sensors", nargs=-1, metavar="[SENSOR]...", shell_complete=Completion("sensor_id"))
@DATA_OPTION
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="C",
    shell_complete=complete_channel,
    help="Only this channel; several times for several. Default: all.",
)
@click.option("--last", type=DurationParam(), metavar="TIME", help="Only the last 10m, 1h, 2d ... that are recorded.")
@click.option("--from", "start", type=TimeParam(), metavar="TIME", help="Begin at this time.")
@click.option("--to", "end", type=TimeParam(), metavar="TIME", help="End before this time.")
@click.option(
    "-o", "output", type=PathParam(), metavar="FILE", help="Where to: a file that ends in .png, .svg or .html."
)
@click.option("--terminal", is_flag=True, help="Draw in the terminal, as without -o.")
def plot(
    sensors: tuple[str, ...],
    data: Path,
    channels: tuple[str, ...],
    output: Path | None,
    terminal: bool,
    **of_range: Any,
) -> int:
    """Plot the channels of sensors, with anomalies shaded and the signal without them beside.

    SENSOR defaults to the first sensor of each kind. Where there are more readings than a plot has room for, each point
    is drawn from the lowest to the highest of its readings, so that a spike of one reading shows.
    """
    if output is not None and output.suffix.lower() not in FORMATS:
        raise UserError(f"-o: {output} does not end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    from fleet.plots.selection import read_plot

    wanted = plot_range(**of_range)
    if output is not None:
        write_plot(read_plot(data, sensors, channels, wanted, POINTS), output)
    if output is None or terminal:
        from fleet.plots.terminal import terminal_points

        columns = terminal_columns()
        show_plot(read_plot(data, sensors, channels, wanted, terminal_points(columns)), columns)
    return 0


def plot_range(start: int | None, end: int | None, last: float | None) -> PlotRange:
    """Return the range that the options name. UsageError and UserError for one that there is not."""
    from fleet.plots.selection import PlotRange

    if last is not None and (start is not None or end is not None):
        raise click.UsageError("--last does not go with --from and --to", click.get_current_context())
    if start is not None and end is not None and start >= end:
        raise UserError("--to: is not after --from")
    return PlotRange(start, end, last)


def write_plot(plotted: PlottedFleet, output: Path) -> None:
    """Write a plot to a file. UserError if matplotlib is missing, or the file cannot be written."""
    from fleet.plots.figure import Layout, draw_figure
    from fleet.plots.files import plot_file

    names = ", ".join(points.sensor_id for points in plotted.sensors)
    figure = draw_figure(plotted.sensors, Layout(WIDTH_INCHES, plotted.start_us, plotted.end_us))
    content = plot_file(figure, output.suffix.lower().removeprefix("."), f"Readings of {names}")
    try:
        output.write_bytes(content)
    except OSError as error:
        raise UserError(f"-o: {output}: cannot be written: {error.strerror}") from error
    click.echo(f"{output}: {names}" + (f" ({plotted.note})" if plotted.note else ""))


def show_plot(plotted: PlottedFleet, columns: int) -> None:
    """Print a plot in the terminal; without colours where stdout is none."""
    from rich.console import Console

    from fleet.plots.terminal import terminal_lines

    console = Console(width=columns, highlight=False)
    for line in terminal_lines(plotted.sensors, columns, plotted.start_us, plotted.end_us):
        console.print(line, no_wrap=True, overflow="crop")
    if plotted.note:
        click.echo(plotted.note, err=True)


def terminal_columns() -> int:
    """Return the width of a plot in the terminal."""
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return DEFAULT_COLUMNS
    return min(max(columns, MIN_COLUMNS), MAX_COLUMNS)

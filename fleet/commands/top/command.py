"""`fleet top`: its flags."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fleet.commands.options import DATA_OPTION, Completion, channel_names
from fleet.commands.running_fleet import running_directory
from fleet.errors import UserError


def column_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a column: those of every fleet, and the channels of the fleet of `--data`."""
    from fleet.commands.top.table import COLUMNS_AFTER_CHANNELS, COLUMNS_BEFORE_CHANNELS

    fixed = [column.name for column in (*COLUMNS_BEFORE_CHANNELS, *COLUMNS_AFTER_CHANNELS)]
    return [name for name in (*fixed, *channel_names(context)) if name.startswith(incomplete)]


@click.command()
@click.option(
    "--sort",
    metavar="COLUMN",
    default="sensor",
    shell_complete=column_names,
    help="The column to sort by first, such as state, `lag s` or the name of a channel.",
)
@click.option(
    "--filter",
    "filter_text",
    metavar="TEXT",
    default="",
    shell_complete=Completion("sensor_id", "location", "firmware_version"),
    help="Only sensors with this text in one of their columns.",
)
@click.option(
    "--kind",
    metavar="K",
    default="",
    shell_complete=Completion("sensor_type"),
    help="Only sensors of a kind, such as environmental.",
)
@DATA_OPTION
def top(sort: str, filter_text: str, kind: str, data: Path) -> int:
    """Show the sensors of the running fleet, once a second; if stdout is not a terminal, once.

    Keys: q quits; ? shows all keys; up, down, page up and down, home and end move the cursor, left and right the columns;
    s sorts by the next column, S reverses the order; / filters, k shows one kind of sensor, escape all; p pauses the sensor under the
    cursor, r resumes it, i injects an anomaly.
    """
    from fleet.commands.top.screen import Screen
    from fleet.commands.top.view import ViewState
    from fleet.monitoring.observation import FleetUnavailable

    directory = running_directory(data)
    try:
        screen = Screen(directory, ViewState(sort=sort, filter_text=filter_text, kind=kind))
        if sys.stdout.isatty() and screen.supports_drawing:
            return screen.run()
        screen.print()
    except FleetUnavailable as error:
        raise UserError(str(error)) from error
    return 0

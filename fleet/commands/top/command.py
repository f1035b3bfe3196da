"""`fleet top`: its flags."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fleet.commands.options import DATA_OPTION
from fleet.commands.running_fleet import running_directory
from fleet.errors import UserError
from fleet.escaping import escape_short

DEFAULT_WIDTH_CELLS = 132
"""Width of a line where stdout is not a terminal."""


@click.command()
@click.option(
    "--sort", metavar="COLUMN", default="sensor", help="The column to sort by first, such as state or `lag s`."
)
@click.option(
    "--filter", "filter_text", metavar="TEXT", default="", help="Only sensors with this text in one of their columns."
)
@DATA_OPTION
def top(sort: str, filter_text: str, data: Path) -> int:
    """Show the sensors of the running fleet, once a second; if stdout is not a terminal, once.

    Keys: q quits; arrows, page up and down, home and end move the cursor; s sorts by the next column, S reverses the
    order; / filters, escape removes the filter; p pauses the sensor under the cursor, r resumes it, i injects an anomaly.
    """
    from fleet.commands.top.screen import Screen
    from fleet.commands.top.table import COLUMN_NAMES, ViewState
    from fleet.monitoring.observation import FleetUnavailable

    if sort not in COLUMN_NAMES:
        raise UserError(f"--sort: {escape_short(sort)} is not one of {', '.join(COLUMN_NAMES)}")
    directory = running_directory(data)
    try:
        screen = Screen(directory, ViewState(sort=COLUMN_NAMES.index(sort), filter_text=filter_text))
        if sys.stdout.isatty() and screen.supports_drawing:
            return screen.run()
        screen.print(DEFAULT_WIDTH_CELLS)
    except FleetUnavailable as error:
        raise UserError(str(error)) from error
    return 0

"""`fleet top`: the overview of a running fleet in a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.commands.options import DATA_OPTION
from fleet.errors import UserError
from fleet.escaping import escape_short

if TYPE_CHECKING:
    from fleet.datadir.directory import DataDirectory

DEFAULT_WIDTH_CELLS = 132
"""Cells of a line where nobody says how wide it may be."""


@click.command()
@click.option("--sort", metavar="COLUMN", default="sensor", help="The column to begin with, such as state or `lag s`.")
@click.option(
    "--filter", "filter_text", metavar="TEXT", default="", help="Only sensors with this in one of their texts."
)
@DATA_OPTION
def top(sort: str, filter_text: str, data: Path) -> int:
    """Show the sensors of the running fleet, once a second; on something that is no terminal, once.

    Keys: q ends it, arrows, page up and down, home and end move, s sorts by the next column, S the other way round,
    / filters (escape takes it back), p pauses the sensor under the cursor, r resumes it, i injects an anomaly into it.
    """
    from fleet.commands.top.sheet import COLUMN_NAMES
    from fleet.datadir.directory import DataDirectory
    from fleet.monitoring.observation import FleetUnavailable

    if sort not in COLUMN_NAMES:
        raise UserError(f"--sort: {escape_short(sort)} is not one of {', '.join(COLUMN_NAMES)}")
    directory = DataDirectory(data)
    if directory.holder() is None:
        raise UserError(f"{data}: no fleet is running here")
    try:
        return show(directory, COLUMN_NAMES.index(sort), filter_text)
    except FleetUnavailable as error:
        raise UserError(str(error)) from error


def show(directory: DataDirectory, sort: int, filter_text: str) -> int:
    from fleet.commands.top.screen import Screen
    from fleet.commands.top.view import ViewState

    screen = Screen(directory, ViewState(sort=sort, filter_text=filter_text))
    if sys.stdout.isatty() and screen.supports_drawing:
        return screen.run()
    screen.print(DEFAULT_WIDTH_CELLS)
    return 0

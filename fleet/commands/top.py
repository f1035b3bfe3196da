"""`fleet top`: the overview of a running fleet in a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.commands.flags import DATA
from fleet.errors import UserError
from fleet.quotes import legible

if TYPE_CHECKING:
    from fleet.storage.data_directory import DataDirectory

WIDTH = 132
"""Cells of a line where nobody says how wide it may be."""


@click.command()
@click.option("--sort", metavar="COLUMN", default="sensor", help="The column to begin with, such as state or `lag s`.")
@click.option("--filter", "wanted", metavar="TEXT", default="", help="Only sensors with this in one of their texts.")
@DATA
def top(sort: str, wanted: str, data: Path) -> int:
    """Show the sensors of the running fleet, once a second; on something that is no terminal, once.

    Keys: q ends it, arrows, page up and down, home and end move, s sorts by the next column, S the other way round,
    / filters (escape takes it back), p pauses the sensor under the cursor, r resumes it, i injects an anomaly into it.
    """
    from fleet.commands.top_sheet import NAMES
    from fleet.storage.data_directory import DataDirectory
    from fleet.web.observation import NoFleet

    if sort not in NAMES:
        raise UserError(f"--sort: {legible(sort)} is not one of {', '.join(NAMES)}")
    directory = DataDirectory(data)
    if directory.holder() is None:
        raise UserError(f"{data}: no fleet is running here")
    try:
        return show(directory, NAMES.index(sort), wanted)
    except NoFleet as error:
        raise UserError(str(error)) from error


def show(directory: DataDirectory, sort: int, wanted: str) -> int:
    from fleet.commands.top_screen import Screen
    from fleet.commands.top_view import View

    screen = Screen(directory, View(sort=sort, wanted=wanted))
    if sys.stdout.isatty() and screen.capable:
        return screen.run()
    screen.print(WIDTH)
    return 0

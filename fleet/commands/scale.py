"""`fleet scale`: change the number of sensors of the running fleet."""

from __future__ import annotations

from pathlib import Path

import click

from fleet.commands.options import DATA_OPTION, MAX_SENSORS, IntegerParam
from fleet.commands.running_fleet import ask_fleet


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a count, though a bad one
@click.argument("count", type=IntegerParam(1, MAX_SENSORS))
@DATA_OPTION
def scale(count: int, data: Path) -> int:
    """Grow or shrink the running fleet to COUNT sensors."""
    answer = ask_fleet(data, command="scale", count=count)
    click.echo(f"scaled from {answer['before']} to {answer['count']} sensors")
    return 0

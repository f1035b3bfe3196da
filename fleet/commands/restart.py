"""`fleet restart`: restart the worker of one sensor."""

from __future__ import annotations

from pathlib import Path

import click

from fleet.commands.options import DATA_OPTION, Completion
from fleet.commands.running_fleet import ask_fleet


@click.command()
@click.argument("sensor", shell_complete=Completion("sensor_id"))
@DATA_OPTION
def restart(sensor: str, data: Path) -> int:
    """Restart the worker of a sensor, also one that has failed."""
    answer = ask_fleet(data, command="restart", sensor=sensor)
    click.echo(f"restarting {answer['worker']}")
    return 0

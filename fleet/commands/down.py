"""`fleet down`: stop the running fleet."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fleet.commands.options import DATA_OPTION, DurationParam
from fleet.commands.running_fleet import ask_fleet
from fleet.errors import UserError

POLL_INTERVAL_SECONDS = 0.05


@click.command()
@DATA_OPTION
@click.option(
    "--timeout", type=DurationParam(), default="60s", show_default=True, help="How long to wait for it to end."
)
def down(data: Path, timeout: float) -> int:
    """Stop the running fleet after committing every reading that is due."""
    from fleet.datadir.directory import DataDirectory

    directory = DataDirectory(data)
    pid = ask_fleet(data, command="down")["pid"]
    deadline = time.monotonic() + timeout
    while directory.holder() is not None:
        if time.monotonic() > deadline:
            raise UserError(f"{data}: the fleet (pid {pid}) has not ended within {timeout:g} s")
        time.sleep(POLL_INTERVAL_SECONDS)
    click.echo(f"{data}: the fleet has ended")
    return 0

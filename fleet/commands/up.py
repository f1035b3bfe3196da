"""`fleet up`: start a fleet and run it until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet.commands.options import (
    CONFIG_FILE_OPTION,
    CONFIG_KEY_OPTIONS,
    DATA_OPTION,
    RECORD_OPTION,
    PathParam,
    add_options,
    config_overrides,
)


@click.command()
@add_options(CONFIG_FILE_OPTION, *CONFIG_KEY_OPTIONS, DATA_OPTION)
@click.option("--identities", type=PathParam(), metavar="DIR", help="Folder of identity files. Default: in --data.")
@click.option(
    "--to",
    multiple=True,
    metavar="TARGET",
    help="Deliver the readings there while the fleet runs, as `fleet collect --to` does; several times for several targets. "
    "env:NAME or file:PATH for a URL with a password.",
)
@RECORD_OPTION
@click.option("-d", "--detach", is_flag=True, help="Return as soon as all workers have committed.")
def up(config: Path | None, data: Path, identities: Path | None, detach: bool, **flags: Any) -> int:
    """Start a fleet and run it until it is stopped.

    It ends after --for, on Ctrl-C, or by `fleet down`; every reading that is due by then is committed first.
    """
    from fleet.commands.services import fleet_services
    from fleet.datadir.directory import DataDirectory
    from fleet.runtime.start import launch

    return launch(config, config_overrides(flags), DataDirectory(data), identities, fleet_services(), detach=detach)

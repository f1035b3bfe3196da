"""`fleet identities`: make identity files for sensors."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fleet.commands.options import (
    CONFIG_FILE_OPTION,
    KIND_OPTION,
    MAX_SENSORS,
    IntegerParam,
    PathParam,
    add_options,
    kind_overrides,
)


@click.group()
def identities() -> None:
    """Make identity files for sensors."""


@identities.command("mint")
@click.argument("count", type=IntegerParam(1, MAX_SENSORS))
@click.option("--out", type=PathParam(), metavar="DIR", required=True, help="Folder to write them to.")
@add_options(CONFIG_FILE_OPTION, KIND_OPTION)
@click.option("--seed", metavar="S", help="The same seed gives the same identities.")
@click.option("--prefix", metavar="P", help="Sensor ids P_000001, ... instead of ones after their city.")
def mint(
    count: int, out: Path, config: Path | None, kind: tuple[str, ...], seed: str | None, prefix: str | None
) -> int:
    """Write COUNT new identities, one file each, to a folder."""
    from fleet.config.config import SourcedValue, load_config
    from fleet.identities.provisioning import write_generated_identities

    flags = {"simulation.seed": SourcedValue(seed, "--seed"), "replicas.prefix": SourcedValue(prefix, "--prefix")}
    overrides: dict[str, object] = {key: flag for key, flag in flags.items() if flag.value is not None}
    if kind:
        overrides |= kind_overrides(kind)
    used_seed, warnings = write_generated_identities(out, load_config(config, os.environ, overrides), count)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{count} identities in {out}, seed {used_seed}")
    return 0

"""`fleet config`: check a config, show what is in force and where it comes from, print the schema."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fleet.commands.options import CONFIG_OPTIONS, PathParam, config_overrides


@click.group()
def config() -> None:
    """Check a config file, or show one."""


@config.command()
@click.argument("file", type=PathParam())
def check(file: Path) -> int:
    """Say whether FILE is a valid config."""
    from fleet.config.config import load_config

    load_config(file)
    click.echo(f"{file}: ok")
    return 0


def config_options(command: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(CONFIG_OPTIONS):
        command = option(command)
    return command


@config.command()
@click.argument("file", required=False, type=PathParam(), envvar="CONFIG_FILE")
@click.option("--origins", is_flag=True, help="Say behind each value where it comes from.")
@config_options
def show(file: Path | None, origins: bool, **flags: Any) -> int:
    """Print the config in force, with defaults, environment and the flags of `fleet up`.

    FILE is $CONFIG_FILE if it is left out, or the packaged fleet.yaml.
    """
    from fleet.config.config import load_config, to_yaml, yaml_with_origins

    given = config_overrides(flags)
    text = yaml_with_origins(file, os.environ, given) if origins else to_yaml(load_config(file, os.environ, given))
    click.echo(text, nl=False)
    return 0


@config.command()
def schema() -> int:
    """Print the JSON schema of a config."""
    from fleet.config.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
    return 0

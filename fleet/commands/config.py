"""`fleet config`: check a config, show the values in force and their origins, print the schema."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from fleet.commands.options import CONFIG_KEY_OPTIONS, PathParam, add_options, config_overrides


@click.group()
def config() -> None:
    """Check a config file, or show one."""


@config.command()
@click.argument("file", type=PathParam())
def check(file: Path) -> int:
    """Check that FILE is a valid config, and print all errors in it, one per line.

    Values that are valid and have no effect are warnings.
    """
    from fleet.config.effects import load_with_warnings
    from fleet.validation.issues import ConfigError

    try:
        loaded = load_with_warnings(file)
    except ConfigError as error:
        for line in error.lines():
            click.echo(line, err=True)
        return 1
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{file}: ok")
    return 0


@config.command()
@click.argument("file", required=False, type=PathParam(), envvar="CONFIG_FILE")
@click.option("--origins", is_flag=True, help="Add a comment to each value that names its origin.")
@add_options(*CONFIG_KEY_OPTIONS)
def show(file: Path | None, origins: bool, **flags: Any) -> int:
    """Print the config in force, with defaults, environment and the flags of `fleet up`.

    FILE defaults to $CONFIG_FILE, or else to the packaged fleet.yaml.
    """
    from fleet.config.config import load_config, to_yaml, yaml_with_origins

    overrides = config_overrides(flags)
    if origins:
        text = yaml_with_origins(file, os.environ, overrides)
    else:
        text = to_yaml(load_config(file, os.environ, overrides))
    click.echo(text, nl=False)
    return 0


@config.command()
def schema() -> int:
    """Print the JSON schema of a config."""
    from fleet.config.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
    return 0

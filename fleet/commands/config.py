"""`fleet config`: check a config, show the values in force and their origins, print the schema, list and copy examples."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from fleet.commands.options import CONFIG_KEY_OPTIONS, ConfigParam, PathParam, add_options, config_overrides
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.resources import packaged_configs


@click.group()
def config() -> None:
    """Check, show and begin config files."""


@config.command()
@click.argument("file", type=ConfigParam())
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
@click.argument("file", required=False, type=ConfigParam(), envvar="CONFIG_FILE")
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
    """Print the JSON schema of a config file, for an editor."""
    from fleet.config.schema import file_schema

    click.echo(json.dumps(file_schema(), indent=2, ensure_ascii=False))
    return 0


@config.command(name="list")
def list_configs() -> int:
    """List the packaged configs, which `-c NAME` uses and `fleet config init NAME` copies."""
    configs = packaged_configs()
    width = max(map(len, configs))
    for name, path in configs.items():
        click.echo(f"{name:<{width}}  {description(path)}")
    return 0


def description(path: Path) -> str:
    """Return the first comment of a config, without its mark."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


@config.command()
@click.argument(
    "name",
    default="fleet",
    shell_complete=lambda _context, _parameter, begun: [name for name in packaged_configs() if name.startswith(begun)],
)
@click.argument("file", required=False, type=PathParam())
def init(name: str, file: Path | None) -> int:
    """Copy the packaged config NAME to FILE, to be edited.

    NAME defaults to fleet, which has every option in it; FILE to NAME.yaml. A file that exists is not changed.
    """
    configs = packaged_configs()
    if name not in configs:
        raise UserError(f"NAME: {escape_short(name)} is not one of the packaged configs: {', '.join(configs)}")
    target = file or Path(f"{name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as copy:
            copy.write(configs[name].read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    click.echo(f"{target}: a copy of {name}; start it with `fleet up -c {target}`")
    return 0

"""The single worker, `python -m worker`: one sensor in the foreground, as in a container.

It is a fleet of one: a supervisor, the worker, the HTTP side. Its database is where `database.path` says, and may be
other single workers' too, also in other containers; what else it keeps is in a folder of its own beside it,
`workers/<sensor id>`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from fleet.commands.console import program_version, run_command_line
from fleet.commands.options import PathParam
from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.config.config import Config

CONFIG_FILES = ("config.yaml", "config/config.yaml")
IDENTITY_FILES = ("node_identity.json", "config/node_identity.json", "config/identity.json")
"""Where the two files are looked for if nobody says."""

DEFAULT_DATA_DIRECTORY = "data"
UNNAMED_DIRECTORY = "unnamed"
"""The folder of a worker whose sensor is minted: it keeps there who it is."""

STDOUT = "-"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    type=PathParam(),
    metavar="FILE",
    envvar="CONFIG_FILE",
    help=f"YAML config. Default: $CONFIG_FILE, else {' or '.join(CONFIG_FILES)} if it is there, else one reading/s.",
)
@click.option(
    "--identity",
    type=PathParam(),
    metavar="FILE",
    envvar="IDENTITY_FILE",
    help=f"Who the sensor is. Default: $IDENTITY_FILE, else {', '.join(IDENTITY_FILES)} if there, else it is minted.",
)
@click.option(
    "--data", type=PathParam(), metavar="DIR", help="Folder for the database and all else, in place of database.path's."
)
@click.option(
    "--generate-identity",
    "template",
    is_flag=False,
    flag_value=STDOUT,
    metavar="[FILE]",
    help="Print an identity to edit, or write it to FILE, and end.",
)
@click.option("--output-schema", "schema", is_flag=True, help="Print the schema of the database as JSON, and end.")
@click.option("--llm-docs", is_flag=True, help="Print the documentation for language models, and end.")
@click.version_option(program_version(), prog_name="worker")
def worker(
    config: Path | None, identity: Path | None, data: Path | None, template: str | None, schema: bool, llm_docs: bool
) -> int:
    """Run one simulated sensor in the foreground until simulation.run_time_seconds are over, SIGTERM or Ctrl-C.

    Whatever is due is committed first. SENSOR_ID, SENSOR_LOCATION, SENSOR_FIRMWARE, MONITORING_PORT and the like beat
    the config. `fleet up` runs many.
    """
    if schema:
        from fleet.datadir.database_schema import database_schema

        click.echo(json.dumps(database_schema(), indent=2))
        return 0
    if llm_docs:
        from fleet.commands.llm_page import llm_docs as text

        click.echo(text(), nl=False)
        return 0
    config = config or first_existing(CONFIG_FILES)
    if template is not None:
        return generate_identity(config, template)
    return run(config, identity or first_existing(IDENTITY_FILES), data)


def run(config: Path | None, identity: Path | None, data: Path | None) -> int:
    from fleet.commands.http_service import serve_http
    from fleet.datadir.directory import DataDirectory
    from fleet.runtime.start import launch

    for warning in replica_warnings(config):
        click.echo(f"warning: {warning}", err=True)
    one = single_sensor_overrides()
    settings = load_settings(config)
    folder = data or database_folder(settings.database.path)
    directory = DataDirectory(folder / "workers" / directory_name(settings, identity), folder)
    return launch(config, one, directory, identity, serve_http)


def single_sensor_overrides() -> dict[str, object]:
    """What makes a fleet of one out of any config. The layout is that in which `database.path` names the database."""
    from fleet.config.config import SourcedValue

    one = {"replicas.count": 1, "replicas.sensors_per_worker": 1, "replicas.database": "shared"}
    return {key: SourcedValue(value, "python -m worker") for key, value in one.items()}


def load_settings(config: Path | None) -> Config:
    from fleet.config.config import load_config

    return load_config(config, os.environ, single_sensor_overrides())


def first_existing(names: tuple[str, ...]) -> Path | None:
    return next((path for path in map(Path, names) if path.is_file()), None)


def database_folder(database: str) -> Path:
    """The folder of `database.path`; of a bare name, the same that a fleet has by default."""
    folder = Path(database).parent
    return Path(DEFAULT_DATA_DIRECTORY) if folder == Path() else folder


def directory_name(settings: Config, identity: Path | None) -> str:
    """The sensor's id where it is known before there is a sensor, else UNNAMED_DIRECTORY."""
    from fleet.identities.identities import read_identity

    given = read_identity(identity).sensor_id if identity else None  # a bad file is an error also where nobody needs it
    prefix, number = settings.replicas.prefix, settings.replicas.start_index
    return settings.sensor.id or given or (f"{prefix}_{number:06d}" if prefix else UNNAMED_DIRECTORY)


def replica_warnings(config: Path | None) -> Iterator[str]:
    """What a config asks for that only a fleet does."""
    from fleet.config.config import read_draft

    if config is not None:
        count = read_draft(config, {}, {}).get(("replicas", "count"))
        if str(count or "1") != "1":
            yield f"{config}: replicas.count is {count}, and this runs one sensor; `fleet up -c {config}` runs them all"


def generate_identity(config: Path | None, target: str) -> int:
    """An identity in the nested format, everything in it, of a sensor that has never been. UserError if FILE exists."""
    import secrets

    from fleet.catalogue.catalogue import load_catalogue
    from fleet.identities.generation import generator_for
    from fleet.identities.identities import identity_document

    settings = load_settings(config)
    seed = secrets.randbelow(1 << 32) if settings.simulation.seed is None else settings.simulation.seed
    catalogue = load_catalogue(Path(settings.catalogue) if settings.catalogue else None)
    minted = generator_for(settings, catalogue, seed).generate(settings.replicas.start_index)
    told, drawn = settings.sensor, minted.identity
    who = replace(drawn, sensor_id=told.id or drawn.sensor_id, location=told.location or drawn.location)
    sensor = replace(minted, identity=who, minted=None)
    text = json.dumps(identity_document(sensor), indent=2, ensure_ascii=False) + "\n"
    if target == STDOUT:
        click.echo(text, nl=False)
        return 0
    try:
        with Path(target).open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    click.echo(f"{sensor.sensor_id} in {target}")
    return 0


def main() -> NoReturn:
    run_command_line(worker, "worker")

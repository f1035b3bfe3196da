"""`python -m worker`: one sensor in the foreground, as in a container.

It is a fleet of one: a supervisor, a worker process and the HTTP server. Its database is at `database.path`, and several
single workers may share it, also from different containers. All other files are in a folder beside the database,
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
from fleet.commands.options import ConfigParam, PathParam
from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.config.config import Config

CONFIG_FILES = ("config.yaml", "config/config.yaml")
IDENTITY_FILES = ("node_identity.json", "config/node_identity.json", "config/identity.json")
"""The default paths of the two files; the first that exists is used."""

DEFAULT_DATA_DIRECTORY = "data"
UNNAMED_DIRECTORY = "unnamed"
"""The folder of a worker whose sensor id is generated; the identity is stored in it."""

STDOUT = "-"
"""The value of --generate-identity without a file."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    type=ConfigParam(),
    metavar="FILE",
    envvar="CONFIG_FILE",
    help=f"YAML config. Default: $CONFIG_FILE, else {' or '.join(CONFIG_FILES)} if it exists, else one reading/s.",
)
@click.option(
    "--identity",
    type=PathParam(),
    metavar="FILE",
    envvar="IDENTITY_FILE",
    help=f"The sensor's identity. Default: $IDENTITY_FILE, else {', '.join(IDENTITY_FILES)}, else a generated one.",
)
@click.option(
    "--data",
    type=PathParam(),
    metavar="DIR",
    help="Folder for the database and all other files. Default: that of database.path.",
)
@click.option(
    "--generate-identity",
    "identity_target",
    is_flag=False,
    flag_value=STDOUT,
    metavar="[FILE]",
    help="Print an identity to edit, or write it to FILE, and exit.",
)
@click.option(
    "--output-schema", "schema", is_flag=True, help="Print the schema of the sensor's database as JSON, and exit."
)
@click.option("--llm-docs", is_flag=True, help="Print the documentation for language models, and exit.")
@click.version_option(program_version(), prog_name="worker")
def worker(
    config: Path | None,
    identity: Path | None,
    data: Path | None,
    identity_target: str | None,
    schema: bool,
    llm_docs: bool,
) -> int:
    """Run one simulated sensor in the foreground until simulation.run_time_seconds are over, SIGTERM or Ctrl-C.

    Every reading that is due by then is committed first. Environment variables such as SENSOR_ID, SENSOR_LOCATION,
    SENSOR_FIRMWARE and MONITORING_PORT override the config. `fleet up` runs many sensors.
    """
    if schema:
        return print_schema(config or first_existing(CONFIG_FILES), identity or first_existing(IDENTITY_FILES))
    if llm_docs:
        from fleet.commands.llm_page import llm_docs as llm_page

        click.echo(llm_page(), nl=False)
        return 0
    config = config or first_existing(CONFIG_FILES)
    if identity_target is not None:
        return generate_identity(config, identity_target)
    return run(config, identity or first_existing(IDENTITY_FILES), data)


def run(config: Path | None, identity: Path | None, data: Path | None) -> int:
    """Run the fleet of one until it ends, and return its exit code."""
    from fleet.commands.services import fleet_services
    from fleet.datadir.directory import DataDirectory
    from fleet.runtime.start import launch

    for warning in replica_warnings(config):
        click.echo(f"warning: {warning}", err=True)
    settings = load_settings(config)
    folder = data or database_folder(settings.database.path)
    directory = DataDirectory(folder / "workers" / directory_name(settings, identity), folder)
    return launch(config, single_sensor_overrides(), directory, identity, fleet_services())


def single_sensor_overrides() -> dict[str, object]:
    """Return the overrides that turn any config into one of a single sensor.

    The layout is `shared`, as `database.path` names the database only in that layout.
    """
    from fleet.config.config import SourcedValue

    values = {"replicas.count": 1, "replicas.sensors_per_worker": 1, "replicas.database": "shared"}
    return {key: SourcedValue(value, "python -m worker") for key, value in values.items()}


def load_settings(config: Path | None) -> Config:
    from fleet.config.config import load_config

    return load_config(config, os.environ, single_sensor_overrides())


def first_existing(names: tuple[str, ...]) -> Path | None:
    return next((path for path in map(Path, names) if path.is_file()), None)


def database_folder(database: str) -> Path:
    """Return the folder of `database.path`; for a bare file name, the default data directory of a fleet."""
    folder = Path(database).parent
    return Path(DEFAULT_DATA_DIRECTORY) if folder == Path() else folder


def directory_name(settings: Config, identity: Path | None) -> str:
    """Return the sensor's id if config or identity file name it, else UNNAMED_DIRECTORY."""
    from fleet.identities.files import read_identity

    file_id = read_identity(identity).sensor_id if identity else None  # an invalid file is an error even if not needed
    prefix, number = settings.replicas.prefix, settings.replicas.start_index
    return settings.sensor.id or file_id or (f"{prefix}_{number:06d}" if prefix else UNNAMED_DIRECTORY)


def replica_warnings(config: Path | None) -> Iterator[str]:
    """Yield a warning if the config is for more than one sensor."""
    from fleet.config.config import read_draft

    if config is not None:
        count = read_draft(config, {}, {}).get(("replicas", "count"))
        if str(count or "1") != "1":
            yield f"{config}: replicas.count is {count}, and this runs one sensor; `fleet up -c {config}` runs them all"


def print_schema(config: Path | None, identity: Path | None) -> int:
    """Print the schema of the database of the sensor, which may be of any of the kinds of the config if it has no identity."""
    from fleet.config.channels import sensor_type_of_identity
    from fleet.config.config import config_catalogue
    from fleet.datadir.database_schema import database_schema
    from fleet.identities.files import read_identity

    settings = load_settings(config)
    catalogue = config_catalogue(settings)
    kinds = [catalogue.sensor_type(name) for name in settings.sensor_types]
    if identity is not None:
        stored = read_identity(identity)
        kinds = [sensor_type_of_identity(settings, catalogue, stored.identity.sensor_type or stored.type)]
    click.echo(json.dumps(database_schema(settings, kinds), indent=2, ensure_ascii=False))
    return 0


def generate_identity(config: Path | None, target: str) -> int:
    """Print a complete generated identity in the nested format, or write it to a new file. UserError if it exists."""
    import secrets

    from fleet.config.config import config_catalogue
    from fleet.identities.files import identity_document
    from fleet.identities.provisioning import generator_for

    settings = load_settings(config)
    seed = secrets.randbelow(1 << 32) if settings.simulation.seed is None else settings.simulation.seed
    generated = generator_for(settings, config_catalogue(settings), seed).generate(settings.replicas.start_index)
    sensor_id = settings.sensor.id or generated.identity.sensor_id
    location = settings.sensor.location or generated.identity.location
    identity = replace(generated.identity, sensor_id=sensor_id, location=location)
    sensor = replace(generated, identity=identity, origin=None)
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
    """Run the command line and exit the process."""
    run_command_line(worker, "worker")

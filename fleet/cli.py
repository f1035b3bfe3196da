"""The `fleet` command: one function per command, each returning an exit code.

0 is success, 1 something the user can mend (one line on stderr), 2 wrong usage, 3 a bug (a traceback), 130 Ctrl-C.
What a command needs beyond click is imported when it runs, so that `fleet --help` is quick.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import click

from fleet.errors import UserError

DATA = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="The fleet's data directory.",
)
FILE = click.argument("file", required=False, type=click.Path(path_type=Path))


def program_version() -> str:
    try:
        return version("sensor-fleet")
    except PackageNotFoundError:  # run from a source tree
        return "source"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(program_version(), prog_name="fleet")
def cli() -> None:
    """Simulate a fleet of industrial sensors: readings with labelled anomalies, in SQLite, provably complete."""


def options(command: Callable[..., int]) -> Callable[..., int]:
    """The options of `fleet up`. A value is checked together with the config, so that all errors look alike."""
    for option in reversed(
        (
            click.option("-c", "--config", type=click.Path(path_type=Path), envvar="CONFIG_FILE", help="YAML config."),
            click.option("--replicas", metavar="N", help="How many sensors."),
            click.option("--rate", metavar="R", help="Readings per second of each sensor."),
            click.option("--seed", metavar="S", help="The same seed gives the same data. Drawn if left out."),
            click.option("--prefix", metavar="P", help="Sensor ids P_000001, ... instead of ones after their city."),
            click.option("--shared-db", is_flag=True, help="One database for all sensors instead of one each."),
            DATA,
            click.option("--identities", type=click.Path(path_type=Path), help="Folder of identity files."),
            click.option("--for", "duration", metavar="TIME", help="Stop after 30s, 5m, 1h ... of simulated time."),
            click.option("--start", metavar="TIME", help="Simulated time of the first reading. Default: now."),
            click.option("--host", metavar="H", help="Address to serve HTTP on."),
            click.option("--port", metavar="P", help="Port to serve HTTP on; 0 takes any free one."),
            click.option("--no-http", is_flag=True, help="Serve no HTTP."),
            click.option("-d", "--detach", is_flag=True, help="Return as soon as all workers have committed."),
        )
    ):
        command = option(command)
    return command


@cli.command()
@options
def up(config: Path | None, data: Path, identities: Path | None, detach: bool, **flags: Any) -> int:
    """Start a fleet and run it until it is done or stopped (Ctrl-C, `fleet down`)."""
    from fleet.config import load_config
    from fleet.data_directory import DataDirectory
    from fleet.fleet import Fleet, Listener
    from fleet.flags import overrides
    from fleet.http_port import bind

    settings = load_config(config, os.environ, overrides(flags))
    directory = DataDirectory(data)
    directory.hold()
    http = settings.monitoring
    listener = Listener(*bind(http.host, http.port)) if http.enabled else None
    fleet = Fleet(settings, directory, str(config or "the packaged fleet.yaml"), identities)
    fleet.prepare(listener)
    if detach:
        from fleet.detachment import detach as leave

        leave(directory)
    return fleet.run()


@cli.command()
@DATA
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(data: Path, as_json: bool) -> int:
    """Show how the running fleet is."""
    from fleet.status import show

    return show(data, as_json=as_json)


@cli.command()
@DATA
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait for it to drain.")
def down(data: Path, timeout: float) -> int:
    """Stop the running fleet: everything due is committed first."""
    from fleet.operator import stop

    return stop(data, timeout)


@cli.command()
@click.argument("count", type=int)
@DATA
def scale(count: int, data: Path) -> int:
    """Grow or shrink the running fleet to COUNT sensors."""
    from fleet.operator import ask

    answer = ask(data, command="scale", count=count)
    click.echo(f"scaled from {answer['before']} to {answer['count']} sensors")
    return 0


@cli.command()
@click.argument("sensor")
@DATA
def restart(sensor: str, data: Path) -> int:
    """Restart a sensor's worker; one that has failed gets a new chance."""
    from fleet.operator import ask

    answer = ask(data, command="restart", sensor=sensor)
    click.echo(f"restarting {answer['worker']}")
    return 0


@cli.command()
@click.argument("sensor", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added.")
@click.option("-n", "--lines", type=click.IntRange(0), default=100, show_default=True, help="How many lines back.")
@DATA
def logs(sensor: str | None, follow: bool, lines: int, data: Path) -> int:
    """Show the log of the fleet or of one sensor."""
    from fleet.logs import show

    return show(data, sensor, lines, follow=follow)


@cli.group()
def config() -> None:
    """Look at config files."""


@config.command("check")
@click.argument("file", type=click.Path(path_type=Path))
def config_check(file: Path) -> int:
    """Say whether FILE is a valid config."""
    from fleet.config import load_config

    load_config(file)
    click.echo(f"{file}: ok")
    return 0


@config.command("show")
@FILE
def config_show(file: Path | None) -> int:
    """Print the config in force in its canonical shape, defaults and environment included."""
    from fleet.config import load_config, to_yaml

    click.echo(to_yaml(load_config(file, os.environ)), nl=False)
    return 0


@config.command("schema")
def config_schema() -> int:
    """Print the JSON schema of a config."""
    from fleet.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
    return 0


@cli.group()
def identities() -> None:
    """Make identity files."""


@identities.command("mint")
@click.argument("count", type=click.IntRange(1, 100_000))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write them to.")
@click.option("-c", "--config", type=click.Path(path_type=Path), envvar="CONFIG_FILE", help="YAML config.")
@click.option("--seed", metavar="S", help="The same seed gives the same identities.")
@click.option("--prefix", metavar="P", help="Sensor ids P_000001, ... instead of ones after their city.")
def identities_mint(count: int, out: Path, config: Path | None, seed: str | None, prefix: str | None) -> int:
    """Write COUNT new identities, one file each, to a folder."""
    from fleet.config import Given, load_config
    from fleet.plan import mint_into

    flags = {"simulation.seed": Given(seed, "--seed"), "replicas.prefix": Given(prefix, "--prefix")}
    given = {key: value for key, value in flags.items() if value.value is not None}
    chosen, warnings = mint_into(out, load_config(config, os.environ, given), count)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{count} identities in {out}, seed {chosen}")
    return 0


def main() -> NoReturn:
    """The entry point. Returns to the shell with the exit codes above."""
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as asked:
        sys.exit(asked.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        click.echo(f"fleet: {error}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # `fleet status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception:  # the top of the program: everything that was not foreseen is a bug
        traceback.print_exc()
        sys.exit(3)

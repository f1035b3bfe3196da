"""The `fleet` command: one function per command, each returning an exit code.

0 is success, 1 something the user can mend, 2 wrong usage (both one line on stderr), 3 a bug (a traceback), 130 Ctrl-C.
What a command needs beyond click is imported when it runs, so that `fleet --help` is quick.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from fleet.commands.collect import collect
from fleet.commands.config import config
from fleet.commands.console import program_version, run_command_line
from fleet.commands.inject import inject, pause, resume
from fleet.commands.options import (
    CONFIG_OPTIONS,
    DATA_OPTION,
    DurationParam,
    IntegerParam,
    PathParam,
    ShareParam,
    config_overrides,
)
from fleet.commands.receive import receive
from fleet.commands.top.command import top

CONFIG_OPTION = click.option(
    "-c",
    "--config",
    type=PathParam(),
    metavar="FILE",
    envvar="CONFIG_FILE",
    help="YAML config. Default: $CONFIG_FILE, or a hundred sensors at one reading/s.",
)
MAX_SENSORS = 100_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(program_version(), prog_name="fleet")
def cli() -> None:
    """Simulate a fleet of industrial sensors: readings with labelled anomalies, in SQLite, provably complete."""


def up_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options of `fleet up`. A value is checked together with the config, so that all errors look alike."""
    for option in reversed(
        (
            CONFIG_OPTION,
            *CONFIG_OPTIONS,
            DATA_OPTION,
            click.option(
                "--identities", type=PathParam(), metavar="DIR", help="Folder of identity files. Default: in --data."
            ),
            click.option("-d", "--detach", is_flag=True, help="Return as soon as all workers have committed."),
        )
    ):
        command = option(command)
    return command


@cli.command()
@up_options
def up(config: Path | None, data: Path, identities: Path | None, detach: bool, **flags: Any) -> int:
    """Start a fleet and run it until it is stopped.

    It ends after --for, on Ctrl-C, or by `fleet down`; whatever is due is committed first.
    """
    from fleet.commands.http_service import serve_http
    from fleet.datadir.directory import DataDirectory
    from fleet.runtime.start import launch

    return launch(config, config_overrides(flags), DataDirectory(data), identities, serve_http, detach=detach)


@cli.command()
@DATA_OPTION
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(data: Path, as_json: bool) -> int:
    """Show how the running fleet is."""
    from fleet.commands.status import show

    return show(data, as_json=as_json)


@cli.command()
@DATA_OPTION
@click.option(
    "--timeout", type=DurationParam(), default="60s", show_default=True, help="How long to wait for it to end."
)
def down(data: Path, timeout: float) -> int:
    """Stop the running fleet, all that is due committed."""
    from fleet.commands.operator import stop

    return stop(data, timeout)


@cli.command(context_settings={"ignore_unknown_options": True})  # -1 is a count, though a bad one
@click.argument("count", type=IntegerParam(1, MAX_SENSORS))
@DATA_OPTION
def scale(count: int, data: Path) -> int:
    """Grow or shrink the running fleet to COUNT sensors."""
    from fleet.commands.operator import ask_fleet

    answer = ask_fleet(data, command="scale", count=count)
    click.echo(f"scaled from {answer['before']} to {answer['count']} sensors")
    return 0


@cli.command()
@click.argument("sensor")
@DATA_OPTION
def restart(sensor: str, data: Path) -> int:
    """Restart the worker of a sensor, also one that has failed."""
    from fleet.commands.operator import ask_fleet

    answer = ask_fleet(data, command="restart", sensor=sensor)
    click.echo(f"restarting {answer['worker']}")
    return 0


@cli.command()
@click.option("--firmware", metavar="V", required=True, help="The version that they get.")
@click.option("--share", type=ShareParam(), required=True, metavar="P", help="How many of the sensors, such as 20%.")
@click.option("--step", type=ShareParam(), metavar="P", help="Not all at once, but so many at a time.")
@click.option("--every", type=DurationParam(), metavar="TIME", help="With --step: how long one step lasts, such as 5m.")
@DATA_OPTION
def rollout(firmware: str, share: float, step: float | None, every: float | None, data: Path) -> int:
    """Give a share of the running fleet's sensors another firmware, which stays theirs.

    The same share of the same fleet is always the same sensors, and a larger one has all of a smaller one.
    """
    from fleet.commands.operator import start_rollout

    return start_rollout(data, firmware, share, step, every)


@cli.command()
@click.argument("sensor", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added.")
@click.option("-n", "--lines", type=IntegerParam(0, 10**9), default=100, show_default=True, help="How many lines back.")
@DATA_OPTION
def logs(sensor: str | None, follow: bool, lines: int, data: Path) -> int:
    """Show the log of the fleet or of one sensor."""
    from fleet.commands.logs import show

    return show(data, sensor, lines, follow=follow)


@cli.command()
@DATA_OPTION
@click.option("--sensor", metavar="ID", help="Only this sensor.")
@click.option("--complete", is_flag=True, help="Every sensor of the last run must have all that was due in it.")
@click.option("--against", metavar="TARGET", help="Compare with what arrived there, named as in `fleet collect --to`.")
@click.option(
    "--table", metavar="NAME", help="With --against: a table of your own there, matched by sensor and timestamp."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify(
    data: Path, sensor: str | None, complete: bool, against: str | None, table: str | None, as_json: bool
) -> int:
    """Prove that no reading was lost, doubled or altered: compute each again and compare."""
    from fleet.commands.verify_report import show
    from fleet.delivery.compare.against import comparison_options

    target = comparison_options(against, table, sensor, complete=complete)
    return show(data, sensor=sensor, complete=complete, as_json=as_json, against=target)


for command in (config, collect, inject, pause, receive, resume, top):
    cli.add_command(command)


@cli.command()
@click.option("--llm", is_flag=True, required=True, help="For language models: all of it on one page.")
def docs(llm: bool) -> int:  # noqa: ARG001 - there is no other kind
    """Print documentation that is made from the program itself."""
    from fleet.commands.llm_page import llm_docs

    click.echo(llm_docs(), nl=False)
    return 0


@cli.group()
def identities() -> None:
    """Make identity files for sensors."""


@identities.command("mint")
@click.argument("count", type=IntegerParam(1, MAX_SENSORS))
@click.option("--out", type=PathParam(), metavar="DIR", required=True, help="Folder to write them to.")
@CONFIG_OPTION
@click.option("--seed", metavar="S", help="The same seed gives the same identities.")
@click.option("--prefix", metavar="P", help="Sensor ids P_000001, ... instead of ones after their city.")
def identities_mint(count: int, out: Path, config: Path | None, seed: str | None, prefix: str | None) -> int:
    """Write COUNT new identities, one file each, to a folder."""
    from fleet.config.config import SourcedValue, load_config
    from fleet.identities.generation import write_generated_identities

    flags = {"simulation.seed": SourcedValue(seed, "--seed"), "replicas.prefix": SourcedValue(prefix, "--prefix")}
    given = {key: value for key, value in flags.items() if value.value is not None}
    chosen, warnings = write_generated_identities(out, load_config(config, os.environ, given), count)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{count} identities in {out}, seed {chosen}")
    return 0


def main() -> NoReturn:
    run_command_line(cli, "fleet")

"""The `fleet` command line: the group of all commands.

To add a command: one file, `fleet/commands/<name>.py`, with its click command, one line here in COMMANDS (with its
import), and its examples in `fleet.commands.examples`. A command returns its exit code; `fleet.commands.console` lists the codes.
"""

from __future__ import annotations

from typing import NoReturn

import click

from fleet.commands.backfill import backfill
from fleet.commands.collect import collect
from fleet.commands.config import config
from fleet.commands.console import program_version, run_command_line
from fleet.commands.docs import docs
from fleet.commands.down import down
from fleet.commands.examples import add_examples
from fleet.commands.export import export
from fleet.commands.identities import identities
from fleet.commands.inject import inject
from fleet.commands.logs import logs
from fleet.commands.pause import pause, resume
from fleet.commands.plot import plot
from fleet.commands.ps import ps
from fleet.commands.receive import receive
from fleet.commands.report import report
from fleet.commands.restart import restart
from fleet.commands.rollout import rollout
from fleet.commands.scale import scale
from fleet.commands.status import status
from fleet.commands.stream import stream
from fleet.commands.top.command import top
from fleet.commands.up import up
from fleet.commands.verify import verify

COMMANDS = (
    backfill,
    collect,
    config,
    docs,
    down,
    export,
    identities,
    inject,
    logs,
    pause,
    plot,
    ps,
    receive,
    report,
    restart,
    resume,
    rollout,
    scale,
    status,
    stream,
    top,
    up,
    verify,
)


OTHER_VERBS = {
    "stop": "down",
    "kill": "down",
    "start": "up",
    "run": "up",
    "list": "ps",
    "ls": "ps",
}
"""Names that other programs have for a command, and the command."""


class VerbGroup(click.Group):
    """The group of all commands; it leads from the verbs of other programs to its own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = OTHER_VERBS.get(args[0])
        if verb is not None:
            raise click.UsageError(f"no such command '{args[0]}', use `fleet {verb}`", ctx)
        return super().resolve_command(ctx, args)


add_examples(COMMANDS)


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]}, commands=COMMANDS)
@click.version_option(program_version(), prog_name="fleet")
def cli() -> None:
    """Simulate a fleet of industrial sensors: readings with labelled anomalies, in SQLite, provably complete."""


def main() -> NoReturn:
    """Run the command line and exit the process."""
    run_command_line(cli, "fleet")

"""`fleet inject`: put an anomaly into sensors of the running fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet.commands.options import DATA_OPTION, DurationParam, NumberParam, complete_channel
from fleet.commands.running_fleet import ask_fleet
from fleet.commands.selection import describe_selection, selection_arguments, selection_options
from fleet.errors import UserError
from fleet.escaping import escape_short
from worker.readings.anomalies import ANOMALY_TYPES


@click.command(
    help=f"""Put an anomaly into sensors of the running fleet: {", ".join(ANOMALY_TYPES[:-1])} or {ANOMALY_TYPES[-1]}.

    It is labelled and recorded like any other anomaly.
    """
)
@click.argument(
    "type_",
    required=False,
    metavar="TYPE",
    shell_complete=lambda _context, _parameter, begun: [name for name in ANOMALY_TYPES if name.startswith(begun)],
)
@selection_options
@click.option("--channel", metavar="C", shell_complete=complete_channel, help="Only this channel.")
@click.option("--size", type=NumberParam(), metavar="X", help="How large; see docs/http.md. Default: that of the type.")
@click.option("--for", "seconds", type=DurationParam(), metavar="TIME", help="How long, such as 5m. Default: 30s.")
@click.option("--at", metavar="TIME", help="When, in simulated time, such as 2026-01-01T12:00:00Z. Default: now.")
@click.option("--id", metavar="KEY", help="A name for the injection; repeating it changes nothing.")
@click.option("--cancel", metavar="KEY", help="End the injection of this name now, or drop it if it has not begun.")
@DATA_OPTION
def inject(type_: str | None, cancel: str | None, data: Path, **options: Any) -> int:
    if (type_ is None) == (cancel is None):
        raise click.UsageError("either TYPE or --cancel KEY")
    if cancel is not None:
        return cancel_injection(data, cancel)
    if type_ not in ANOMALY_TYPES:
        raise UserError(f"TYPE: {escape_short(str(type_))!r} is not one of {', '.join(ANOMALY_TYPES)}")
    answer = ask_fleet(data, command="inject", type=type_, **selection_arguments(**options))
    repeated = "" if answer["new"] else " exists already, nothing was changed"
    click.echo(f"injection {answer['id']}{repeated}: {answer['type']}, {describe_selection(answer)}")
    click.echo(f"from {answer['from']} until {answer['until']}")
    return 0


def cancel_injection(data: Path, key: str) -> int:
    """End an injection, or drop it if it has not begun."""
    answer = ask_fleet(data, command="cancel", id=key)
    click.echo(f"injection {answer['id']} {'ends now' if answer['new'] else 'had ended already'}")
    return 0

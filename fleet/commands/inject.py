"""`fleet inject`: put an anomaly into sensors of the running fleet, or a fault on the way of their readings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet.commands.options import DATA_OPTION, DurationParam, NumberParam, ShareParam, complete_channel
from fleet.commands.running_fleet import ask_fleet
from fleet.commands.selection import describe_selection, selection_arguments, selection_options
from fleet.config.delivery_faults import FAULT_KINDS
from fleet.errors import UserError
from fleet.escaping import escape_short
from worker.readings.anomalies import ANOMALY_TYPES


@click.command(
    help=f"""Put an anomaly into sensors of the running fleet: {", ".join(ANOMALY_TYPES[:-1])} or {ANOMALY_TYPES[-1]}.

    It is labelled and recorded like any other anomaly. With --delivery it is a fault on the way to the targets of `fleet up --to`:
    {", ".join(FAULT_KINDS[:-1])} or {FAULT_KINDS[-1]}.
    """
)
@click.argument(
    "type_",
    required=False,
    metavar="TYPE",
    shell_complete=lambda _context, _parameter, begun: [name for name in ANOMALY_TYPES if name.startswith(begun)],
)
@click.option(
    "--delivery",
    "fault",
    metavar="FAULT",
    shell_complete=lambda _context, _parameter, begun: [name for name in FAULT_KINDS if name.startswith(begun)],
    help="A fault on the way to the targets instead of an anomaly; see docs/delivery-faults.md.",
)
@click.option(
    "--probability",
    type=ShareParam(),
    metavar="P",
    help="With --delivery: the share of the readings, such as 5%. Default: all.",
)
@selection_options
@click.option("--channel", metavar="C", shell_complete=complete_channel, help="Only this channel.")
@click.option("--size", type=NumberParam(), metavar="X", help="How large; see docs/http.md. Default: that of the type.")
@click.option("--for", "seconds", type=DurationParam(), metavar="TIME", help="How long, such as 5m. Default: 30s.")
@click.option("--at", metavar="TIME", help="When, in simulated time, such as 2026-01-01T12:00:00Z. Default: now.")
@click.option("--id", metavar="KEY", help="A name for the injection; repeating it changes nothing.")
@click.option("--cancel", metavar="KEY", help="End the injection of this name now, or drop it if it has not begun.")
@DATA_OPTION
def inject(
    type_: str | None,
    fault: str | None,
    cancel: str | None,
    channel: str | None,
    probability: float | None,
    **options: Any,
) -> int:
    data: Path = options.pop("data")
    if sum(each is not None for each in (type_, fault, cancel)) != 1:
        raise click.UsageError("either TYPE, or --delivery FAULT, or --cancel KEY")
    if channel is not None and type_ is None:
        raise click.UsageError("--channel goes with TYPE: a fault on the way has no channel")
    if probability is not None and fault is None:
        raise click.UsageError("--probability goes with --delivery: an injected anomaly has all readings")
    if cancel is not None:
        return cancel_injection(data, cancel)
    what, name, allowed = ("TYPE", type_, ANOMALY_TYPES) if fault is None else ("--delivery", fault, FAULT_KINDS)
    if name not in allowed:
        raise UserError(f"{what}: {escape_short(str(name))!r} is not one of {', '.join(allowed)}")
    arguments = selection_arguments(channel=channel, probability=probability, **options)
    answer = ask_fleet(data, command="inject" if fault is None else "inject_fault", type=name, **arguments)
    repeated = "" if answer["new"] else " exists already, nothing was changed"
    click.echo(f"injection {answer['id']}{repeated}: {answer['type']}, {describe_selection(answer)}")
    click.echo(f"from {answer['from']} until {answer['until']}")
    return 0


def cancel_injection(data: Path, key: str) -> int:
    """End an injection, or drop it if it has not begun."""
    answer = ask_fleet(data, command="cancel", id=key)
    click.echo(f"injection {answer['id']} {'ends now' if answer['new'] else 'had ended already'}")
    return 0

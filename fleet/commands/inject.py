"""`fleet inject`, `fleet pause` and `fleet resume`: what an operator lays over a running fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fleet.commands.options import DATA_OPTION, DurationParam, NumberParam, ShareParam
from fleet.errors import UserError
from fleet.escaping import escape_short
from worker.readings.anomalies import ANOMALY_TYPES

Selection = dict[str, Any]


def selector_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options that say which sensors are meant; several mean those to whom all apply."""
    for option in reversed(
        (
            click.option("--sensor", "sensors", metavar="ID", multiple=True, help="This sensor; may be given again."),
            click.option("--city", metavar="NAME", help="Those in a city, such as Denver."),
            click.option("--manufacturer", metavar="M", help="Those made by one."),
            click.option("--firmware", metavar="F", help="Those with a version."),
            click.option(
                "--share", type=ShareParam(), metavar="P", help="So many of them, such as 10%; always the same ones."
            ),
        )
    ):
        command = option(command)
    return command


def selector_arguments(sensors: tuple[str, ...], **others: Any) -> Selection:
    """As the fleet is told of it: only what was given."""
    return {name: value for name, value in {"sensors": sensors or None, **others}.items() if value is not None}


@click.command(
    help=f"""Put an anomaly into sensors of the running fleet: {", ".join(ANOMALY_TYPES[:-1])} or {ANOMALY_TYPES[-1]}.

    It is labelled and on record as any other. Without a selection it is for all sensors.
    """
)
@click.argument("kind", required=False, metavar="TYPE")
@selector_options
@click.option("--channel", metavar="C", help="Only this channel.")
@click.option("--size", type=NumberParam(), metavar="X", help="How large; see docs/http.md. Default: as by itself.")
@click.option("--for", "seconds", type=DurationParam(), metavar="TIME", help="How long, such as 5m. Default: 30s.")
@click.option("--at", metavar="TIME", help="When, in simulated time, such as 2026-01-01T12:00:00Z. Default: now.")
@click.option("--id", metavar="KEY", help="A name for it; the same one again changes nothing.")
@click.option("--cancel", metavar="KEY", help="End that one now, or take it back.")
@DATA_OPTION
def inject(kind: str | None, cancel: str | None, data: Path, **given: Any) -> int:
    from fleet.commands.operator import ask_fleet

    if (kind is None) == (cancel is None):
        raise click.UsageError("either TYPE or --cancel KEY")
    if cancel is not None:
        answer = ask_fleet(data, command="cancel", id=cancel)
        became = "ends now" if answer["new"] else "was over already"
        click.echo(f"injection {answer['id']} {became}")
        return 0
    if kind not in ANOMALY_TYPES:
        raise UserError(f"TYPE: {escape_short(str(kind))!r} is not one of {', '.join(ANOMALY_TYPES)}")
    answer = ask_fleet(data, command="inject", type=kind, **selector_arguments(**given))
    said = "" if answer["new"] else " is there already, nothing was changed"
    click.echo(f"injection {answer['id']}{said}: {answer['type']}, {describe_sensors(answer)}")
    click.echo(f"from {answer['from']} until {answer['until']}")
    return 0


@click.command()
@selector_options
@DATA_OPTION
def pause(data: Path, **selected: Any) -> int:
    """Have sensors of the running fleet produce nothing until they are resumed. Without a selection: all."""
    return pause_or_resume("pause", data, selected)


@click.command()
@selector_options
@DATA_OPTION
def resume(data: Path, **selected: Any) -> int:
    """Have paused sensors go on from now; the time between is left out, on record. Without a selection: all."""
    return pause_or_resume("resume", data, selected)


def pause_or_resume(command: str, data: Path, selected: Selection) -> int:
    from fleet.commands.operator import ask_fleet

    answer = ask_fleet(data, command=command, **selector_arguments(**selected))
    already = answer["sensors"] - answer["changed"]
    said = f" ({already} of them already)" if already and command == "pause" else ""
    said = f" ({already} of them were not paused)" if already and command == "resume" else said
    click.echo(f"{command}d: {describe_sensors(answer)}{said}")
    return 0


def describe_sensors(answer: dict[str, Any]) -> str:
    count, ids = answer["sensors"], answer["ids"]
    more = ", ..." if count > 3 else ""
    return f"{count} sensor{'s' if count != 1 else ''}: {', '.join(ids[:3])}{more}"

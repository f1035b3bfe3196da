"""The selection of sensors that `fleet inject`, `fleet pause` and `fleet resume` apply to."""

from __future__ import annotations

from typing import Any

import click

from fleet.commands.options import ShareParam, add_options

MAX_NAMED_SENSORS = 3

selection_options = add_options(
    click.option("--sensor", "sensors", metavar="ID", multiple=True, help="This sensor; may be given several times."),
    click.option("--city", metavar="NAME", help="Sensors in a city, such as Denver."),
    click.option("--manufacturer", metavar="M", help="Sensors of a manufacturer."),
    click.option("--firmware", metavar="F", help="Sensors with a firmware version."),
    click.option(
        "--share", type=ShareParam(), metavar="P", help="A share of them, such as 10%; always the same sensors."
    ),
)
"""The options that select sensors. Several select the sensors that match all of them; without any, all sensors."""


def selection_arguments(sensors: tuple[str, ...], **others: Any) -> dict[str, Any]:
    """Return the arguments of the fleet's command: the options that were given."""
    return {name: value for name, value in {"sensors": sensors or None, **others}.items() if value is not None}


def describe_selection(answer: dict[str, Any]) -> str:
    """Return the number of sensors that a command applied to, and the ids of the first of them."""
    count, ids = answer["sensors"], answer["ids"]
    more = ", ..." if count > MAX_NAMED_SENSORS else ""
    return f"{count} sensor{'s' if count != 1 else ''}: {', '.join(ids[:MAX_NAMED_SENSORS])}{more}"

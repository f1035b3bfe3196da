"""The selection of sensors that `fleet inject`, `fleet pause` and `fleet resume` apply to."""

from __future__ import annotations

from typing import Any

import click

from fleet.commands.options import Completion, ShareParam, add_options

MAX_NAMED_SENSORS = 3

selection_options = add_options(
    click.option(
        "--sensor",
        "sensors",
        metavar="ID",
        multiple=True,
        shell_complete=Completion("sensor_id"),
        help="This sensor; may be given several times.",
    ),
    click.option(
        "--city", metavar="NAME", shell_complete=Completion("location"), help="Sensors in a city, such as Denver."
    ),
    click.option(
        "--manufacturer", metavar="M", shell_complete=Completion("manufacturer"), help="Sensors of a manufacturer."
    ),
    click.option(
        "--firmware",
        metavar="F",
        shell_complete=Completion("firmware_version"),
        help="Sensors with a firmware version.",
    ),
    click.option(
        "--kind",
        metavar="K",
        shell_complete=Completion("sensor_type"),
        help="Sensors of a kind, such as environmental.",
    ),
    click.option(
        "--share", type=ShareParam(), metavar="P", help="A share of them, such as 10%; always the same sensors."
    ),
    click.option("--all", "everything", is_flag=True, help="All sensors."),
)
"""The options that select sensors. Several select the sensors that match all of them."""

CRITERIA = ("sensors", "city", "manufacturer", "firmware", "kind", "share")


def selection_arguments(*, needed: bool = True, **options: Any) -> dict[str, Any]:
    """Return the arguments of the fleet's command: the options that were given. UsageError if they select no sensors and
    that is `needed`: all sensors are never meant by accident."""
    everything, sensors = options.pop("everything"), options.pop("sensors") or None
    arguments = {name: value for name, value in {"sensors": sensors, **options}.items() if value is not None}
    selected = arguments.keys() & set(CRITERIA)
    if everything and selected:
        raise click.UsageError(
            "--all selects all sensors; leave it out, or the other criteria", click.get_current_context()
        )
    if needed and not (everything or selected):
        raise click.UsageError(
            "no sensors are selected: name them by --sensor, --city, --manufacturer, --firmware, --kind or "
            "--share, or take --all",
            click.get_current_context(),
        )
    return arguments


def describe_selection(answer: dict[str, Any]) -> str:
    """Return the number of sensors that a command applied to, and the ids of the first of them."""
    count, ids = answer["sensors"], answer["ids"]
    more = ", ..." if count > MAX_NAMED_SENSORS else ""
    return f"{count} sensor{'s' if count != 1 else ''}: {', '.join(ids[:MAX_NAMED_SENSORS])}{more}"

"""The options that several commands share, and the types of their values.

A bad value is a one-line error with exit code 1, as in a config; exit code 2 is for wrong usage.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fleet.durations import parse_duration
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.resources import packaged_configs

if TYPE_CHECKING:
    from fleet.datadir.roster import Member

MAX_SENSORS = 100_000
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CONFIG_KEYS = {
    "replicas": ("replicas.count", "--replicas"),
    "rate": ("simulation.readings_per_second", "--rate"),
    "phase": ("simulation.phase", "--phase"),
    "seed": ("simulation.seed", "--seed"),
    "prefix": ("replicas.prefix", "--prefix"),
    "sensors_per_worker": ("replicas.sensors_per_worker", "--sensors-per-worker"),
    "start": ("simulation.start", "--start"),
    "speed": ("simulation.speed", "--speed"),
    "backfill": ("simulation.backfill", "--backfill"),
    "resume": ("simulation.resume", "--resume"),
    "store": ("database.store", "--store"),
    "host": ("monitoring.host", "--host"),
    "port": ("monitoring.port", "--port"),
}
"""The parameters of CONFIG_KEY_OPTIONS that hold a config value as it is: its key, and the flag that error messages name."""

Command = Callable[..., int]
CommandDecorator = Callable[[Command], Command]


def add_options(*options: CommandDecorator) -> CommandDecorator:
    """Return a decorator that adds options to a command, in the order in which its help lists them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def config_overrides(flags: Mapping[str, Any]) -> dict[str, object]:
    """Return the config values that flags set, by dotted key; `flags` are those of CONFIG_KEY_OPTIONS that the command has.
    UserError for an invalid duration.

    Other values are checked together with the config, so that their errors look alike.
    """
    from fleet.config.config import SourcedValue

    overrides: dict[str, object] = {
        key: SourcedValue(flags[name], flag) for name, (key, flag) in CONFIG_KEYS.items() if flags.get(name) is not None
    }
    if flags["kind"]:
        overrides |= kind_overrides(flags["kind"])
    if flags.get("to"):
        record = {"record": SourcedValue(flags["record"], "--record")} if flags.get("record") else {}
        overrides["delivery.to"] = SourcedValue([{"to": target, **record} for target in flags["to"]], "--to")
    elif flags.get("record"):
        raise UserError("--record: goes with --to, whose targets it is for; in a config a target has `record`")
    if flags["shared_db"]:
        overrides["replicas.database"] = SourcedValue("shared", "--shared-db")
    if flags.get("no_http"):
        overrides["monitoring.enabled"] = SourcedValue(False, "--no-http")
    if flags["duration"] is not None:
        overrides["simulation.duration_seconds"] = SourcedValue(parse_duration(flags["duration"], "--for"), "--for")
    return overrides


def kind_overrides(kinds: Sequence[str]) -> dict[str, object]:
    """Return the config values that `--kind NAME` or `--kind NAME=WEIGHT`, once or several times, set."""
    from fleet.config.config import SourcedValue

    weights: dict[str, str] = {}
    for kind in kinds:
        name, _, weight = kind.partition("=")
        if name in weights:
            raise UserError(
                f"--kind: {escape_short(name)} is there twice; give it a weight, such as {escape_short(name)}=2"
            )
        weights[name] = weight or "1"
    return {
        "sensor.type": SourcedValue(next(iter(weights)), "--kind"),
        "replicas.kinds": SourcedValue(weights, "--kind"),
    }


def parameter_name(param: click.Parameter | None) -> str:
    """Return the name of a parameter as it appears on the command line: `--data`, or `COUNT`."""
    if param is None:
        return "value"
    return (
        max(param.opts, key=len)
        if isinstance(param, click.Option)
        else param.make_metavar(click.Context(EMPTY_COMMAND))
    )


EMPTY_COMMAND = click.Command("fleet")


class PathParam(click.ParamType[Path]):
    """The path of a file or a folder, which need not exist."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not str(value).strip():
            raise UserError(f"{parameter_name(param)}: '{value}' is not the name of a file or a folder")
        try:
            str(value).encode()
            os.lstat(value)
        except UnicodeEncodeError:  # SQLite, JSON and terminals need UTF-8
            raise UserError(f"{parameter_name(param)}: {value!a} is a name that is not UTF-8") from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise UserError(f"{parameter_name(param)}: {escape_short(str(value))} is too long a name") from None
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class ConfigParam(PathParam):
    """The path of a config, or the name of a packaged one, such as chaos-test. A file of that name takes precedence."""

    name = "config"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = super().convert(value, param, ctx)
        if path.suffix or path.name != str(value) or os.path.lexists(path):
            return path
        packaged = packaged_configs()
        if path.name not in packaged:
            names = ", ".join(packaged)
            raise UserError(
                f"{parameter_name(param)}: {escape_short(path.name)} is no file, nor one of the packaged configs: {names}"
            )
        return packaged[path.name]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a packaged config; where none begins like that, a file."""
        names = [CompletionItem(name) for name in packaged_configs() if name.startswith(incomplete)]
        return names or super().shell_complete(ctx, param, incomplete)


class IntegerParam(click.ParamType[int]):
    """A whole number from `minimum` to `maximum`."""

    name = "integer"

    def __init__(self, minimum: int, maximum: int) -> None:
        self._minimum, self._maximum = minimum, maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text.removeprefix("-").isdecimal() and len(text) < 20 and self._minimum <= int(text) <= self._maximum:
            return int(text)
        allowed = f"a whole number between {self._minimum} and {self._maximum}"
        raise UserError(f"{parameter_name(param)}: {text!r} is not {allowed}")


class ShareParam(click.ParamType[float]):
    """A share of a whole, such as 20% or 0.2, above 0."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        number = text.removesuffix("%")
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", number):
            share = Fraction(number) / (100 if text.endswith("%") else 1)
            if 0 < share <= 1:
                return float(share)
        raise UserError(
            f"{parameter_name(param)}: {escape_short(text)!r} is not a share such as 20%, above 0 and at most 100%"
        )


class NumberParam(click.ParamType[float]):
    """A number such as 2.5 or -0.5."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        if re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", text):
            return float(text)
        raise UserError(f"{parameter_name(param)}: {escape_short(text)!r} is not a number such as 2.5")


class DurationParam(click.ParamType[float]):
    """A duration such as 30s, converted to seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return value if isinstance(value, float) else parse_duration(str(value), parameter_name(param))


class TimeParam(click.ParamType[int]):
    """A time such as 2026-01-01T12:00:00Z, converted to microseconds since 1970; without an offset it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise UserError(
                f"{parameter_name(param)}: {escape_short(text)!r} is not a time such as 2026-01-01 or 2026-01-01T12:00:00Z"
            ) from None
        return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - UNIX_EPOCH) // timedelta.resolution


DATA_OPTION_DEFAULT = Path("data")
DATA_OPTION = click.option(
    "--data",
    type=PathParam(),
    metavar="DIR",
    default=DATA_OPTION_DEFAULT,
    show_default=True,
    is_eager=True,
    help="The fleet's data directory.",
)


class Completion:
    """Completes a value in a shell from the fleet of `--data`: the values of `fields` of its sensors' identities, a
    location up to its first comma."""

    def __init__(self, *fields: str) -> None:
        self._fields = fields

    def __call__(self, context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        identities = [member.identity for member in members_of(context)]
        values = {(getattr(each, field) or "").split(",")[0] for each in identities for field in self._fields}
        return sorted(value for value in values if value and value.startswith(incomplete))


def members_of(context: click.Context) -> Sequence[Member]:
    """Return the sensors of the fleet of `--data`, none if that cannot be read."""
    from fleet.datadir.directory import DataDirectory
    from fleet.datadir.roster import Roster

    data = context.params.get("data") or DATA_OPTION_DEFAULT
    try:
        return Roster.read(DataDirectory(data).roster).members
    except (OSError, UserError):
        return ()


def channel_names(context: click.Context) -> list[str]:
    """Return the channels of the fleet of `--data`."""
    return list(dict.fromkeys(name for member in members_of(context) for name, _ in member.channels))


def complete_channel(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in channel_names(context) if name.startswith(incomplete)]


RECORD_OPTION = click.option(
    "--record",
    metavar="NAME",
    help="The shape of the readings: row (the default), nested, pipeline, bme280, or a file (mine.yaml) that describes one.",
)

CONFIG_FILE_OPTION = click.option(
    "-c",
    "--config",
    type=ConfigParam(),
    metavar="FILE",
    envvar="CONFIG_FILE",
    help="YAML config, or the name of a packaged one (`fleet config list`). Default: $CONFIG_FILE, or a hundred sensors at one reading/s.",
)

KIND_OPTION = click.option(
    "--kind",
    multiple=True,
    metavar="NAME[=WEIGHT]",
    help="Kind of sensor, such as pipeline, or a file that describes one (air_quality.yaml). Several mix by weight. "
    "Default: environmental.",
)

SENSOR_OPTIONS = (
    click.option("--replicas", metavar="N", help="How many sensors."),
    KIND_OPTION,
    click.option(
        "--rate", metavar="R", help="Readings per second of each sensor, such as 10 or 0.2; or 1/min, every 15m."
    ),
    click.option(
        "--phase",
        metavar="HOW",
        help="When sensors read: aligned (all at the same time, the default), spread or random.",
    ),
    click.option(
        "--seed", metavar="S", help="The same seed gives the same bytes, with --start or --for. Default: a random one."
    ),
    click.option("--prefix", metavar="P", help="Sensor ids P_000001, ... instead of ones after their city."),
    click.option(
        "--sensors-per-worker", metavar="N", help="How many sensors share a process and a database. Default: 1."
    ),
    click.option("--shared-db", is_flag=True, help="One database for all sensors instead of one each."),
)
"""The flags that say which sensors there are and how they read."""

CONFIG_KEY_OPTIONS = (
    *SENSOR_OPTIONS,
    click.option(
        "--store",
        metavar="HOW",
        help="sqlite (the default), or none: no reading is stored, and those that a target (--to) lacks are computed again.",
    ),
    click.option(
        "--for",
        "duration",
        metavar="DURATION",
        help="Stop after 30s, 5m, 1h30m ... Default: run until stopped.",
    ),
    click.option(
        "--start",
        metavar="TIME",
        help="Simulated time of the first reading, such as 2026-01-01T00:00:00Z. Default: now; that time with --seed and --for.",
    ),
    click.option(
        "--speed",
        metavar="X",
        help="How fast simulated time passes: at 60 a minute has an hour of readings. Default: 1.",
    ),
    click.option(
        "--backfill",
        metavar="DURATION",
        help="Write a history of that length first, such as 30d, at full speed, then go on live in one timeline. --for counts from now.",
    ),
    click.option(
        "--resume",
        metavar="HOW",
        help="On data of an earlier run: skip to now, or catch_up on what is due since. With catch_up and the "
        "--start of that run, --for counts from there: the same command finishes it.",
    ),
    click.option("--host", metavar="H", help="Address to serve HTTP on. Default: 127.0.0.1."),
    click.option("--port", metavar="P", help="Port to serve HTTP on; 0 takes any free one. Default: 8080."),
    click.option("--no-http", is_flag=True, help="Serve no HTTP."),
)
"""The flags that set keys of the config; `config_overrides` takes their values."""

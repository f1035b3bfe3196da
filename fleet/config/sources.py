"""The sources of a config besides its file: environment variables and flags."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from fleet.config.dialects import Draft
from fleet.escaping import escape_short
from fleet.validation.issues import ConfigIssue, format_value
from fleet.validation.yaml_tree import Node, PlainScalar, SourceMark

ENVIRONMENT_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "IDENTITY_FILE": ("identities.path",),
    "SENSOR_ID": ("sensor.id",),
    "SENSOR_LOCATION": ("sensor.location",),
    "SENSOR_TYPE": ("sensor.type",),
    "SENSOR_MANUFACTURER": ("sensor.manufacturer", "identities.override.manufacturer"),
    "SENSOR_MODEL": ("sensor.model", "identities.override.model"),
    "SENSOR_FIRMWARE": ("sensor.firmware_version", "identities.override.firmware_version"),
    "SIMULATION_SPEED": ("simulation.speed",),
    "SIMULATION_BACKFILL": ("simulation.backfill",),
    "LOG_LEVEL": ("logging.level",),
    "PRESERVE_EXISTING_DB": ("database.preserve_existing",),
    "MONITORING_ENABLED": ("monitoring.enabled",),
    "MONITORING_HOST": ("monitoring.host",),
    "MONITORING_PORT": ("monitoring.port",),
    "MONITORING_ALLOWED_HOSTS": ("monitoring.allowed_hosts",),
}
"""The keys that a variable sets. The hardware of a sensor overrides both the config's `sensor` and its identity file."""
BOOLEAN_KEYS = frozenset(
    ("database.preserve_existing", "monitoring.enabled", "daily_pattern", "weather_events", "measurement_noise")
)
LIST_KEYS = frozenset(("monitoring.allowed_hosts",))
"""Keys whose variable is a list, separated by commas."""
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
"""The beginning of what Kubernetes sets as NAME_PORT in each container for a service NAME of its namespace."""
BOOLEAN_DIGITS = {"1": "true", "0": "false"}


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A value and its source as the user knows it: `SourcedValue("5", "--rate")`. `continued` is true of a value of the last
    run, which a variable that a kind of sensor declares overrides."""

    value: object
    origin: str
    continued: bool = False


def apply_environment(draft: Draft, environment: Mapping[str, str]) -> None:
    """Override the file by the variables that are set; an empty one counts as not set."""
    debug = environment.get("DEBUG_MODE", "").lower()
    if BOOLEAN_DIGITS.get(debug, debug) in ("true", "yes", "on"):
        draft.set_node(("logging", "level"), make_node("DEBUG", "environment variable DEBUG_MODE"))
    elif BOOLEAN_DIGITS.get(debug, debug) not in ("", "false", "no", "off"):
        mark = SourceMark("environment variable DEBUG_MODE")
        draft.issues.append(ConfigIssue(mark, "", f"{debug[:60]!a} is not true or false"))
    for name, keys in ENVIRONMENT_VARIABLES.items():
        text, origin = environment.get(name, ""), f"environment variable {name}"
        if name.endswith("_PORT") and SERVICE_LINK.match(text):
            message = (
                f"{escape_short(text)} is ignored: Kubernetes sets it for a service of that name (enableServiceLinks)"
            )
            draft.warnings.append(ConfigIssue(SourceMark(origin), "", message))
            continue
        for key in keys if text else ():
            draft.set_node(tuple(key.split(".")), make_node(variable_value(key, text), origin))
    draft.issues.extend(temporary_folder_issues(environment.get("SQLITE_TMPDIR")))


def variable_value(key: str, text: str) -> str | list[str]:
    """Return the value that the text of a variable gives to a key."""
    if key in LIST_KEYS:
        return [part.strip() for part in text.split(",") if part.strip()]
    return BOOLEAN_DIGITS.get(text, text) if key in BOOLEAN_KEYS else text


def temporary_folder_issues(folder: str | None) -> Iterator[ConfigIssue]:
    """Yield an issue for an unusable SQLITE_TMPDIR. SQLite reads the variable itself, and silently uses another
    folder if it cannot write to that one."""
    if folder and not (Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        message = f"{format_value(folder)} is not a folder that this user can write to"
        yield ConfigIssue(SourceMark("environment variable SQLITE_TMPDIR"), "", message)


def apply_overrides(draft: Draft, overrides: Mapping[str, object]) -> None:
    """Override all other sources."""
    for key, value in overrides.items():
        sourced = value if isinstance(value, SourcedValue) else SourcedValue(value, f"override of {key}")
        if sourced.value is not None:
            draft.set_node(tuple(key.split(".")), make_node(sourced.value, sourced.origin))


def make_node(value: object, origin: str) -> Node:
    """Make a node whose mark is an origin instead of a line and column; text is read as the type of its field. A value inside may
    have an origin of its own."""
    if isinstance(value, SourcedValue):
        return make_node(value.value, value.origin)
    mark = SourceMark(origin)
    if isinstance(value, list | tuple):
        return Node([make_node(item, origin) for item in value], mark, mark, "")
    if isinstance(value, Mapping):
        return Node({key: make_node(item, origin) for key, item in value.items()}, mark, mark, "")
    return Node(value if isinstance(value, int | float | Decimal) else PlainScalar(value), mark, mark, "")

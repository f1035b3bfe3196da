"""The variables of the environment that a kind of sensor declares, and the `.env` file that may have them too.

They apply only if all sensors of a config are of that kind. A flag overrides them, and so does a variable of
`fleet.config.sources`; they override the config's file. The environment overrides the `.env` file of the current folder.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from fleet.catalogue.catalogue import SensorType
from fleet.catalogue.entries import VariableEntry
from fleet.config.dialects import Draft
from fleet.config.env_file import EnvValue, read_env_file
from fleet.config.sources import SourcedValue, variable_value
from fleet.errors import UserError
from fleet.validation.issues import ConfigIssue, format_value
from fleet.validation.rates import EXACT_MIN_RATE, MAX_RATE
from fleet.validation.scalars import NUMBER
from fleet.validation.yaml_tree import Node, PlainScalar, SourceMark

ENV_FILE = ".env"
ENVIRONMENT_ORIGIN = "environment variable "
CHANNELS_KEY = "normal_parameters"
RANGE_KEYS = ("min", "max")


def apply_kind_environment(
    draft: Draft, kind: SensorType, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> None:
    """Set what the variables say that a kind declares. Issues and warnings are added to the draft."""
    declared = kind.entry.environment
    try:
        file = read_env_file(Path(ENV_FILE)) if declared else {}
    except UserError as error:
        draft.issues.append(ConfigIssue(SourceMark(""), "", str(error)))
        return
    fixed = {key for key, value in overrides.items() if is_fixed(value)}
    known = {name.upper(): name for name in declared}
    values = {known[name.upper()]: value for name, value in file.items() if value.text and name.upper() in known}
    for name, text in environment.items():
        if text and name.upper() in known:
            values[known[name.upper()]] = EnvValue(text, SourceMark(f"{ENVIRONMENT_ORIGIN}{name}"))
    draft.warnings.extend(misspelt(file, known))
    for name, value in values.items():
        apply_variable(draft, kind, declared[name], name, value, fixed)
    for channel in kind.channels:
        centre_range(draft, kind, channel, values)


def is_fixed(override: object) -> bool:
    """Whether an override is from a flag, and not from the last run."""
    if isinstance(override, SourcedValue):
        return override.value is not None and not override.continued
    return override is not None


def misspelt(file: Mapping[str, EnvValue], known: Mapping[str, str]) -> Iterator[ConfigIssue]:
    """Warn of a variable of a file whose name is nearly one of those that are known."""
    for name, value in file.items():
        close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.85)
        if close and name.upper() not in known:
            yield ConfigIssue(value.mark, name, f"has no effect; did you mean {known[close[0]]}?")


def apply_variable(
    draft: Draft, kind: SensorType, entry: VariableEntry, name: str, value: EnvValue, fixed: set[str]
) -> None:
    """Set the keys of one variable, except those that are fixed."""
    text, label = value.text, name if value.mark.line else ""
    if entry.unused is not None:
        draft.warnings.append(ConfigIssue(value.mark, label, f"has no effect here: {entry.unused}"))
        return
    numeric = bool(entry.multiples) or entry.interval_of is not None
    if numeric and not NUMBER.match(text):
        draft.issues.append(ConfigIssue(value.mark, label, f"{format_value(PlainScalar(text))} is not a number"))
        return
    settings: dict[str, object] = {}
    if entry.interval_of is not None:
        rate = 1 / Fraction(text) if Fraction(text) else Fraction(0)
        if not EXACT_MIN_RATE <= rate <= MAX_RATE:
            allowed = f"a number of seconds between {1 / MAX_RATE:g} and {float(1 / EXACT_MIN_RATE):.0f}"
            draft.issues.append(ConfigIssue(value.mark, label, f"{format_value(PlainScalar(text))} is not {allowed}"))
            return
        settings[entry.interval_of] = f"{rate.numerator}/{rate.denominator}s"
    elif entry.multiples:
        settings = {key: f"{float(text) * factor:.12g}" for key, factor in entry.multiples.items()}
    elif entry.key is not None:
        settings[entry.key] = variable_value(entry.key, text.lower() if text.lower() in FLAG_WORDS else text)
    for key, setting in settings.items():
        path = tuple(key.split("."))
        origin = draft.source_map.nodes[path].mark.origin if path in draft.source_map.nodes else ""
        if key in fixed or (origin.startswith(ENVIRONMENT_ORIGIN) and origin != value.mark.origin):
            continue
        if path[0] == CHANNELS_KEY:
            list_channels(draft, kind)
        draft.set_node(path, Node(PlainScalar(setting), value.mark, value.mark, label))


FLAG_WORDS = frozenset(("true", "false", "yes", "no", "on", "off"))


def list_channels(draft: Draft, kind: SensorType) -> None:
    """List all channels of the kind in a config that lists none, as it has all of them."""
    if not draft.get((CHANNELS_KEY,)):
        draft.set_value((CHANNELS_KEY,), {name: {} for name in kind.channels})


def centre_range(draft: Draft, kind: SensorType, channel: str, values: Mapping[str, EnvValue]) -> None:
    """Move the mean of a channel to the middle of a range that a variable states, and narrow its movement with a narrower one.
    The largest step stays. A config that states a mean or a deviation keeps it."""
    path, profile = (CHANNELS_KEY, channel), kind.channels[channel]
    marks = {value.mark for value in values.values()}
    nodes = {key: draft.source_map.nodes.get((*path, key)) for key in RANGE_KEYS}
    if not any(node is not None and node.mark in marks for node in nodes.values()):
        return
    ends = {}
    for key, node in nodes.items():
        stated = draft.get((*path, key))
        if stated is not None and not (node is not None and isinstance(stated, str) and NUMBER.match(stated)):
            return
        ends[key] = float(getattr(profile, key) if stated is None else stated)
    low, high = ends["min"], ends["max"]
    origin = f"the range of {channel} in the environment"
    if low > high:
        return
    if draft.get((*path, "mean")) is None:
        draft.complete((*path, "mean"), (low + high) / 2, origin)
    width = profile.max - profile.min
    if draft.get((*path, "std_dev")) is None and 0 < high - low < width:
        draft.complete((*path, "std_dev"), profile.std_dev * (high - low) / width, origin)
        step = next((dict(each.parameters)["step"] for each in profile.signals if each.name == "walk"), None)
        if step is not None and draft.get((*path, "step")) is None:
            draft.complete((*path, "step"), step, f"profile of {kind.name} sensors")

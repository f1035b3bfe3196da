"""The spellings of the config: every name a key has had, and its canonical name.

To accept another spelling, add a line to `KEY_ALIASES`. A `*` stands for any one key; a spelling may be in another
section than the key it means, and may need its number converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fleet.validation.issues import ConfigIssue, KeyPath, SourceMap, format_value
from fleet.validation.scalars import NUMBER
from fleet.validation.yaml_tree import Node, PlainScalar

NumberConverter = Callable[[Decimal], Decimal]

METRES_PER_DEGREE = Decimal(111_195)  # of latitude, on a sphere of 6371.0 km


def hours_to_seconds(number: Decimal) -> Decimal:
    return number * 3600


def degrees_to_metres(number: Decimal) -> Decimal:
    return number * METRES_PER_DEGREE


KEY_ALIASES: Mapping[str, tuple[str, NumberConverter | None]] = {
    "config_reload": ("dynamic_reload", None),
    "dynamic_reloading": ("dynamic_reload", None),
    "dynamic_reload.check_interval": ("dynamic_reload.check_interval_seconds", None),
    "location": ("random_location", None),
    "random_location.use_random": ("random_location.enabled", None),
    "random_location.coordinate_variation": ("random_location.gps_variation", degrees_to_metres),
    "simulation.run_time_seconds": ("simulation.duration_seconds", None),
    "simulation.runtime_seconds": ("simulation.duration_seconds", None),
    "simulation.duration": ("simulation.duration_seconds", None),
    "simulation.batch_interval": ("database.batch_interval", None),
    "normal_parameters.*.min_value": ("normal_parameters.*.min", None),
    "normal_parameters.*.max_value": ("normal_parameters.*.max", None),
    "anomalies.types.*.probability": ("anomalies.types.*.weight", None),
    "anomalies.types.noise.factor": ("anomalies.types.noise.noise_factor", None),
    "database.backup_enabled": ("database.backup.enabled", None),
    "database.backup_interval": ("database.backup.interval", None),
    "database.backup_interval_hours": ("database.backup.interval", hours_to_seconds),
    "database.backup_path": ("database.backup.path", None),
    "database.backup.interval_hours": ("database.backup.interval", hours_to_seconds),
    "database.backup_keep": ("database.backup.keep", None),
    "logging.console_output": ("logging.console", None),
    "logging.json": ("logging.json_lines", None),
}


@dataclass(slots=True)
class Draft:
    """An unvalidated config: plain values in the canonical shape, and the place at which each was written.
    `completions` maps values that were not written and are no defaults either to their origin."""

    source_map: SourceMap
    values: dict[str, Any] = field(default_factory=dict)
    issues: list[ConfigIssue] = field(default_factory=list)
    completions: dict[KeyPath, str] = field(default_factory=dict)

    def set_node(self, path: KeyPath, node: Node) -> None:
        """Set the value at a path to that of a node, making the sections above it."""
        self.set_value(path, self.source_map.record(node, path))

    def set_value(self, path: KeyPath, value: object) -> None:
        here = self.values
        for key in path[:-1]:
            if here.get(str(key)) is None:
                here[str(key)] = {}
            here = here[str(key)]
            if not isinstance(here, dict):
                return  # the model says that this is no section
        here[str(path[-1])] = value

    def complete(self, path: KeyPath, value: object, origin: str) -> None:
        """Set a value that was not written."""
        self.set_value(path, value)
        self.completions[path] = origin

    def get(self, path: KeyPath) -> Any:
        """Return the value at a path, None if there is none."""
        here: Any = self.values
        for key in path:
            here = here.get(key) if isinstance(here, dict) else None
        return here


def canonical_draft(root: Node) -> Draft:
    """Convert a file to the canonical shape; a key that is present in two spellings is an issue."""
    draft = Draft(SourceMap(root))
    if isinstance(root.value, dict):
        apply_aliases(root.value, (), draft)
    else:
        value = format_value(draft.source_map.record(root, ()))
        draft.issues.append(ConfigIssue(root.mark, "", f"{value} is not a mapping of sections, such as `simulation:`"))
    return draft


def apply_aliases(section: Mapping[str, Node], path: KeyPath, draft: Draft) -> None:
    """Move the entries of one section to their canonical paths; `path` is the section's."""
    for key, node in section.items():
        target, convert = canonical_path((*path, key))
        first = draft.source_map.nodes.get(target)
        if first is not None:
            message = f"says the same as {first.key} on line {first.key_mark.line}; keep one"
            draft.issues.append(ConfigIssue(node.key_mark, node.key, message))
        elif isinstance(node.value, dict):
            draft.source_map.nodes[target] = node
            if not isinstance(draft.get(target), dict):
                draft.set_value(target, {})
            apply_aliases(node.value, target, draft)
        else:
            draft.set_node(target, node)
            draft.set_value(target, convert_number(draft.get(target), convert))


def canonical_path(path: KeyPath) -> tuple[KeyPath, NumberConverter | None]:
    """Return the canonical path of a key, and the conversion of its number."""
    for pattern in wildcard_patterns(path):
        if pattern in KEY_ALIASES:
            name, convert = KEY_ALIASES[pattern]
            return tuple(path[at] if part == "*" else part for at, part in enumerate(name.split("."))), convert
    return path, None


def wildcard_patterns(path: KeyPath) -> Iterator[str]:
    """Yield the dotted path, and the same with a `*` in place of each inner key."""
    parts = [str(part) for part in path]
    yield ".".join(parts)
    for at in range(1, len(parts) - 1):
        yield ".".join((*parts[:at], "*", *parts[at + 1 :]))


def key_aliases(path: KeyPath) -> list[str]:
    """Return the further names that keys of the section at `path` have."""
    sections = {pattern.rpartition(".")[0] for pattern in wildcard_patterns((*path, ""))}
    return [key for section, _, key in (name.rpartition(".") for name in KEY_ALIASES) if section in sections]


def convert_number(value: object, convert: NumberConverter | None) -> object:
    if convert is not None and isinstance(value, PlainScalar) and NUMBER.match(value):
        return PlainScalar(convert(Decimal(value)))
    return value

"""The spellings of the config: every name a key has had, and its canonical name.

To accept another spelling, add a line to `KEY_ALIASES`; to accept a key that means nothing here, one to
`KEYS_WITHOUT_EFFECT`. A `*` stands for any one key; a spelling may be in another section than the key it means, may mean
several keys, and may need its value converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fleet.validation.issues import ConfigIssue, KeyPath, SourceMap, format_value
from fleet.validation.scalars import FALSE_WORDS, NUMBER, TRUE_WORDS
from fleet.validation.yaml_tree import Node, PlainScalar

ValueConverter = Callable[[object], object]

METRES_PER_DEGREE = Decimal(111_195)  # of latitude, on a sphere of 6371.0 km


def hours_to_seconds(value: object) -> object:
    return multiply(value, Decimal(3600))


def degrees_to_metres(value: object) -> object:
    return multiply(value, METRES_PER_DEGREE)


def multiply(value: object, factor: Decimal) -> object:
    """Multiply a written number; any other value is returned as it is, for the model to refuse."""
    if isinstance(value, PlainScalar) and NUMBER.match(value):
        return PlainScalar(Decimal(value) * factor)
    return value


def flag_to_amplitude(value: object) -> object:
    """Convert a daily pattern that is on or off to an amplitude: that of the profile, or 0."""
    if isinstance(value, PlainScalar) and value.lower() in TRUE_WORDS | FALSE_WORDS:
        return None if value.lower() in TRUE_WORDS else PlainScalar("0")
    return value


def additional_metrics_path(value: object) -> object:
    """Drop `/metrics`, which is always served, for Prometheus."""
    return None if value == "/metrics" else value


KEY_ALIASES: Mapping[str, tuple[str, ValueConverter | None]] = {
    "sensors": ("replicas.count", None),
    "rate": ("simulation.readings_per_second", None),
    "duration": ("simulation.duration_seconds", None),
    "anomaly": ("anomalies", None),
    "config_reload": ("dynamic_reload", None),
    "dynamic_reloading": ("dynamic_reload", None),
    "dynamic_reload.check_interval": ("dynamic_reload.check_interval_seconds", None),
    "dynamic_reload.reload_on_change": ("dynamic_reload.watch_config", None),
    "location": ("random_location", None),
    "random_location.use_random": ("random_location.enabled", None),
    "random_location.coordinate_variation": ("random_location.gps_variation", degrees_to_metres),
    "random_location.city_count": ("random_location.number_of_cities", None),
    "simulation.run_time_seconds": ("simulation.duration_seconds", None),
    "simulation.runtime_seconds": ("simulation.duration_seconds", None),
    "simulation.duration": ("simulation.duration_seconds", None),
    "simulation.batch_interval": ("database.batch_interval", None),
    "normal_parameters.*.min_value": ("normal_parameters.*.min", None),
    "normal_parameters.*.max_value": ("normal_parameters.*.max", None),
    "normal_parameters.*.daily_pattern": ("normal_parameters.*.daily_amplitude", flag_to_amplitude),
    "anomalies.base_probability": ("anomalies.probability", None),
    "anomalies.types.*.probability": ("anomalies.types.*.weight", None),
    "anomalies.types.noise.factor": ("anomalies.types.noise.noise_factor", None),
    "anomalies.types.spike.severity_factor": (
        "anomalies.types.spike.multiplier_min, anomalies.types.spike.multiplier_max",
        None,
    ),
    "database.preserve_existing_db": ("database.preserve_existing", None),
    "database.batch_timeout": ("database.batch_interval", None),
    "database.backup_enabled": ("database.backup.enabled", None),
    "database.backup_interval": ("database.backup.interval", None),
    "database.backup_interval_hours": ("database.backup.interval", hours_to_seconds),
    "database.backup_path": ("database.backup.path", None),
    "database.backup.interval_hours": ("database.backup.interval", hours_to_seconds),
    "database.backup_keep": ("database.backup.keep", None),
    "database.max_backups": ("database.backup.keep", None),
    "logging.console_output": ("logging.console", None),
    "logging.json": ("logging.json_lines", None),
    "monitoring.health_check_path": ("monitoring.endpoints.health", None),
    "monitoring.metrics_path": ("monitoring.endpoints.metrics", additional_metrics_path),
}

KEYS_WITHOUT_EFFECT: Mapping[str, str] = {
    "monitoring.metrics_interval_seconds": "metrics are computed at each request",
    "monitoring.enable_prometheus": "/metrics is served whenever there is HTTP",
    "random_location.filter_by": "cities are filtered by min_population, max_population, include_countries and exclude_countries",
    "anomalies.types.trend.rate_change": "the size of a trend is max_change_percent",
    "anomalies.types.noise.noise_multiplier": "the size of the noise is noise_factor, a fraction of the mean",
    "dynamic_reload.validate_before_reload": "a changed config is always checked before it is applied",
    "advanced": "of its keys, database has retry_attempts, retry_delay, batch_size and batch_interval",
    "output": "readings are written to SQLite databases, and delivered elsewhere by `fleet collect`",
    "valid_configurations": "manufacturers, models and firmware are in the catalogue, and in a file named by `catalogue`",
}
"""Keys and sections of earlier simulators that are accepted with a warning, and the part of this program that replaces
them."""

SHORT_SECTIONS: Mapping[str, tuple[str, type[str] | type[list[Any]]]] = {
    "replicas": ("count", str),
    "delivery": ("to", list),
}
"""Sections for which a single value (str) or a list may be written, and the key that it is the value of."""


@dataclass(slots=True)
class Draft:
    """An unvalidated config: plain values in the canonical shape, and the place at which each was written.
    `completions` maps values that were not written and are no defaults either to their origin."""

    source_map: SourceMap
    values: dict[str, Any] = field(default_factory=dict)
    issues: list[ConfigIssue] = field(default_factory=list)
    warnings: list[ConfigIssue] = field(default_factory=list)
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
        reason = reason_without_effect((*path, key))
        if reason is not None:
            draft.warnings.append(ConfigIssue(node.key_mark, node.key, f"has no effect: {reason}"))
            continue
        targets, convert = canonical_paths((*path, key))
        if not path and key in SHORT_SECTIONS:
            inner, written = SHORT_SECTIONS[key]
            targets = [(key, inner)] if isinstance(node.value, written) else targets
        for target in targets:
            move_node(node, target, convert, draft)


def move_node(node: Node, target: KeyPath, convert: ValueConverter | None, draft: Draft) -> None:
    """Put a node, and all below it, at its canonical path."""
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
        if convert is not None:
            draft.set_value(target, convert(draft.get(target)))


def reason_without_effect(path: KeyPath) -> str | None:
    """Return the reason why a key has no effect, None if it is not one of those."""
    return KEYS_WITHOUT_EFFECT.get(".".join(map(str, path)))


def canonical_paths(path: KeyPath) -> tuple[list[KeyPath], ValueConverter | None]:
    """Return the canonical paths of a key, and the conversion of its value."""
    for pattern in wildcard_patterns(path):
        if pattern in KEY_ALIASES:
            names, convert = KEY_ALIASES[pattern]
            return [fill_wildcards(name, path) for name in names.split(", ")], convert
    return [path], None


def fill_wildcards(name: str, path: KeyPath) -> KeyPath:
    return tuple(path[at] if part == "*" else part for at, part in enumerate(name.split(".")))


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

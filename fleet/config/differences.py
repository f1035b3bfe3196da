"""The differences between two configs, and the part of them that a running fleet can apply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from fleet.catalogue.catalogue import SURROUNDINGS_KEY, Catalogue
from fleet.config.config import Config
from fleet.validation.issues import format_value
from worker.spec import Identity

RELOADABLE_KEYS = (
    "normal_parameters",
    "daily_pattern",
    "weather_events",
    "measurement_noise",
    "surroundings",
    "climate",
    "anomalies",
    "scenario",
    "catalogue",
    "kinds",
    "sensor.location",
    "simulation.readings_per_second",
    "simulation.jitter",
    "logging.level",
    "replicas.count",
)
"""The keys, or whole sections, that a running fleet takes; all others need a restart."""

TYPE_DEPENDENT_SECTIONS = frozenset(
    {"normal_parameters", "surroundings", "anomalies", "scenario", "catalogue", "kinds"}
)
"""Those that were completed from and checked against each other and the profile of `sensor.type`: while that waits for
a restart, so do they."""


class Difference(NamedTuple):
    """One changed value: of a config or a catalogue by its dotted key, of an identity by sensor id and field."""

    key: str
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.key}: {format_value(self.before)} -> {format_value(self.after)}"


def config_differences(before: Config, after: Config) -> list[Difference]:
    """Return the differences in the order of the keys."""
    return list(mapping_differences(before.model_dump(), after.model_dump()))


def catalogue_differences(before: Catalogue, after: Catalogue) -> list[Difference]:
    """Return the differences in the order of the keys, each of which begins with `catalogue`."""
    if before == after:
        return []
    return list(mapping_differences(*({"catalogue": catalogue_values(catalogue)} for catalogue in (before, after))))


def catalogue_values(catalogue: Catalogue) -> dict[str, Any]:
    types = {name: each.entry.model_dump() for name, each in catalogue.types.items()}
    surroundings = {name: entry.model_dump() for name, entry in catalogue.surroundings.items()}
    return {**types, SURROUNDINGS_KEY: surroundings}


def mapping_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = dict(flatten(before)), dict(flatten(after))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Difference(key, old.get(key), new.get(key))


def flatten(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{above}{key}.")
        elif isinstance(value, tuple):
            for number, entry in enumerate(value):
                name = f"{above}{key}[{number}]"
                yield from flatten(entry, f"{name}.") if isinstance(entry, Mapping) else [(name, entry)]
        else:
            yield f"{above}{key}", value


def apply_reloadable(before: Config, after: Config) -> Config:
    """Return `before` with every value of `after` that a running fleet can apply."""
    result = before
    for name in RELOADABLE_KEYS:
        section, _, key = name.partition(".")
        if section in TYPE_DEPENDENT_SECTIONS and before.sensor_types != after.sensor_types:
            continue
        value = getattr(after, section)
        if key:
            value = getattr(result, section).model_copy(update={key: getattr(value, key)})
        result = result.model_copy(update={section: value})
    return result


def identity_differences(before: Identity, after: Identity) -> list[Difference]:
    return [
        Difference(f"{after.sensor_id}: {field.name}", was, now)
        for field in fields(Identity)
        if (was := getattr(before, field.name)) != (now := getattr(after, field.name))
    ]

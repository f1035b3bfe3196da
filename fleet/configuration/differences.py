"""What is different between two configs, and which of it a running fleet can take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from fleet.configuration.catalogue import SURROUNDINGS, Catalogue
from fleet.configuration.config import Config
from fleet.configuration.faults import shown
from worker.spec import Identity

RELOADED = (
    "normal_parameters",
    "daily_pattern",
    "surroundings",
    "climate",
    "anomalies",
    "scenario",
    "catalogue",
    "sensor.location",
    "simulation.readings_per_second",
    "logging.level",
    "replicas.count",
)
"""The keys, or whole sections, that a running fleet takes; all others need a restart."""

OF_A_TYPE = frozenset({"normal_parameters", "surroundings", "anomalies", "scenario", "catalogue"})
"""Those that were completed from and checked against each other and the profile of `sensor.type`: while that waits for
a restart, so do they."""


class Difference(NamedTuple):
    """A value that is another: of a config or a catalogue by its dotted key, of an identity by sensor id and field."""

    key: str
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.before)} -> {shown(self.after)}"


def differences(before: Config, after: Config) -> list[Difference]:
    """In the order of the keys."""
    return list(between(before.model_dump(), after.model_dump()))


def of_catalogues(before: Catalogue, after: Catalogue) -> list[Difference]:
    """In the order of the keys, of which each begins with `catalogue`."""
    if before == after:
        return []
    return list(between(*({"catalogue": entries(catalogue)} for catalogue in (before, after))))


def entries(catalogue: Catalogue) -> dict[str, Any]:
    kinds = {name: kind.entry.model_dump() for name, kind in catalogue.types.items()}
    places = {name: place.model_dump() for name, place in catalogue.surroundings.items()}
    return {**kinds, SURROUNDINGS: places}


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = dict(leaves(before)), dict(leaves(after))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Difference(key, old.get(key), new.get(key))


def leaves(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{above}{key}.")
        elif isinstance(value, tuple):
            for number, entry in enumerate(value):
                name = f"{above}{key}[{number}]"
                yield from leaves(entry, f"{name}.") if isinstance(entry, Mapping) else [(name, entry)]
        else:
            yield f"{above}{key}", value


def taken(before: Config, after: Config) -> Config:
    """`before` with all of `after` that a running fleet takes."""
    result = before
    for name in RELOADED:
        section, _, key = name.partition(".")
        if section in OF_A_TYPE and before.sensor.type != after.sensor.type:
            continue
        value = getattr(after, section)
        if key:
            value = getattr(result, section).model_copy(update={key: getattr(value, key)})
        result = result.model_copy(update={section: value})
    return result


def of_identities(before: Identity, after: Identity) -> list[Difference]:
    return [
        Difference(f"{after.sensor_id}: {field.name}", was, now)
        for field in fields(Identity)
        if (was := getattr(before, field.name)) != (now := getattr(after, field.name))
    ]

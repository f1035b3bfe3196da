"""The catalogue: the sensor types, their hardware, and its effects on anomalies and on the healthy signal.

It is all data: `configs/catalogue.yaml`, one file for each type in `configs/profiles/`, and a file of the
catalogue's shape that a config may name to extend them. Mappings are merged, anything else is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fleet.catalogue.entries import AUTO, NONE, ChannelProfile, Effect, SensorTypeEntry, Surroundings
from fleet.errors import UserError
from fleet.resources import resource_path
from fleet.validation.issues import ConfigIssue, SourceMap, model_issues, raise_issues
from fleet.validation.scalars import MAX_CATALOGUE_NAME_LENGTH, Section
from fleet.validation.yaml_tree import Node, SourceMark, read_yaml
from worker.readings.anomalies import anomaly_class
from worker.spec import Identity

MAX_ANOMALY_SHARE = Fraction(9, 10)
MAX_CHANNEL_ODDS = Fraction(10**12)
"""As good as always, and a float."""
SURROUNDINGS_KEY = "surroundings"
"""The key beside the sensor types; no type can have that name."""
WORD = re.compile(r"[^\W\d_]+")

EntryModel = TypeVar("EntryModel", bound=Section)
SectionPath = tuple[str, ...]


@dataclass(frozen=True)
class Effects:
    """The combined effects of the manufacturer, model and firmware of one sensor."""

    parts: tuple[Effect, ...]

    @property
    def multiplier(self) -> Fraction:
        """The factor on the probability of anomalies."""
        multiplier = Fraction(1)
        for part in self.parts:
            multiplier *= Fraction(part.multiplier)
        return multiplier

    def anomaly_share(self, probability: float) -> Fraction:
        return effective_share(probability, self.multiplier)

    def weight(self, anomaly_type: str, weight: float) -> Fraction:
        """Return the adjusted weight of a type of anomaly, before the weights are normalised."""
        adjusted = Fraction(Decimal(repr(weight)))
        for part in self.parts:
            adjusted *= Fraction(part.weights.get(anomaly_type, Decimal(1)))
        return adjusted

    def parameters(self, anomaly_type: str) -> Mapping[str, float]:
        """Return the parameters of a type of anomaly, by their names in a config; firmware overrides model, model
        manufacturer."""
        return anomaly_class(anomaly_type).merge_parameters(
            *(part.parameters.get(anomaly_type, {}) for part in self.parts)
        )

    @property
    def severity(self) -> float:
        severity = 1.0
        for part in self.parts:
            severity *= part.severity
        return severity

    def std_dev(self, channel: str) -> Fraction:
        """Return the factor on the standard deviation of a channel's healthy signal."""
        factor = Fraction(1)
        for part in self.parts:
            factor *= Fraction(part.std_dev.get(channel, Decimal(1)))
        return factor

    def channel_odds(self, channels: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
        """Return the odds of the channels that have a share of their own, where each other channel has odds 1."""
        shares = {
            name: Fraction(share)
            for part in self.parts
            for name, share in part.channel_shares.items()
            if name in channels
        }
        others, left = len(channels) - len(shares), 1 - sum(shares.values())
        unit = left / others if others and left > 0 else Fraction(1)
        return tuple((name, float(min(share / unit, MAX_CHANNEL_ODDS))) for name, share in shares.items())


def effective_share(probability: float, multiplier: Fraction) -> Fraction:
    """Return the effective share of anomalous readings: exactly probability x multiplier, at most 0.9."""
    return min(Fraction(Decimal(repr(probability))) * multiplier, MAX_ANOMALY_SHARE)


@dataclass(frozen=True)
class SensorType:
    """One sensor type of the catalogue."""

    name: str
    entry: SensorTypeEntry

    @cached_property
    def models(self) -> Mapping[str, tuple[str, ...]]:
        """The models by manufacturer."""
        return {name: maker.models for name, maker in self.entry.manufacturers.items()}

    def models_of(self, manufacturer: str | None) -> tuple[str, ...]:
        """Return the models of a manufacturer, or of all of them if the catalogue does not have that one."""
        all_models = (name for models in self.models.values() for name in models)
        return self.models.get(manufacturer or "") or tuple(dict.fromkeys(all_models))

    @cached_property
    def firmware(self) -> tuple[str, ...]:
        return tuple(self.entry.firmware)

    @property
    def channels(self) -> Mapping[str, ChannelProfile]:
        return self.entry.channels

    def effects(self, manufacturer: str | None, model: str | None, firmware: str | None) -> Effects:
        """Return the effects of the given hardware; a name that the catalogue does not have has no effect."""
        known = (
            self.entry.manufacturers.get(manufacturer or ""),
            self.entry.models.get(model or ""),
            self.entry.firmware.get(firmware or ""),
        )
        return Effects(tuple(effect for effect in known if effect is not None))


@dataclass(frozen=True)
class Catalogue:
    """All sensor types by name, the aliases of their names, and the known surroundings."""

    types: Mapping[str, SensorType]
    aliases: Mapping[str, str]
    surroundings: Mapping[str, Surroundings]

    def has_sensor_type(self, name: str) -> bool:
        return self.aliases.get(name, name) in self.types

    def sensor_type(self, name: str) -> SensorType:
        """Return the type of that name or alias; UserError listing the valid names if there is none."""
        if not self.has_sensor_type(name):
            raise UserError(f"'{name}' is not a sensor type; there are {', '.join(self.types)}")
        return self.types[self.aliases.get(name, name)]

    def surroundings_of(self, choice: str, identity: Identity) -> str | None:
        """Return the name of a sensor's surroundings; None if they are not known.

        `choice` is a name, `none` or `auto`. With `auto` the first match of these is taken: a deployment type that
        is such a name; the first word of the location by which surroundings are known; the first such word of the
        deployment type.
        """
        if choice != AUTO:
            return None if choice == NONE else choice
        deployment, location = (identity.deployment_type or "").lower(), (identity.location or "").lower()
        if deployment in self.surroundings:
            return deployment
        meanings = {word.lower(): name for name, entry in self.surroundings.items() for word in entry.words}
        words = (*WORD.findall(location), *WORD.findall(deployment))
        return next((meanings[word] for word in words if word in meanings), None)


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Load the packaged catalogue, extended by the file at `path`; UserError if a file is not valid."""
    values: dict[str, Any] = {}
    source_map = SourceMap(Node(None, SourceMark(str(path or resource_path("catalogue.yaml"))), SourceMark(""), ""))
    for name, source in catalogue_files(path):
        deep_merge(values, read_entries(name, source, source_map))
    issues: list[ConfigIssue] = []
    surroundings_values = values.pop(SURROUNDINGS_KEY, None) or {}
    types = {
        name: SensorType(name, entry)
        for name, entry in validate_entries(SensorTypeEntry, values, (), source_map, issues)
    }
    surroundings = dict(validate_entries(Surroundings, surroundings_values, (SURROUNDINGS_KEY,), source_map, issues))
    raise_issues(issues)
    aliases = {alias: name for name, sensor_type in types.items() for alias in sensor_type.entry.aliases}
    return Catalogue(types, aliases, surroundings)


def catalogue_files(path: Path | None) -> Iterator[tuple[str | None, Path]]:
    """Yield the files in the order in which they extend each other, with the type that a profile is about."""
    for profile in sorted(resource_path("profiles").glob("*.yaml")):
        yield profile.stem, profile
    yield None, resource_path("catalogue.yaml")
    if path is not None:
        yield None, path


def read_entries(name: str | None, source: Path, source_map: SourceMap) -> dict[str, Any]:
    """Read the entries of one file by type."""
    root = read_yaml(source)
    if not isinstance(root.value, dict):
        raise UserError(f"{root.mark}: not a catalogue: it has no sensor types")
    if name is not None:
        return {name: source_map.record(root, (name,))}
    return {key: source_map.record(node, (key,)) for key, node in root.value.items()}


def deep_merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            deep_merge(into[key], value)
        else:
            into[key] = value


def validate_entries(
    model: type[EntryModel], values: object, path: SectionPath, source_map: SourceMap, issues: list[ConfigIssue]
) -> Iterator[tuple[str, EntryModel]]:
    """Yield the valid entries of the section at `path` by name; add an issue for each other one."""
    if not isinstance(values, dict):
        issues.append(source_map.issue(path, "is not a mapping of names"))
        return
    for name, value in values.items():
        if name in (AUTO, NONE) or not (name.strip() and name.isprintable() and len(name) <= MAX_CATALOGUE_NAME_LENGTH):
            message = f"is not a name of 1 to {MAX_CATALOGUE_NAME_LENGTH} characters on one line (nor {AUTO} or {NONE})"
            issues.append(source_map.issue((*path, name), message, at_key=True))
            continue
        try:
            yield name, model.model_validate(value)
        except ValidationError as error:
            issues.extend(model_issues(error, source_map, model.model_json_schema(), (*path, name)))

"""The catalogue: the sensor types, their hardware, and its effects on anomalies and on the healthy signal.

It is all data: one file for each kind of sensor in `configs/kinds/`, the files of kinds that a config names, hardware in
`configs/catalogue.yaml`, and a file of the catalogue's shape that a config may name to extend them. Mappings are merged,
anything else is replaced.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fleet.catalogue.attributes import SensorAttribute, pick
from fleet.catalogue.entries import AUTO, NONE, ChannelProfile, Effect, SensorTypeEntry, Surroundings
from fleet.catalogue.signals import nearest_name
from fleet.errors import UserError
from fleet.resources import resource_path
from fleet.validation.issues import ConfigIssue, SourceMap, format_value, model_issues, raise_issues
from fleet.validation.scalars import MAX_CATALOGUE_NAME_LENGTH, Section
from fleet.validation.yaml_tree import Node, SourceMark, read_yaml
from worker.readings.anomalies import anomaly_class
from worker.spec import AttributeValue, ColumnType, Identity

MAX_ANOMALY_SHARE = Fraction(9, 10)
MAX_CHANNEL_ODDS = Fraction(10**12)
"""As good as always, and a float."""
SURROUNDINGS_KEY = "surroundings"
"""The key beside the sensor types; no type can have that name."""
COLUMN_NOUNS: Mapping[ColumnType, str] = {"REAL": "numbers", "INTEGER": "whole numbers", "TEXT": "text"}
VALUE_NOUNS: Mapping[ColumnType, str] = {"REAL": "a number", "INTEGER": "a whole number", "TEXT": "text"}
WORD = re.compile(r"[^\W\d_]+")

EntryModel = TypeVar("EntryModel", bound=Section)
SectionPath = tuple[str, ...]
AttributeValues = tuple[tuple[str, AttributeValue], ...]


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

    @cached_property
    def channels(self) -> Mapping[str, ChannelProfile]:
        """All channels that a sensor of the type may have, those of all variants together."""
        return {name: channel for _, channels in self.entry.channel_sets() for name, channel in channels.items()}

    def channels_of(self, variant: str | None) -> Mapping[str, ChannelProfile]:
        """Return the channels of a sensor of a variant; None for a type without variants."""
        found = self.entry.variants.get(variant or "")
        return {**self.entry.channels, **(found.channels if found else {})}

    def variant_of(self, identity: Identity) -> str | None:
        """Return the variant of a sensor; None if the type has no variants. A sensor whose identity does not have a valid
        one is of the first variant."""
        variants = self.entry.variants
        name = dict(identity.attributes).get(self.entry.variant_attribute)
        return name if isinstance(name, str) and name in variants else next(iter(variants), None)

    def attributes(self, draw: Callable[[str], float], identity: Identity) -> AttributeValues:
        """Return the attributes of a sensor that the type declares. Those that its identity does not have are drawn: `draw`
        returns a number uniform in [0, 1) for a purpose. Raises UserError for a value that its column cannot hold."""
        entry, known = self.entry, dict(identity.attributes)
        values: dict[str, AttributeValue] = {}
        declared: dict[str, SensorAttribute] = dict(entry.attributes)
        if entry.variants:
            names, weights = tuple(entry.variants), tuple(each.weight for each in entry.variants.values())
            variant = known.get(entry.variant_attribute)
            if variant is not None and variant not in names:
                what = f"{identity.sensor_id}: attributes.{entry.variant_attribute}: {format_value(variant)} is not a variant"
                raise UserError(f"{what} of {self.name} sensors; {nearest_name(str(variant), names)}")
            chosen = str(variant) if variant is not None else pick(names, weights, draw("variant"))
            values[entry.variant_attribute] = chosen
            declared |= entry.variants[chosen].attributes
        for name, attribute in declared.items():
            value = known.get(name)
            values[name] = attribute.draw(draw(f"attribute {name}")) if value is None else value
            if value is not None:
                values[name] = checked_value(identity, name, value, attribute.column_type)
        return tuple(values.items())

    def effects(self, manufacturer: str | None, model: str | None, firmware: str | None) -> Effects:
        """Return the effects of the given hardware; a name that the catalogue does not have has no effect."""
        known = (
            self.entry.manufacturers.get(manufacturer or ""),
            self.entry.models.get(model or ""),
            self.entry.firmware.get(firmware or ""),
        )
        return Effects(tuple(effect for effect in known if effect is not None))


def checked_value(identity: Identity, name: str, value: AttributeValue, column_type: ColumnType) -> AttributeValue:
    """Return a stated attribute in the type of its column. Raises UserError if it is of another type."""
    fits = isinstance(value, str) if column_type == "TEXT" else isinstance(value, int | float)
    if not fits or (column_type == "INTEGER" and not isinstance(value, int)):
        reason = f"{format_value(value)} is not {VALUE_NOUNS[column_type]}, as in other sensors of the kind"
        raise UserError(f"{identity.sensor_id}: attributes.{name}: {reason}")
    return float(value) if column_type == "REAL" and value is not None else value


@dataclass(frozen=True)
class Catalogue:
    """All sensor types by name, the aliases of their names, and the known surroundings."""

    types: Mapping[str, SensorType]
    aliases: Mapping[str, str]
    surroundings: Mapping[str, Surroundings]

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels of all types."""
        return tuple(dict.fromkeys(name for each in self.types.values() for name in each.channels))

    def has_sensor_type(self, name: str) -> bool:
        return self.aliases.get(name, name) in self.types

    def sensor_type(self, name: str) -> SensorType:
        """Return the type of that name or alias; UserError listing the valid names if there is none."""
        if not self.has_sensor_type(name):
            raise UserError(f"{format_value(name)} is not a sensor type; {nearest_type(name, tuple(self.types))}")
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


def nearest_type(name: str, types: tuple[str, ...]) -> str:
    """Suggest the nearest sensor type, and say how another one is added."""
    return f"{nearest_name(name, types)} (or the path of a file that describes one, which ends in .yaml)"


def load_catalogue(path: Path | None = None, kinds: Sequence[Path] = ()) -> Catalogue:
    """Load the packaged catalogue with the kinds in the files `kinds`, extended by the file at `path`; UserError if a file
    is not valid. The packaged one alone is read once."""
    return packaged_catalogue() if path is None and not kinds else read_catalogue(path, kinds)


@cache
def packaged_catalogue() -> Catalogue:
    return read_catalogue(None, ())


def read_catalogue(path: Path | None, kinds: Sequence[Path]) -> Catalogue:
    source_map = SourceMap(Node(None, SourceMark(str(path or resource_path("catalogue.yaml"))), SourceMark(""), ""))
    values: dict[str, Any] = {**read_kinds(kinds, source_map)}
    for source in (resource_path("catalogue.yaml"), *([path] if path is not None else [])):
        deep_merge(values, read_entries(source, source_map))
    issues: list[ConfigIssue] = []
    surroundings_values = values.pop(SURROUNDINGS_KEY, None) or {}
    types = {
        name: SensorType(name, entry)
        for name, entry in validate_entries(SensorTypeEntry, values, (), source_map, issues)
    }
    surroundings = dict(validate_entries(Surroundings, surroundings_values, (SURROUNDINGS_KEY,), source_map, issues))
    issues.extend(column_issues(types, source_map))
    raise_issues(issues)
    aliases = {alias: name for name, sensor_type in types.items() for alias in sensor_type.entry.aliases}
    return Catalogue(types, aliases, surroundings)


def kind_files(paths: Iterable[str]) -> list[Path]:
    """Return the files of kinds at some paths: of a folder, all its files that end in .yaml."""
    return [file for path in map(Path, paths) for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]


def read_kinds(files: Sequence[Path], source_map: SourceMap) -> dict[str, dict[str, Any]]:
    """Read the packaged kinds and those in `files`, each named after its file; a file replaces a kind of its name. One that
    `extends` another has all that it does not state itself from there."""
    paths = {path.stem: path for path in (*sorted(resource_path("kinds").glob("*.yaml")), *files)}
    roots = {name: read_kind(path) for name, path in paths.items()}
    values: dict[str, dict[str, Any]] = {}

    def complete(name: str, below: tuple[str, ...]) -> dict[str, Any]:
        if name not in values:
            stated = source_map.record(roots[name], (name,))
            parent = stated.pop("extends", None)
            if parent is None:
                return values.setdefault(name, dict(stated))
            mark = source_map.nodes[name, "extends"].mark
            if parent in (name, *below):
                raise UserError(f"{mark}: extends: {format_value(parent)} extends this kind itself")
            if not isinstance(parent, str) or parent not in roots:
                raise UserError(
                    f"{mark}: extends: {format_value(parent)} is not a kind; {nearest_name(str(parent), tuple(roots))}"
                )
            inherited: dict[str, Any] = copy.deepcopy(complete(parent, (name, *below)))
            inherited.pop("aliases", None)
            copy_marks(source_map, parent, name)
            deep_merge(inherited, stated)
            values[name] = inherited
        return values[name]

    for name in roots:
        complete(name, ())
    return values


def copy_marks(source_map: SourceMap, parent: str, name: str) -> None:
    """Record the places of the values that a kind has from another one."""
    inherited = {(name, *path[1:]): node for path, node in source_map.nodes.items() if path[:1] == (parent,)}
    source_map.nodes |= {path: node for path, node in inherited.items() if path not in source_map.nodes}


def read_kind(path: Path) -> Node:
    root = read_yaml(path)
    if not isinstance(root.value, dict) or not root.value:
        raise UserError(f"{root.mark}: not a kind of sensor: it has no channels")
    if path.stem == SURROUNDINGS_KEY:
        raise UserError(f"{root.mark}: a kind cannot have the name {SURROUNDINGS_KEY}; rename the file")
    return root


def column_issues(types: Mapping[str, SensorType], source_map: SourceMap) -> Iterator[ConfigIssue]:
    """Yield an issue for each column that has another type in an earlier kind: readings of all kinds share tables."""
    known: dict[str, tuple[str, ColumnType]] = {}
    for name, sensor_type in types.items():
        for column, column_type in sensor_type.entry.columns():
            owner, other = known.setdefault(column, (name, column_type))
            if other != column_type:
                nouns = f"{COLUMN_NOUNS[column_type]} here, but {COLUMN_NOUNS[other]} in {owner} sensors"
                yield source_map.issue((name,), f"the column {column} holds {nouns}; give it another name")


def read_entries(source: Path, source_map: SourceMap) -> dict[str, Any]:
    """Read the entries of one file by type."""
    root = read_yaml(source)
    if not isinstance(root.value, dict):
        raise UserError(f"{root.mark}: not a catalogue: it has no sensor types")
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

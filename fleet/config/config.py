"""The config: one YAML file in any of its dialects becomes one frozen tree of settings.

Flags override the environment, the environment overrides the file, the file overrides the defaults. The sections are
in `sections`, `anomalies` and `scenario`, their other spellings in `dialects`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from fleet.catalogue.anomalies import Anomalies
from fleet.catalogue.catalogue import Catalogue, SensorType, kind_files, load_catalogue
from fleet.config.catalogue_checks import (
    city_issues,
    complete_channels,
    configured_sensor_types,
    file_issues,
    limit_issues,
    replica_issues,
    resolve_files,
    sensor_issues,
    surroundings_issues,
)
from fleet.config.database_section import Database
from fleet.config.delivery import Delivery
from fleet.config.dialects import Draft, canonical_draft, key_aliases
from fleet.config.kind_environment import apply_kind_environment
from fleet.config.kind_files import resolve_kinds
from fleet.config.record_files import record_column_issues, resolve_records
from fleet.config.scenario import (
    MAX_STEPS,
    Step,
    anomaly_issues,
    canonicalise_steps,
    stated_values,
    step_channel_issues,
    step_issues,
    with_anomalies_of,
)
from fleet.config.sections import (
    ChannelParameters,
    DynamicReload,
    Identities,
    Logging,
    Monitoring,
    RandomLocation,
    Replicas,
    Sensor,
    Simulation,
    Supervision,
)
from fleet.config.sources import SourcedValue, apply_environment, apply_overrides
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.resources import resource_path
from fleet.validation.issues import ConfigIssue, KeyPath, model_issues, raise_issues
from fleet.validation.rates import Rate
from fleet.validation.scalars import AsWhole, Flag, Section, Text
from fleet.validation.yaml_tree import Node, SourceMark, is_stream, parse_yaml, read_yaml

__all__ = ["Config", "SourcedValue", "json_schema", "load_config", "located_error", "to_yaml"]


SINCE_VERSION_2 = ("monitoring", "dynamic_reload")
"""Sections that a config of version 1 need not know: what they are about is off, unless it has them."""


class Config(Section):
    """The whole config in its canonical shape. `normal_parameters` None means all channels of the profile of each
    sensor's type."""

    version: Annotated[Literal[1, 2], AsWhole] = 2
    sensor: Sensor = Sensor()
    simulation: Simulation = Simulation()
    normal_parameters: Mapping[str, ChannelParameters] | None = None
    daily_pattern: Flag = True
    weather_events: Flag = True
    measurement_noise: Flag = True
    surroundings: Text = "auto"
    climate: Flag = False
    anomalies: Anomalies = Anomalies()
    scenario: Annotated[tuple[Step, ...], Field(strict=False, max_length=MAX_STEPS)] = ()
    database: Database = Database()
    logging: Logging = Logging()
    random_location: RandomLocation = RandomLocation()
    replicas: Replicas = Replicas()
    identities: Identities = Identities()
    catalogue: Text | None = None
    kinds: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    monitoring: Monitoring = Monitoring()
    delivery: Delivery = Delivery()
    dynamic_reload: DynamicReload = DynamicReload()
    supervision: Supervision = Supervision()

    @property
    def sensor_types(self) -> tuple[str, ...]:
        """The names of the kinds of generated sensors."""
        return tuple(self.replicas.kinds or (self.sensor.type,))


def config_catalogue(config: Config) -> Catalogue:
    """Load the catalogue of a config, with the kinds of sensor that it adds. UserError if a file is not valid."""
    return load_catalogue(Path(config.catalogue) if config.catalogue else None, kind_files(config.kinds))


def load_config(path: Path | None, environment: Mapping[str, str] = {}, overrides: Mapping[str, object] = {}) -> Config:
    """Load the config in the file at `path` (None: the packaged fleet.yaml) with the environment and the overrides.

    `overrides` maps dotted canonical keys to values. One from a flag is `SourcedValue(value, "--rate")`, so that
    errors name the flag; None counts as absent. Raises UserError, one line, if anything is invalid.
    """
    return validate_config(*load_draft(path, environment, overrides))


def load_draft(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[Draft, Catalogue | None]:
    """Read all sources and complete them from version and profile; return the draft and the catalogue it refers to,
    None if that cannot be read."""
    source = path or resource_path("fleet.yaml")
    draft = read_draft(source, environment, overrides)
    folder = Path.cwd() if is_stream(source) else source.resolve().parent
    draft.issues.extend(resolve_files(draft, folder))
    draft.issues.extend(resolve_kinds(draft, folder))
    draft.issues.extend(resolve_records(draft, folder))
    if str(draft.get(("version",))) == "1":
        for section in SINCE_VERSION_2:
            if draft.get((section,)) is None:
                draft.complete((section, "enabled"), False, "default of version 1")
    catalogue = draft_catalogue(draft)
    if catalogue is not None:
        kinds = configured_sensor_types(draft, catalogue) or []
        if len(kinds) == 1:
            apply_kind_environment(draft, kinds[0], environment, overrides)
        if path is None:
            leave_anomalies_to_kinds(draft, catalogue, str(source))
        draft.issues.extend(sensor_issues(draft, catalogue))
        draft.issues.extend(complete_channels(draft, catalogue))
    return draft, catalogue


def leave_anomalies_to_kinds(draft: Draft, catalogue: Catalogue, origin: str) -> None:
    """Remove what the packaged config (`origin`) says of anomalies where a kind of sensor says it: no user stated it."""
    for sensor_type in configured_sensor_types(draft, catalogue) or ():
        for path in leaf_paths(stated_values(sensor_type.entry.anomalies), ("anomalies",)):
            node = draft.source_map.nodes.get(path)
            if node is not None and node.mark.origin == origin:
                remove_value(draft.values, path)
                del draft.source_map.nodes[path]


def draft_catalogue(draft: Draft) -> Catalogue | None:
    """Return the catalogue that a draft refers to. None, and an issue, if one of its files cannot be read."""
    extension, kinds = draft.get(("catalogue",)), draft.get(("kinds",))
    files = kind_files(path for path in kinds or () if isinstance(path, str)) if isinstance(kinds, list) else ()
    try:
        return load_catalogue(Path(extension) if isinstance(extension, str) else None, files)
    except UserError as error:
        if not any(
            "does not exist" in str(issue) or "is not a file" in str(issue) for issue in draft.issues
        ):  # that it does not exist has been said
            draft.issues.append(ConfigIssue(SourceMark(""), "", str(error)))
        return None


def read_draft(source: Path, environment: Mapping[str, str], overrides: Mapping[str, object]) -> Draft:
    """Read the file, the environment and the overrides, each value with its source."""
    draft = canonical_draft(read_yaml(source))
    canonicalise_steps(draft)
    apply_environment(draft, environment)
    apply_overrides(draft, overrides)
    return draft


def located_error(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object], key: str, message: str
) -> UserError:
    """Return an error about a value of a config that these sources were loaded to, with the place of the value."""
    keys = tuple(key.split("."))
    draft = read_draft(path or resource_path("fleet.yaml"), environment, overrides)
    return UserError(f"{key}: {message}" if draft.get(keys) is None else str(draft.source_map.issue(keys, message)))


def validate_config(draft: Draft, catalogue: Catalogue | None) -> Config:
    """Return the config of a draft. Raises ConfigError with all issues."""
    config, issues = valid_part(draft)
    issues = [*draft.issues, *issues]
    if catalogue is not None:
        issues += cross_check_issues(config, draft, catalogue, scenario=not issues)
    raise_issues(issues)
    return config if catalogue is None else with_anomalies_of_kind(config, draft, catalogue)


def with_anomalies_of_kind(config: Config, draft: Draft, catalogue: Catalogue) -> Config:
    """Return a config with the anomalies of its kind where it states none itself. With several kinds each keeps its own."""
    sensor_type = catalogue.sensor_type(config.sensor.type)
    of_kind = sensor_type.entry.anomalies
    if len(config.sensor_types) > 1 or not of_kind.model_fields_set:
        return config
    anomalies = with_anomalies_of(config.anomalies, sensor_type)
    for path in leaf_paths(stated_values(of_kind), ("anomalies",)):
        if draft.get(path) is None:
            draft.completions[path] = f"profile of {sensor_type.name} sensors"
    return config.model_copy(update={"anomalies": anomalies})


def leaf_paths(section: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    for key, value in section.items():
        yield from leaf_paths(value, (*path, key)) if isinstance(value, Mapping) else [(*path, key)]


def valid_part(draft: Draft) -> tuple[Config, list[ConfigIssue]]:
    """Return the config that a draft gives without its invalid values, and an issue for each of those."""
    issues: list[ConfigIssue] = []
    values = copy_sections(draft.values)
    while True:
        try:
            return Config.model_validate(values), issues
        except ValidationError as error:
            issues += model_issues(error, draft.source_map, json_schema(), spellings=key_aliases)
            before = copy_sections(values)
            for path in invalid_paths(error):
                remove_value(values, path)
            if values == before:
                raise


def copy_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: copy_sections(value) if isinstance(value, dict) else value for key, value in values.items()}


def invalid_paths(error: ValidationError) -> Iterator[KeyPath]:
    """Yield the paths to leave out of invalid values: an invalid value itself, but the whole of a channel, a list or a
    section whose values contradict each other or are incomplete."""
    for detail in error.errors(include_url=False):
        path = detail["loc"]
        first_number = next((at for at, key in enumerate(path) if isinstance(key, int)), len(path))
        longest = 2 if path[:1] == ("normal_parameters",) else first_number
        yield path[: max(1, min(longest, len(path) - (detail["type"] == "missing")))]


def remove_value(values: dict[str, Any], path: KeyPath) -> None:
    """Remove the value at a path of nested sections, or the innermost value above it that is not a section."""
    for at, key in enumerate(path):
        inner = values.get(str(key))
        if at == len(path) - 1 or not isinstance(inner, dict):
            values.pop(str(key), None)
            return
        values = inner


def cross_check_issues(config: Config, draft: Draft, catalogue: Catalogue, *, scenario: bool) -> Iterator[ConfigIssue]:
    """Yield the issues of values that are valid by themselves; of the scenario only if all others are valid."""
    known = [catalogue.sensor_type(name) for name in config.sensor_types if catalogue.has_sensor_type(name)]
    channels = config.normal_parameters or {}
    names = tuple(dict.fromkeys(name for each in known for name in each.channels if name in channels or not channels))
    if scenario and known:
        yield from step_channel_issues(config.scenario, names, draft)
    for sensor_type in known:
        yield from limit_issues(channels, draft, sensor_type)
        yield from anomaly_issues(config.anomalies, draft, sensor_type)
        if scenario:
            anomalies = with_anomalies_of(config.anomalies, sensor_type)
            yield from step_issues(anomalies, channels, config.scenario, draft, sensor_type)
    yield from surroundings_issues(config.surroundings, draft, catalogue)
    yield from replica_issues(config.sensor, config.replicas, draft)
    yield from file_issues(config, draft)
    yield from record_column_issues(config.delivery.records, channel_units(known, channels), draft, catalogue)
    if draft.get(("random_location",)) is not None:
        yield from city_issues(config.random_location, draft)


def channel_units(
    sensor_types: Sequence[SensorType], stated: Mapping[str, ChannelParameters]
) -> dict[str, tuple[str, ...]]:
    """Return the units of the channels of some kinds: what the config states, or those of the kinds."""
    units: dict[str, tuple[str, ...]] = {}
    for name, unit in ((name, channel.unit) for each in sensor_types for name, channel in each.channels.items()):
        units[name] = (*units.get(name, ()), unit)
    return units | {name: (each.unit,) for name, each in stated.items() if each.unit}


def to_yaml(config: Config, max_line_width: float = 120) -> str:
    """Format the config in its canonical shape; loading the result gives an equal config."""
    values = config.model_dump(exclude_none=True)
    if len(config.sensor_types) > 1:  # each kind has anomalies of its own where the config states none
        values["anomalies"] = stated_values(config.anomalies)
    text: str = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=max_line_width)
    return text


class SchemaGenerator(GenerateJsonSchema):
    """A generator of schemas that states default rates as numbers."""

    def encode_default(self, dft: Any) -> Any:
        return float(dft) if isinstance(dft, Rate) else super().encode_default(dft)


@cache
def json_schema() -> dict[str, Any]:
    return Config.model_json_schema(schema_generator=SchemaGenerator)


class Dumper(yaml.SafeDumper):
    """A YAML dumper that writes exact decimals as numbers and tuples as lists."""


def exact_number(dumper: yaml.SafeDumper, value: Decimal) -> yaml.ScalarNode:
    text = f"{value:f}"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in text else 'int'}", text)


def exact_rate(dumper: yaml.SafeDumper, value: Rate) -> yaml.ScalarNode:
    """Represent a rate as a number, or as a text such as 1/min."""
    text = str(value)
    return exact_number(dumper, Decimal(text)) if "/" not in text else dumper.represent_str(text)


Dumper.add_representer(Decimal, exact_number)
Dumper.add_representer(Rate, exact_rate)
Dumper.add_representer(tuple, Dumper.represent_list)


DEFAULT_ORIGIN = "default"
COMMENT_COLUMN = 44
"""Where the origins stand, behind values that leave them room."""


def yaml_with_origins(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]) -> str:
    """Format the config of `load_config` as `to_yaml` does, each value followed by its origin in a comment."""
    draft, catalogue = load_draft(path, environment, overrides)
    text = to_yaml(validate_config(draft, catalogue), max_line_width=float("inf"))
    said = {line: origin_of(draft, keys) for line, keys in value_lines(parse_yaml(text, "config"))}
    lines = enumerate(text.splitlines(), 1)
    return "".join(f"{line:<{COMMENT_COLUMN}}  # {said[at]}\n" if at in said else f"{line}\n" for at, line in lines)


def value_lines(node: Node, path: KeyPath = ()) -> Iterator[tuple[int, KeyPath]]:
    """Yield the line of each value below a node; a list is one value."""
    if isinstance(node.value, dict) and (node.value or not path):
        for key, child in node.value.items():
            yield from value_lines(child, (*path, key))
    else:
        yield node.key_mark.line, path


def origin_of(draft: Draft, path: KeyPath) -> str:
    """Return the origin of the value at a canonical path, as the user knows it."""
    node = draft.source_map.nodes.get(path)
    if node is not None and node.value is not None:
        mark = node.mark
        return escape_short(f"{mark.origin}:{mark.line}" if mark.line else mark.origin)
    return draft.completions.get(path, DEFAULT_ORIGIN)

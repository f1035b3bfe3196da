"""The config: one YAML file in any of its dialects becomes one frozen tree of settings.

Flags override the environment, the environment overrides the file, the file overrides the defaults. The sections are
in `sections`, `anomalies` and `scenario`, their other spellings in `dialects`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from fleet.catalogue.catalogue import Catalogue, load_catalogue
from fleet.config.anomalies import Anomalies
from fleet.config.catalogue_checks import (
    city_issues,
    complete_channels,
    limit_issues,
    replica_issues,
    resolve_files,
    sensor_issues,
    surroundings_issues,
)
from fleet.config.dialects import Draft, canonical_draft, key_aliases
from fleet.config.scenario import Step, canonicalise_steps, step_issues
from fleet.config.sections import (
    ChannelParameters,
    Database,
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
from fleet.validation.issues import KeyPath, model_issues, raise_first_issue
from fleet.validation.scalars import AsWhole, Flag, Section, Text
from fleet.validation.yaml_tree import Node, is_stream, parse_yaml, read_yaml

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
    surroundings: Text = "auto"
    climate: Flag = False
    anomalies: Anomalies = Anomalies()
    scenario: Annotated[tuple[Step, ...], Field(strict=False)] = ()
    database: Database = Database()
    logging: Logging = Logging()
    random_location: RandomLocation = RandomLocation()
    replicas: Replicas = Replicas()
    identities: Identities = Identities()
    catalogue: Text | None = None
    monitoring: Monitoring = Monitoring()
    dynamic_reload: DynamicReload = DynamicReload()
    supervision: Supervision = Supervision()


def load_config(path: Path | None, environment: Mapping[str, str] = {}, overrides: Mapping[str, object] = {}) -> Config:
    """Load the config in the file at `path` (None: the packaged fleet.yaml) with the environment and the overrides.

    `overrides` maps dotted canonical keys to values. One from a flag is `SourcedValue(value, "--rate")`, so that
    errors name the flag; None counts as absent. Raises UserError, one line, if anything is invalid.
    """
    return validate_config(*load_draft(path, environment, overrides))


def load_draft(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[Draft, Catalogue]:
    """Read all sources and complete them from version and profile; return the draft and the catalogue it refers to."""
    source = path or resource_path("fleet.yaml")
    draft = read_draft(source, environment, overrides)
    raise_first_issue(draft.issues)
    draft.issues.extend(resolve_files(draft, Path.cwd() if is_stream(source) else source.resolve().parent))
    raise_first_issue(draft.issues)
    if str(draft.get(("version",))) == "1":
        for section in SINCE_VERSION_2:
            if draft.get((section,)) is None:
                draft.complete((section, "enabled"), False, "default of version 1")
    extension = draft.get(("catalogue",))
    catalogue = load_catalogue(Path(extension) if isinstance(extension, str) else None)
    draft.issues.extend(sensor_issues(draft, catalogue))
    raise_first_issue(draft.issues)
    draft.issues.extend(complete_channels(draft, catalogue))
    return draft, catalogue


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


def validate_config(draft: Draft, catalogue: Catalogue) -> Config:
    try:
        config = Config.model_validate(draft.values)
    except ValidationError as error:
        raise_first_issue([*draft.issues, *model_issues(error, draft.source_map, json_schema(), spellings=key_aliases)])
        raise  # not reached: there was a fault
    raise_first_issue(draft.issues)
    sensor_type = catalogue.sensor_type(config.sensor.type)
    raise_first_issue([*limit_issues(config.normal_parameters or {}, draft, sensor_type)])
    raise_first_issue([*surroundings_issues(config.surroundings, draft, catalogue)])
    raise_first_issue(
        [*step_issues(config.anomalies, config.normal_parameters or {}, config.scenario, draft, sensor_type)]
    )
    raise_first_issue(
        [*replica_issues(config.sensor, config.replicas, draft), *city_issues(config.random_location, draft)]
    )
    return config


def to_yaml(config: Config, max_line_width: float = 120) -> str:
    """Format the config in its canonical shape; loading the result gives an equal config."""
    values = config.model_dump(exclude_none=True)
    text: str = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=max_line_width)
    return text


def json_schema() -> dict[str, Any]:
    return Config.model_json_schema()


class Dumper(yaml.SafeDumper):
    """A YAML dumper that writes exact decimals as numbers and tuples as lists."""


def exact_number(dumper: yaml.SafeDumper, value: Decimal) -> yaml.ScalarNode:
    text = f"{value:f}"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in text else 'int'}", text)


Dumper.add_representer(Decimal, exact_number)
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

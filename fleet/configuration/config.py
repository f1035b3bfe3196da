"""The config: one YAML file in any of its dialects in, one frozen tree of settings out.

Flags beat the environment, the environment beats the file, the file beats the defaults. The sections are in
`sections` and `anomalies`, their other spellings in `dialects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from fleet.configuration.anomalies import Anomalies
from fleet.configuration.catalogue import Catalogue, load_catalogue
from fleet.configuration.dialects import Draft, canonical, spellings
from fleet.configuration.faults import model_faults, refuse
from fleet.configuration.http import Monitoring
from fleet.configuration.kinds import (
    city_faults,
    complete_channels,
    fleet_faults,
    limit_faults,
    resolve_files,
    sensor_faults,
    surroundings_faults,
)
from fleet.configuration.scalars import AsWhole, Flag, Section, Text
from fleet.configuration.sections import (
    ChannelParameters,
    Database,
    DynamicReload,
    Identities,
    Logging,
    RandomLocation,
    Replicas,
    Sensor,
    Simulation,
    Supervision,
)
from fleet.configuration.sources import Given, environment_values, override_values
from fleet.configuration.timeline import Step, settle_steps, step_faults
from fleet.configuration.yaml_source import read_yaml
from fleet.errors import UserError
from fleet.packaged import packaged

__all__ = ["Config", "Given", "complaint", "json_schema", "load_config", "to_yaml"]


SINCE_VERSION_2 = ("monitoring", "dynamic_reload")
"""Sections that a config of version 1 need not know: what they are about is off, unless it has them."""


class Config(Section):
    """The canonical shape. `normal_parameters` None means all channels of the profile of each sensor's type."""

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
    """The config in the file at `path` (None: the packaged fleet.yaml) under the environment and the overrides.

    `overrides` maps dotted canonical keys to values; one from a flag is `Given(value, "--rate")`, so that errors
    name the flag, and one that is None was not given. Raises UserError, one line, if anything is wrong.
    """
    return checked(*completed(path, environment, overrides))


def completed(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[Draft, Catalogue]:
    """All that was given, with what the version and the profile add to it, and the catalogue that it is about."""
    source = path or packaged("fleet.yaml")
    draft = written(source, environment, overrides)
    refuse(draft.faults)
    draft.faults.extend(resolve_files(draft, source.resolve().parent))
    refuse(draft.faults)
    if str(draft.get(("version",))) == "1":
        for section in SINCE_VERSION_2:
            if draft.get((section,)) is None:
                draft.complete((section, "enabled"), False, "default of version 1")
    extension = draft.get(("catalogue",))
    catalogue = load_catalogue(Path(extension) if isinstance(extension, str) else None)
    draft.faults.extend(sensor_faults(draft, catalogue))
    refuse(draft.faults)
    draft.faults.extend(complete_channels(draft, catalogue))
    return draft, catalogue


def written(source: Path, environment: Mapping[str, str], overrides: Mapping[str, object]) -> Draft:
    """All that was given, and where."""
    draft = canonical(read_yaml(source))
    settle_steps(draft)
    environment_values(draft, environment)
    override_values(draft, overrides)
    return draft


def complaint(
    path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object], key: str, message: str
) -> UserError:
    """What turned out only later to be wrong with a value of a config that was loaded from these, with its place."""
    keys = tuple(key.split("."))
    draft = written(path or packaged("fleet.yaml"), environment, overrides)
    return UserError(f"{key}: {message}" if draft.get(keys) is None else str(draft.index.fault(keys, message)))


def checked(draft: Draft, catalogue: Catalogue) -> Config:
    try:
        config = Config.model_validate(draft.values)
    except ValidationError as error:
        refuse([*draft.faults, *model_faults(error, draft.index, json_schema(), spellings=spellings)])
        raise  # not reached: there was a fault
    refuse(draft.faults)
    kind = catalogue.sensor_type(config.sensor.type)
    refuse([*limit_faults(config.normal_parameters or {}, draft, kind)])
    refuse([*surroundings_faults(config.surroundings, draft, catalogue)])
    refuse([*step_faults(config.anomalies, config.normal_parameters or {}, config.scenario, draft, kind)])
    refuse([*fleet_faults(config.sensor, config.replicas, draft), *city_faults(config.random_location, draft)])
    return config


def to_yaml(config: Config, longest_line: float = 120) -> str:
    """The config in its canonical shape; loading it gives an equal config."""
    values = config.model_dump(exclude_none=True)
    text: str = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=longest_line)
    return text


def json_schema() -> dict[str, Any]:
    return Config.model_json_schema()


class Dumper(yaml.SafeDumper):
    """Writes exact decimals as numbers and tuples as lists."""


def exact_number(dumper: yaml.SafeDumper, value: Decimal) -> yaml.ScalarNode:
    text = f"{value:f}"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in text else 'int'}", text)


Dumper.add_representer(Decimal, exact_number)
Dumper.add_representer(tuple, Dumper.represent_list)

"""The config: one YAML file in any of its dialects in, one frozen tree of settings out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from fleet.config_anomalies import Anomalies
from fleet.config_sections import (
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
from fleet.scalars import AsWhole, Flag, Section, Text


class Config(Section):
    """The canonical shape. `normal_parameters` None means all channels of the profile of each sensor's type."""

    version: Annotated[Literal[1, 2], AsWhole] = 2
    sensor: Sensor = Sensor()
    simulation: Simulation = Simulation()
    normal_parameters: Mapping[str, ChannelParameters] | None = None
    daily_pattern: Flag = True
    anomalies: Anomalies = Anomalies()
    database: Database = Database()
    logging: Logging = Logging()
    random_location: RandomLocation = RandomLocation()
    replicas: Replicas = Replicas()
    identities: Identities = Identities()
    catalogue: Text | None = None
    monitoring: Monitoring = Monitoring()
    dynamic_reload: DynamicReload = DynamicReload()
    supervision: Supervision = Supervision()

"""How a fleet will behave later: the steps of a scenario as stages, each with a config of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fleet.config.anomalies import Anomalies
from fleet.config.config import Config
from fleet.config.scenario_steps import Step, apply_change
from fleet.config.sections import ChannelParameters
from worker.schedule import SECOND_US
from worker.storage.schema import CHANNEL_COLUMNS


class ScheduledConfig(NamedTuple):
    """What holds from `after_us` on, microseconds of simulated time since the fleet began."""

    after_us: int
    config: Config


def scenario_stages(config: Config) -> Iterator[ScheduledConfig]:
    """Those of a valid config, in order; each has the changes of all steps up to its own."""
    for step in config.scenario:
        config = apply_step(config, step)
        yield ScheduledConfig(round(step.at * SECOND_US), config)


def apply_step(config: Config, step: Step) -> Config:
    changes = step.changes()
    update: dict[str, Any] = {}
    if "anomalies" in changes:
        update["anomalies"] = Anomalies.model_validate(
            apply_change(config.anomalies.model_dump(exclude_none=True), changes["anomalies"])
        )
    if "normal_parameters" in changes:
        update["normal_parameters"] = apply_channel_changes(config, changes["normal_parameters"])
    if "simulation" in changes:
        update["simulation"] = config.simulation.model_copy(update=changes["simulation"])
    if "daily_pattern" in changes:
        update["daily_pattern"] = changes["daily_pattern"]
    return config.model_copy(update=update)


def apply_channel_changes(config: Config, changes: dict[str, Any]) -> dict[str, ChannelParameters]:
    """Where the config lists no channels, what a step leaves open is the profile's of each sensor's own type."""
    listed = config.normal_parameters
    if listed is None:
        return {name: ChannelParameters.model_construct(None, **changes.get(name, {})) for name in CHANNEL_COLUMNS}
    return {name: channel.model_copy(update=changes.get(name, {})) for name, channel in listed.items()}

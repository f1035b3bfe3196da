"""The sensors of a stream: those that `fleet up` generates from the same config and seed."""

from __future__ import annotations

from typing import NamedTuple

from fleet.config.config import Config, config_catalogue
from fleet.config.settings import fleet_settings
from fleet.identities.provisioning import generator_for, resolved_identity
from worker.spec import Identity, Settings


class StreamSensor(NamedTuple):
    """A sensor and its behaviour."""

    identity: Identity
    settings: Settings


def stream_sensors(config: Config, seed: int) -> list[StreamSensor]:
    """Return the sensors of a config, in the order of their numbers. Raises UserError if no city is left for them."""
    catalogue = config_catalogue(config)
    generator = generator_for(config, catalogue, seed)
    taken: set[str] = set()
    identities = []
    first = config.replicas.start_index
    for number in range(first, first + config.replicas.count):
        stored = generator.generate(number, taken)
        taken.add(stored.sensor_id)
        identities.append(resolved_identity(config, catalogue, stored))
    settings = fleet_settings(config, catalogue, identities)
    return [StreamSensor(*pair) for pair in zip(identities, settings, strict=True)]

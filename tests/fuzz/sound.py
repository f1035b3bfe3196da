"""What an accepted config, catalogue or identity must be good for: readings that are numbers within their limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fleet.catalogue.catalogue import Catalogue, SensorType
from fleet.config.config import Config, config_catalogue
from fleet.config.settings import settings_for
from worker.readings.clock_errors import CLOCK_ERROR_NAMES
from worker.readings.generator import SignalGenerator
from worker.spec import Identity, Settings

START_US = 1_767_225_600_000_000
CENTURY = 100 * 365 * 86_400


def assert_gives_sound_readings(config: Config, identity: Identity | None = None) -> None:
    """The config gives sound readings, for hardware that nobody knows and for the most anomalous there is."""
    catalogue = config_catalogue(config)
    kind = catalogue.sensor_type(config.sensor.type)
    unknown = identity or Identity(sensor_id="BER_000001", timezone="Europe/Berlin")
    for who in (unknown, with_highest_multipliers(unknown, kind)):
        assert_sound(settings_for(config, catalogue, who), who)


def with_highest_multipliers(identity: Identity, kind: SensorType) -> Identity:
    """The same sensor as the hardware with the highest multipliers."""
    entry = kind.entry
    maker = max(entry.manufacturers, key=lambda name: entry.manufacturers[name].multiplier)
    firmware = max(entry.firmware, key=lambda name: entry.firmware[name].multiplier)
    return replace(identity, manufacturer=maker, model=kind.models[maker][0], firmware_version=firmware)


def assert_every_sound(kind: SensorType, catalogue: Catalogue, config: Config) -> None:
    """The kind of sensor from the last of its makers (who extend what there was) with every firmware."""
    maker, models = list(kind.models.items())[-1]
    for number, firmware in enumerate(kind.firmware):
        who = Identity("X", firmware, models[number % len(models)], maker, sensor_type=kind.name)
        assert_sound(settings_for(config, catalogue, who), who)


def assert_sound(settings: Settings, identity: Identity) -> None:
    """Readings are sound now, after a hundred years, and where one anomaly follows another."""
    if settings.mode == "share":
        assert sum(spec.share for spec in settings.anomalies) <= 0.9 + 1e-9
    generator = SignalGenerator(42, identity, settings, 0, START_US)
    for first in (0, int(settings.exact_rate * CENTURY)):
        assert_sound_readings(generator, first)
    if settings.anomalies:
        assert_sound_readings(SignalGenerator(42, identity, with_most_episodes(settings), 0, START_US), 0)


def with_most_episodes(settings: Settings) -> Settings:
    """The same with as many episodes of each kind as there can be."""
    share = 0.9 / len(settings.anomalies)
    anomalies = (replace(spec, share=share, duration=1, unit="readings") for spec in settings.anomalies)
    return replace(settings, anomalies=tuple(anomalies), mode="share")


def assert_sound_readings(generator: SignalGenerator, first: int) -> None:
    """Finite values within the physical limits (to the last decimal that is written), times in order unless the clock is wrong."""
    block = generator.block(first, 64)
    assert np.isfinite(block.values).all()
    for channel, values in zip(generator.settings.channels, block.values, strict=True):
        rounding = 0.5 * 10.0**-channel.decimals
        assert values.min() >= channel.lowest - rounding, channel
        assert values.max() <= channel.highest + rounding, channel
    if CLOCK_ERROR_NAMES.isdisjoint(spec.kind for spec in generator.settings.anomalies):
        assert (np.diff(block.times) > 0).all()
    for episode in generator.episodes(first, first + 64):
        assert episode.first_seq <= episode.last_seq
        assert all(np.isfinite(value) for value in episode.parameters.values())

"""The settings of one sensor: the config, the effects of its hardware, and those of its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from fleet.catalogue.catalogue import Catalogue, Effects, SensorType
from fleet.catalogue.climate import Climate, climate_of, elevation_of
from fleet.catalogue.entries import Surroundings, SurroundingsEffect
from fleet.config.anomalies import AnomalyTypeSection
from fleet.config.config import Config
from fleet.config.sections import ChannelParameters
from worker.readings.anomaly_type import Parameters
from worker.spec import AnomalySpec, Channel, Identity, Settings, WorkingHours

ChannelValues = Mapping[str, Any]

MAX_DECIMALS = 9
MIN_STD_DEV = Fraction(1, 10**12)
DEGREES_PER_KELVIN = {"°F": 1.8, "F": 1.8}
"""The size of a kelvin in degrees of a unit; of other units it is 1."""
MIN_ANOMALY_SHARE = 1e-12
"""A type with a smaller share (one reading in 300 years at 100 a second) is left out: the pages in which a worker lays out
episodes grow as shares shrink, up to the limit of 64-bit integers."""


class SettingsKey(NamedTuple):
    """The part of an identity, except its climate, that its settings depend on: its type, hardware and surroundings."""

    sensor_type: str | None
    manufacturer: str | None
    model: str | None
    firmware: str | None
    surroundings: str | None


def settings_for(config: Config, catalogue: Catalogue, identity: Identity) -> Settings:
    """Return the settings of one sensor. Hardware that is not in the catalogue has no effect."""
    (settings,) = fleet_settings(config, catalogue, [identity])
    return settings


def fleet_settings(config: Config, catalogue: Catalogue, identities: Iterable[Identity]) -> list[Settings]:
    """Return the settings of many sensors, in their order. Equal ones are computed once and shared."""
    settings: dict[SettingsKey, Settings] = {}
    in_climate: dict[tuple[SettingsKey, Climate | None], Settings] = {}
    result = []
    for identity in identities:
        key, climate = settings_key(config, catalogue, identity), climate_for(config, identity)
        if key not in settings:
            settings[key] = settings_for_key(config, catalogue, key)
        if (key, climate) not in in_climate:
            sensor_type = sensor_type_of_identity(config, catalogue, key.sensor_type)
            in_climate[key, climate] = (
                settings[key] if climate is None else settings_in_climate(settings[key], sensor_type, climate)
            )
        result.append(in_climate[key, climate])
    return result


def settings_key(config: Config, catalogue: Catalogue, identity: Identity) -> SettingsKey:
    return SettingsKey(
        identity.sensor_type,
        identity.manufacturer,
        identity.model,
        identity.firmware_version,
        catalogue.surroundings_of(config.surroundings, identity),
    )


def climate_for(config: Config, identity: Identity) -> Climate | None:
    """Return the climate of a sensor; None if the config does not enable it or the coordinates are unknown."""
    if not config.climate or identity.latitude is None or identity.longitude is None:
        return None
    return climate_of(identity.latitude, elevation_of(identity.latitude, identity.longitude))


def settings_for_key(config: Config, catalogue: Catalogue, key: SettingsKey) -> Settings:
    sensor_type = sensor_type_of_identity(config, catalogue, key.sensor_type)
    effects = sensor_type.effects(key.manufacturer, key.model, key.firmware)
    surroundings = catalogue.surroundings.get(key.surroundings or "", Surroundings())
    channels = tuple(
        build_channel(name, values, effects, surroundings) for name, values in healthy_signals(config, sensor_type)
    )
    hours = (
        WorkingHours(**surroundings.hours.model_dump()) if any(c.working_hours for c in channels) else WorkingHours()
    )
    return Settings(
        rate=config.simulation.readings_per_second.stored_text(),
        channels=channels,
        anomalies=tuple(anomaly_specs(config, effects, tuple(channel.name for channel in channels))),
        mode=config.anomalies.mode,
        overlap=config.anomalies.overlap,
        working_hours=hours,
    )


def sensor_type_of_identity(config: Config, catalogue: Catalogue, name: str | None) -> SensorType:
    """Return the sensor's own type, or the config's if the catalogue does not have it."""
    return catalogue.sensor_type(name if name is not None and catalogue.has_sensor_type(name) else config.sensor.type)


def healthy_signals(config: Config, sensor_type: SensorType) -> Iterator[tuple[str, ChannelValues]]:
    """Yield the channels that the config lists and the type has, or all channels of the type if the config lists none: the values of
    the profile, overridden by those of the config."""
    listed: Mapping[str, ChannelParameters] = config.normal_parameters or {}
    names = [name for name in sensor_type.channels if name in listed] or list(sensor_type.channels)
    for name in names:
        values, stated = sensor_type.channels[name].model_dump(), listed.get(name)
        fixed = stated is not None and stated.decimals is not None
        if stated is not None:
            values |= stated.model_dump(exclude_none=True)
        yield name, {**values, "fixed": fixed, "daily": config.daily_pattern}


def build_channel(name: str, values: ChannelValues, effects: Effects, surroundings: Surroundings) -> Channel:
    """Build a channel with the effects of hardware and surroundings. The amplitudes of its rhythms are in standard
    deviations of the configured signal, before these effects."""
    configured: float = values["std_dev"]
    local = surroundings.channels.get(name, SurroundingsEffect())
    std_dev = scale_std_dev(configured, effects.std_dev(name) * Fraction(local.std_dev))
    decimals = values["decimals"]
    return Channel(
        name=name,
        unit=values["unit"],
        mean=values["mean"],
        std_dev=std_dev,
        minimum=values["min"],
        maximum=values["max"],
        lowest=values["lowest"],
        highest=values["highest"],
        decimals=decimals if values["fixed"] else max(decimals, decimals_for(std_dev)),
        daily_amplitude=values["daily_amplitude"] * local.daily_amplitude * configured if values["daily"] else 0.0,
        working_hours=local.working_hours * configured if values["daily"] else 0.0,
    )


def scale_std_dev(std_dev: float, factor: Fraction) -> float:
    """Multiply and round once. A result far below the nine decimals that are written becomes 0."""
    exact = Fraction(Decimal(repr(std_dev))) * factor
    return float(exact) if exact >= MIN_STD_DEV else 0.0


def settings_in_climate(settings: Settings, sensor_type: SensorType, climate: Climate) -> Settings:
    """Return the same settings in a climate: the channels that follow it are shifted, with their bounds."""
    channels = tuple(
        channel_in_climate(each, sensor_type.channels[each.name].climate, climate) for each in settings.channels
    )
    return replace(settings, channels=channels)


def channel_in_climate(channel: Channel, follows: str, climate: Climate) -> Channel:
    """Return a channel in a climate. `follows` is the quantity of the climate it measures: temperature, pressure or
    none."""
    ends = channel.mean, channel.minimum, channel.maximum
    if follows == "pressure":
        mean, low, high = (value * climate.pressure_factor for value in ends)
        return replace(channel, mean=mean, minimum=low, maximum=high)
    if follows == "temperature":
        degree = DEGREES_PER_KELVIN.get(channel.unit, 1.0)
        mean, low, high = (value + climate.temperature_offset * degree for value in ends)
        return replace(
            channel, mean=mean, minimum=low, maximum=high, yearly_amplitude=climate.seasonal_amplitude * degree
        )
    return channel


def decimals_for(std_dev: float) -> int:
    """Return the smallest number of decimals, 0 to 9, that resolves a hundredth of the standard deviation."""
    if std_dev == 0:
        return 0
    # 10^a <= std_dev < 10^(a+1), so 10^(a-2) is the largest power of ten that is at most std_dev / 100.
    return min(MAX_DECIMALS, max(0, 2 - Decimal(repr(std_dev)).adjusted()))


def anomaly_specs(config: Config, effects: Effects, channels: tuple[str, ...]) -> Iterator[AnomalySpec]:
    """Yield the enabled types of anomaly, each with its exact share, rounded once."""
    if not config.anomalies.enabled or config.anomalies.probability == 0:
        return
    types = config.anomalies.types.enabled()
    share = effects.anomaly_share(config.anomalies.probability)
    weights = {name: effects.weight(name, section.weight) for name, section in types.items()}
    total = sum(weights.values(), Fraction(0))
    for name, section in types.items():
        type_share = float(share * weights[name] / total) if total else 0.0
        if type_share >= MIN_ANOMALY_SHARE:
            duration, unit = section.duration
            yield AnomalySpec(
                kind=name,
                share=type_share,
                duration=duration,
                unit=unit,
                parameters=tuple(worker_parameters(section, effects).items()),
                channel_odds=effects.channel_odds(channels) if section.declaration.channels == "one" else (),
            )


def worker_parameters(section: AnomalyTypeSection, effects: Effects) -> Parameters:
    """Return the worker's parameters of a type: the config overrides the catalogue, which overrides the defaults."""
    declaration = section.declaration
    values = declaration.merge_parameters(
        declaration.default_parameters(), effects.parameters(declaration.name), section.configured_parameters()
    )
    return declaration.stored_parameters(values, effects.severity)

"""The settings of one sensor: the config, the effects of its hardware, and those of its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from fleet.catalogue.anomalies import Anomalies, AnomalyTypeSection
from fleet.catalogue.catalogue import Catalogue, Effects, SensorType
from fleet.catalogue.climate import Climate, climate_of, elevation_of
from fleet.catalogue.entries import ChannelProfile, Surroundings, SurroundingsEffect
from fleet.catalogue.signals import InstrumentSection, followed_channel
from fleet.config.config import Config
from fleet.config.scenario import with_anomalies_of
from fleet.config.sections import ChannelParameters
from worker.readings.anomalies import Parameters
from worker.readings.signals import Follows, Slow, signal_class
from worker.spec import (
    IDEAL_INSTRUMENT,
    SETTINGS_VERSION,
    AnomalySpec,
    Channel,
    Identity,
    Instrument,
    ReadingAttribute,
    Settings,
    SignalSpec,
    WorkingHours,
)

ChannelValues = Mapping[str, Any]

MAX_DECIMALS = 9
MIN_STD_DEV = Fraction(1, 10**12)
DEGREES_PER_KELVIN = {"°F": 1.8, "F": 1.8}
"""The size of a kelvin in degrees of a unit; of other units it is 1."""
DEFAULT_CORRELATION = 6 * 3600.0
MIN_CORRELATION = 1e-3
"""Seconds."""
MIN_ANOMALY_SHARE = 1e-12
"""A type with a smaller share (one reading in 300 years at 100 a second) is left out: the pages in which a worker lays out
episodes grow as shares shrink, up to the limit of 64-bit integers."""


class SettingsKey(NamedTuple):
    """The part of an identity, except its climate, that its settings depend on: its type, variant, hardware and
    surroundings."""

    sensor_type: str | None
    variant: str | None
    manufacturer: str | None
    model: str | None
    firmware: str | None
    surroundings: str | None


def settings_for(config: Config, catalogue: Catalogue, identity: Identity, version: int = SETTINGS_VERSION) -> Settings:
    """Return the settings of one sensor. Hardware that is not in the catalogue has no effect."""
    (settings,) = fleet_settings(config, catalogue, [identity], version)
    return settings


def fleet_settings(
    config: Config, catalogue: Catalogue, identities: Iterable[Identity], version: int = SETTINGS_VERSION
) -> list[Settings]:
    """Return the settings of many sensors, in their order, by the rules of a version. Equal ones are computed once and
    shared."""
    settings: dict[SettingsKey, Settings] = {}
    in_climate: dict[tuple[SettingsKey, Climate | None], Settings] = {}
    result = []
    for identity in identities:
        key, climate = settings_key(config, catalogue, identity), climate_for(config, identity)
        if key not in settings:
            settings[key] = settings_of_version(settings_for_key(config, catalogue, key), version)
        if (key, climate) not in in_climate:
            sensor_type = sensor_type_of_identity(config, catalogue, key.sensor_type)
            in_climate[key, climate] = (
                settings[key]
                if climate is None
                else settings_in_climate(settings[key], sensor_type.channels_of(key.variant), climate)
            )
        result.append(in_climate[key, climate])
    return result


def settings_key(config: Config, catalogue: Catalogue, identity: Identity) -> SettingsKey:
    return SettingsKey(
        identity.sensor_type,
        sensor_type_of_identity(config, catalogue, identity.sensor_type).variant_of(identity),
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
    profiles = sensor_type.channels_of(key.variant)
    anomalies = with_anomalies_of(config.anomalies, sensor_type)
    channels = tuple(
        build_channel(name, values, effects, surroundings) for name, values in healthy_signals(config, profiles)
    )
    names = tuple(channel.name for channel in channels)
    hours = (
        WorkingHours(**surroundings.hours.model_dump()) if any(c.working_hours for c in channels) else WorkingHours()
    )
    return Settings(
        rate=config.simulation.readings_per_second.stored_text(),
        channels=tuple(without_absent(channel, names) for channel in channels),
        anomalies=tuple(anomaly_specs(anomalies, effects, names)),
        mode=anomalies.mode,
        working_hours=hours,
        attributes=tuple(reading_attributes(sensor_type, names)),
        version=SETTINGS_VERSION,
    )


def settings_of_version(settings: Settings, version: int) -> Settings:
    """Return settings by the rules of a version: 1 has white noise only, and nothing of what came later."""
    if version >= SETTINGS_VERSION:
        return settings
    channels = tuple(replace(each, signals=(), instrument=IDEAL_INSTRUMENT) for each in settings.channels)
    return replace(settings, channels=channels, attributes=(), version=version)


def without_absent(channel: Channel, names: tuple[str, ...]) -> Channel:
    """Return a channel that follows one that the sensor does not have with a slow movement of its own instead."""
    followed = followed_channel(channel.signals)
    if followed is None or followed in names:
        return channel
    signals = tuple(slow_like(spec) if spec.name == Follows.name else spec for spec in channel.signals)
    return replace(channel, signals=merge_slow(signals))


def slow_like(spec: SignalSpec) -> SignalSpec:
    """Return a slow signal with the variance of another one."""
    return slow_signal(signal_class(spec.name).variance_share(dict(spec.parameters)))


def slow_signal(share: float, correlation: float = DEFAULT_CORRELATION) -> SignalSpec:
    return SignalSpec(Slow.name, (("share", share), ("correlation", correlation)))


def merge_slow(signals: tuple[SignalSpec, ...]) -> tuple[SignalSpec, ...]:
    """Return signals of which at most one is slow: two of them are one with the variance of both."""
    slow = [dict(spec.parameters) for spec in signals if spec.name == Slow.name]
    if len(slow) < 2:
        return signals
    share = min(1.0, sum(float(each["share"]) for each in slow))
    merged = slow_signal(share, float(slow[0]["correlation"]))
    return (merged, *(spec for spec in signals if spec.name != Slow.name))


def reading_attributes(sensor_type: SensorType, channels: tuple[str, ...]) -> Iterator[ReadingAttribute]:
    """Yield the attributes of the readings, without rules about channels that the sensor does not have."""
    for name, section in sensor_type.entry.reading_attributes.items():
        attribute = section.attribute(name)
        rules = tuple(rule for rule in attribute.rules if rule.channel is None or rule.channel in channels)
        yield replace(attribute, rules=rules)


def sensor_type_of_identity(config: Config, catalogue: Catalogue, name: str | None) -> SensorType:
    """Return the sensor's own type, or the config's if the catalogue does not have it."""
    return catalogue.sensor_type(name if name is not None and catalogue.has_sensor_type(name) else config.sensor.type)


def healthy_signals(config: Config, profiles: Mapping[str, ChannelProfile]) -> Iterator[tuple[str, ChannelValues]]:
    """Yield the channels that the config lists and the sensor has, or all of its channels if the config lists none: the
    values of the profile, overridden by those of the config."""
    listed: Mapping[str, ChannelParameters] = config.normal_parameters or {}
    names = [name for name in profiles if name in listed] or list(profiles)
    for name in names:
        profile, stated = profiles[name], listed.get(name)
        values = profile.model_dump(exclude={"signals", "instrument"})
        fixed = stated is not None and stated.decimals is not None
        correlation = None
        if stated is not None:
            values |= stated.model_dump(exclude_none=True, exclude={"correlation"})
            correlation = stated.correlation
        scale = values["std_dev"] / profile.std_dev if profile.std_dev else 1.0
        movement = {
            "signals": movement_signals(profile.signals, correlation, scale),
            "instrument": IDEAL_INSTRUMENT
            if correlation == 0 or scale == 0
            else scale_instrument(profile.instrument, scale),
        }
        yield name, {**values, **movement, "fixed": fixed, "daily": config.daily_pattern}


def movement_signals(
    of_kind: tuple[SignalSpec, ...], correlation: float | None, scale: float
) -> tuple[SignalSpec, ...]:
    """Return the signals of a channel: those of its kind, or the ones that a correlation time stands for."""
    if scale == 0:  # constant values
        return ()
    if correlation is None:
        return tuple(scale_signal(spec, scale) for spec in of_kind)
    return (slow_signal(1.0, max(correlation, MIN_CORRELATION)),) if correlation else ()


def scale_signal(spec: SignalSpec, scale: float) -> SignalSpec:
    """Return a signal of a channel whose standard deviation a config has changed by a factor: what is in the unit of the
    channel changes with it, as the config may be in another unit."""
    absolute = {each.name for each in signal_class(spec.name).parameters if each.unit == "channel's"}
    if scale == 1 or not absolute:
        return spec
    return SignalSpec(
        spec.name,
        tuple((name, float(value) * scale if name in absolute else value) for name, value in spec.parameters),
    )


def scale_instrument(section: InstrumentSection, scale: float) -> Instrument:
    instrument = section.instrument()
    if scale == 1:
        return instrument
    return replace(
        instrument,
        offset=instrument.offset * scale,
        resolution=instrument.resolution * scale,
        warm_up=instrument.warm_up * scale,
    )


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
        working_hours=(values["working_hours"] + local.working_hours) * configured if values["daily"] else 0.0,
        yearly_amplitude=values["yearly_amplitude"] * configured,
        signals=values["signals"],
        instrument=values["instrument"],
    )


def scale_std_dev(std_dev: float, factor: Fraction) -> float:
    """Multiply and round once. A result far below the nine decimals that are written becomes 0."""
    exact = Fraction(Decimal(repr(std_dev))) * factor
    return float(exact) if exact >= MIN_STD_DEV else 0.0


def settings_in_climate(settings: Settings, profiles: Mapping[str, ChannelProfile], climate: Climate) -> Settings:
    """Return the same settings in a climate: the channels that follow it are shifted, with their bounds."""
    channels = tuple(channel_in_climate(each, profiles[each.name].climate, climate) for each in settings.channels)
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


def anomaly_specs(anomalies: Anomalies, effects: Effects, channels: tuple[str, ...]) -> Iterator[AnomalySpec]:
    """Yield the enabled types of anomaly, each with its exact share, rounded once."""
    if not anomalies.enabled or anomalies.probability == 0:
        return
    types = anomalies.types.enabled()
    share = effects.anomaly_share(anomalies.probability)
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

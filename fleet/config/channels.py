"""The channels of sensors: the config, the effects of their hardware, and those of their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from fleet.catalogue.catalogue import Catalogue, SensorType
from fleet.catalogue.climate import Climate
from fleet.catalogue.entries import ChannelProfile, Surroundings, SurroundingsEffect
from fleet.config.config import Config
from fleet.config.movement import (
    movement_signals,
    scale_instrument,
    walking,
    with_noise,
    without_absent,
    without_events,
    without_movement,
)
from fleet.config.sections import ChannelParameters
from worker.spec import (
    IDEAL_INSTRUMENT,
    WHITE_NOISE_VERSION,
    Channel,
    Instrument,
    ReadingAttribute,
    WorkingHours,
)

ChannelValues = Mapping[str, Any]

MAX_DECIMALS = 9
MIN_STD_DEV = Fraction(1, 10**12)
DEGREES_PER_KELVIN = {"°F": 1.8, "F": 1.8}
"""The size of a kelvin in degrees of a unit; of other units it is 1."""


class SettingsKey(NamedTuple):
    """The part of an identity that its settings depend on: its type, variant, hardware,
    surroundings and climate. `climate` is None
    if the config does not enable it or the coordinates are unknown, `probability` that of anomalies if the sensor has one
    of its own."""

    sensor_type: str | None
    variant: str | None
    manufacturer: str | None
    model: str | None
    firmware: str | None
    surroundings: str | None
    climate: Climate | None = None
    probability: float | None = None


class SharedChannels(NamedTuple):
    """The channels of a sensor, their names, the working hours that they follow, and the attributes of its readings."""

    channels: tuple[Channel, ...]
    names: tuple[str, ...]
    hours: WorkingHours
    attributes: tuple[ReadingAttribute, ...]


class Traits(NamedTuple):
    """The part of the catalogue that applies to a sensor, and the names of its channels."""

    sensor_type: SensorType
    profiles: Mapping[str, ChannelProfile]
    names: tuple[str, ...]
    std_dev_factors: Mapping[str, Fraction]
    surroundings: Surroundings
    hours: WorkingHours
    attributes: tuple[ReadingAttribute, ...]


class ChannelBuilder:
    """The channels of many sensors under one config after another. Each channel is built once for all sensors and configs
    that have the same one, so a step of a scenario costs the channels that it changes."""

    def __init__(self, catalogue: Catalogue, version: int) -> None:
        self._catalogue, self._version = catalogue, version
        self._listed: Mapping[str, ChannelParameters] = {}
        self._switches: tuple[bool, ...] = ()
        self._traits: dict[SettingsKey, Traits] = {}
        self._channels: dict[SettingsKey, dict[str, Channel]] = {}
        """The channels that do not differ from those of the config before, by their names."""
        self._shared: dict[SettingsKey, SharedChannels] = {}
        self._built: dict[object, Channel] = {}
        self._distinct: dict[Channel, Channel] = {}
        self._sets: dict[object, SharedChannels] = {}

    def use(self, config: Config) -> None:
        """Set the config. Those of a scenario are to be used in their order."""
        self._config = config
        listed: Mapping[str, ChannelParameters] = config.normal_parameters or {}
        switches = config.daily_pattern, config.weather_events, config.measurement_noise
        if switches != self._switches or listed.keys() != self._listed.keys():
            self._traits, self._channels, self._shared = {}, {}, {}
        elif changed := [name for name, stated in listed.items() if stated != self._listed[name]]:
            self._shared = {}
            for channels in self._channels.values():
                for name in changed:
                    channels.pop(name, None)
        self._listed, self._switches = listed, switches

    def channels(self, key: SettingsKey) -> SharedChannels:
        """Return the channels of the sensors with `key`."""
        if key not in self._shared:
            if key not in self._traits:
                self._traits[key], self._channels[key] = self._traits_of(key), {}
            traits, known = self._traits[key], self._channels[key]
            for name in traits.names:
                if name not in known:
                    known[name] = self._channel(name, traits, key)
            self._shared[key] = self._share(tuple(known[name] for name in traits.names), traits)
        return self._shared[key]

    def _share(self, channels: tuple[Channel, ...], traits: Traits) -> SharedChannels:
        hours = traits.hours if any(channel.working_hours for channel in channels) else WorkingHours()
        cause = (tuple(map(id, channels)), hours, traits.attributes)
        return self._sets.setdefault(cause, SharedChannels(channels, traits.names, hours, traits.attributes))

    def _traits_of(self, key: SettingsKey) -> Traits:
        sensor_type = sensor_type_of_identity(self._config, self._catalogue, key.sensor_type)
        profiles = sensor_type.channels_of(key.variant)
        names = channel_names(self._config, profiles)
        effects = sensor_type.effects(key.manufacturer, key.model, key.firmware)
        surroundings = self._catalogue.surroundings.get(key.surroundings or "", Surroundings())
        attributes = () if self._version == WHITE_NOISE_VERSION else tuple(reading_attributes(sensor_type, names))
        return Traits(
            sensor_type,
            profiles,
            names,
            {name: effects.std_dev(name) for name in names},
            surroundings,
            WorkingHours(**surroundings.hours.model_dump()),
            attributes,
        )

    def _channel(self, name: str, traits: Traits, key: SettingsKey) -> Channel:
        stated, factor = self._listed.get(name), traits.std_dev_factors[name]
        local = traits.surroundings.channels.get(name, SurroundingsEffect())
        cause = (traits.sensor_type.name, key.variant, name, traits.names, self._switches, stated, factor, local)
        if (cause, key.climate) not in self._built:
            profile = traits.profiles[name]
            channel = build_channel(name, healthy_signal(self._config, profile, stated), factor, local)
            if key.climate is not None:
                channel = channel_in_climate(channel, profile.climate, key.climate)
            if self._version == WHITE_NOISE_VERSION:
                channel = without_movement(channel)
            else:
                channel = without_absent(channel, traits.names)
            self._built[cause, key.climate] = self._distinct.setdefault(channel, channel)
        return self._built[cause, key.climate]


def reading_attributes(sensor_type: SensorType, channels: tuple[str, ...]) -> Iterator[ReadingAttribute]:
    """Yield the attributes of the readings, without rules about channels that the sensor does not have."""
    for name, section in sensor_type.entry.reading_attributes.items():
        attribute = section.attribute(name)
        rules = tuple(rule for rule in attribute.rules if rule.channel is None or rule.channel in channels)
        yield replace(attribute, rules=rules)


def sensor_type_of_identity(config: Config, catalogue: Catalogue, name: str | None) -> SensorType:
    """Return the sensor's own type, or the config's if the catalogue does not have it."""
    return catalogue.sensor_type(name if name is not None and catalogue.has_sensor_type(name) else config.sensor.type)


def channel_names(config: Config, profiles: Mapping[str, ChannelProfile]) -> tuple[str, ...]:
    """Return the channels of a sensor that the config lists, or all of them if it lists none."""
    listed = config.normal_parameters or {}
    return tuple(name for name in profiles if name in listed) or tuple(profiles)


def healthy_signal(config: Config, profile: ChannelProfile, stated: ChannelParameters | None) -> ChannelValues:
    """Return the values of the profile of a channel, overridden by those that the config states."""
    values = profile.model_dump(exclude={"signals", "instrument"})
    fixed = stated is not None and stated.decimals is not None
    correlation = None
    if stated is not None:
        values |= stated.model_dump(exclude_none=True, exclude={"correlation", "step", "noise"})
        correlation = stated.correlation
    scale = values["std_dev"] / profile.std_dev if profile.std_dev else 1.0
    signals = movement_signals(profile.signals, correlation, scale)
    if stated is not None and stated.step is not None and scale:
        signals = walking(signals, stated.step)
    noise = 0.0 if not config.measurement_noise else stated.noise if stated is not None else None
    if noise is not None and correlation != 0 and scale:
        signals = with_noise(signals, noise / values["std_dev"])
    movement = {
        "signals": signals if config.weather_events else without_events(signals),
        "instrument": IDEAL_INSTRUMENT
        if correlation == 0 or scale == 0
        else limited_instrument(scale_instrument(profile.instrument, scale), profile, stated),
    }
    return {**values, **movement, "fixed": fixed, "daily": config.daily_pattern}


def limited_instrument(instrument: Instrument, profile: ChannelProfile, stated: ChannelParameters | None) -> Instrument:
    """Return an instrument without the limits of what it shows if a config states limits, or is in another unit."""
    if stated is None or (stated.lowest is None and stated.highest is None and stated.unit in (None, profile.unit)):
        return instrument
    return replace(instrument, lowest=None, highest=None)


def build_channel(name: str, values: ChannelValues, std_dev_factor: Fraction, local: SurroundingsEffect) -> Channel:
    """Build a channel with the effects of hardware and surroundings. The amplitudes of its rhythms are in standard
    deviations of the configured signal, before these effects."""
    configured: float = values["std_dev"]
    std_dev = scale_std_dev(configured, std_dev_factor * Fraction(local.std_dev))
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
        daily_peak=values["daily_peak"],
        daily_trough=values["daily_trough"],
        working_hours=(values["working_hours"] + local.working_hours) * configured if values["daily"] else 0.0,
        yearly_amplitude=values["yearly_amplitude"] * configured,
        signals=values["signals"],
        instrument=values["instrument"],
    )


def scale_std_dev(std_dev: float, factor: Fraction) -> float:
    """Multiply and round once. A result far below the nine decimals that are written becomes 0."""
    exact = Fraction(Decimal(repr(std_dev))) * factor
    return float(exact) if exact >= MIN_STD_DEV else 0.0


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

"""The settings of one sensor: the config, the effects of its hardware, and those of its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from fleet.catalogue.anomalies import Anomalies, AnomalyTypeSection
from fleet.catalogue.catalogue import Catalogue, Effects, SensorType, effective_share
from fleet.catalogue.climate import Climate, climate_of, elevation_of
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
from fleet.config.scenario import with_anomalies_of
from fleet.config.sections import ChannelParameters
from worker.readings.anomaly_type import Parameters
from worker.spec import (
    IDEAL_INSTRUMENT,
    SETTINGS_VERSION,
    AnomalySpec,
    Channel,
    Identity,
    Instrument,
    ReadingAttribute,
    Settings,
    WorkingHours,
)

ChannelValues = Mapping[str, Any]

MAX_DECIMALS = 9
MIN_STD_DEV = Fraction(1, 10**12)
DEGREES_PER_KELVIN = {"°F": 1.8, "F": 1.8}
"""The size of a kelvin in degrees of a unit; of other units it is 1."""
MIN_ANOMALY_SHARE = 1e-12
"""A type with a smaller share (one reading in 300 years at 100 a second) is left out: the pages in which a worker lays out
episodes grow as shares shrink, up to the limit of 64-bit integers."""


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


def settings_for(config: Config, catalogue: Catalogue, identity: Identity, version: int = SETTINGS_VERSION) -> Settings:
    """Return the settings of one sensor. Hardware that is not in the catalogue has no effect."""
    (settings,) = fleet_settings(config, catalogue, [identity], version)
    return settings


def fleet_settings(
    config: Config, catalogue: Catalogue, identities: Iterable[Identity], version: int = SETTINGS_VERSION
) -> list[Settings]:
    """Return the settings of many sensors, in their order, by the rules of a version. Equal ones are computed once and
    shared."""
    parts = SettingsParts(catalogue, version).use(config)
    computed: dict[SettingsKey, Settings] = {}
    result = []
    for identity in identities:
        key = settings_key(config, catalogue, identity)
        if key not in computed:
            computed[key] = parts.settings(key)
        result.append(computed[key])
    return result


def settings_key(
    config: Config, catalogue: Catalogue, identity: Identity, probability: float | None = None
) -> SettingsKey:
    return SettingsKey(
        identity.sensor_type,
        sensor_type_of_identity(config, catalogue, identity.sensor_type).variant_of(identity),
        identity.manufacturer,
        identity.model,
        identity.firmware_version,
        catalogue.surroundings_of(config.surroundings, identity),
        climate_for(config, identity),
        probability,
    )


def climate_for(config: Config, identity: Identity) -> Climate | None:
    """Return the climate of a sensor; None if the config does not enable it or the coordinates are unknown."""
    if not config.climate or identity.latitude is None or identity.longitude is None:
        return None
    return climate_of(identity.latitude, elevation_of(identity.latitude, identity.longitude))


class SharedChannels(NamedTuple):
    """The channels of a sensor, the working hours that they follow, and the attributes of its readings."""

    channels: tuple[Channel, ...]
    hours: WorkingHours
    attributes: tuple[ReadingAttribute, ...]


class ScaledAnomalies(NamedTuple):
    """The enabled types of anomaly, each with a share of 0 and its part of all anomalies. `multiplier` is the factor on
    their probability."""

    specs: tuple[AnomalySpec, ...]
    parts: tuple[Fraction, ...]
    multiplier: Fraction


class SettingsParts:
    """The parts of the settings of many sensors, each computed once and shared, also by the steps of a scenario: a step
    that changes the probability alone has the channels, and the weights of anomalies, of the step before. `use` sets the
    config; the configs of a scenario are to be used in their order."""

    def __init__(self, catalogue: Catalogue, version: int = SETTINGS_VERSION) -> None:
        self._catalogue, self._version = catalogue, version
        self._signals: tuple[object, ...] = ()
        self._section: Anomalies | None = None
        self._channels: dict[SettingsKey, SharedChannels] = {}
        self._sections: dict[str, Anomalies] = {}
        self._scaled: dict[SettingsKey, ScaledAnomalies] = {}
        self._anomalies: dict[tuple[int, float], tuple[AnomalySpec, ...]] = {}
        self._settings: dict[tuple[str, int, int, str, str, float], Settings] = {}
        self._distinct: dict[object, Any] = {}

    def use(self, config: Config) -> SettingsParts:
        self._config = config
        self._rate = config.simulation.readings_per_second.stored_text()
        section = config.anomalies
        signals = config.normal_parameters, config.daily_pattern, config.weather_events, config.measurement_noise
        if signals != self._signals:
            self._channels, self._scaled = {}, {}
        if section != self._section:
            self._sections = {}
            if self._section is None or section.types != self._section.types:
                self._scaled = {}
        self._signals, self._section = signals, section
        return self

    def settings(self, key: SettingsKey) -> Settings:
        """Return the settings of the sensors with `key`."""
        if key not in self._channels:
            computed = compute_channels(self._config, self._catalogue, key, self._version)
            self._channels[key] = self._distinct.setdefault(computed, computed)
        shared, section = self._channels[key], self._section_of(key)
        anomalies = self._anomalies_of(key, section, shared.channels)
        known = (
            self._rate,
            id(shared),
            id(anomalies),
            section.mode,
            section.overlap,
            self._config.simulation.jitter,
        )  # both live as long as this object
        if known not in self._settings:
            self._settings[known] = Settings(
                rate=self._rate,
                channels=shared.channels,
                anomalies=anomalies,
                mode=section.mode,
                overlap=section.overlap,
                working_hours=shared.hours,
                attributes=shared.attributes,
                version=self._version,
                jitter=self._config.simulation.jitter,
            )
        return self._settings[known]

    def _section_of(self, key: SettingsKey) -> Anomalies:
        """Return the anomalies of a kind of sensor: its own where the config states none."""
        sensor_type = sensor_type_of_identity(self._config, self._catalogue, key.sensor_type)
        if sensor_type.name not in self._sections:
            self._sections[sensor_type.name] = with_anomalies_of(self._config.anomalies, sensor_type)
        return self._sections[sensor_type.name]

    def _anomalies_of(
        self, key: SettingsKey, section: Anomalies, channels: tuple[Channel, ...]
    ) -> tuple[AnomalySpec, ...]:
        probability = section.probability if key.probability is None else key.probability
        if probability == 0 or not (section.enabled or key.probability is not None):
            return ()
        if key not in self._scaled:
            effects = effects_of(self._config, self._catalogue, key)
            computed = scaled_anomalies(section, effects, tuple(channel.name for channel in channels))
            self._scaled[key] = self._distinct.setdefault(computed, computed)
        scaled = self._scaled[key]
        known = (id(scaled), probability)
        if known not in self._anomalies:
            self._anomalies[known] = tuple(with_shares(scaled, probability))
        return self._anomalies[known]


def effects_of(config: Config, catalogue: Catalogue, key: SettingsKey) -> Effects:
    sensor_type = sensor_type_of_identity(config, catalogue, key.sensor_type)
    return sensor_type.effects(key.manufacturer, key.model, key.firmware)


def compute_channels(config: Config, catalogue: Catalogue, key: SettingsKey, version: int) -> SharedChannels:
    """Compute the channels of a sensor. By the rules of version 1 they are white noise, and nothing of what came later."""
    sensor_type = sensor_type_of_identity(config, catalogue, key.sensor_type)
    effects = effects_of(config, catalogue, key)
    surroundings = catalogue.surroundings.get(key.surroundings or "", Surroundings())
    profiles = sensor_type.channels_of(key.variant)
    channels = tuple(
        build_channel(name, values, effects, surroundings) for name, values in healthy_signals(config, profiles)
    )
    names = tuple(channel.name for channel in channels)
    hours = (
        WorkingHours(**surroundings.hours.model_dump()) if any(c.working_hours for c in channels) else WorkingHours()
    )
    if key.climate is not None:
        channels = tuple(channel_in_climate(each, profiles[each.name].climate, key.climate) for each in channels)
    if version < SETTINGS_VERSION:
        return SharedChannels(without_movement(channels), hours, ())
    channels = tuple(without_absent(channel, names) for channel in channels)
    return SharedChannels(channels, hours, tuple(reading_attributes(sensor_type, names)))


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
        yield name, {**values, **movement, "fixed": fixed, "daily": config.daily_pattern}


def limited_instrument(instrument: Instrument, profile: ChannelProfile, stated: ChannelParameters | None) -> Instrument:
    """Return an instrument without the limits of what it shows if a config states limits, or is in another unit."""
    if stated is None or (stated.lowest is None and stated.highest is None and stated.unit in (None, profile.unit)):
        return instrument
    return replace(instrument, lowest=None, highest=None)


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


def scaled_anomalies(anomalies: Anomalies, effects: Effects, channels: tuple[str, ...]) -> ScaledAnomalies:
    """Return the enabled types of anomaly of a sensor with `effects`."""
    types = anomalies.types.enabled()
    weights = {name: effects.weight(name, section.weight) for name, section in types.items()}
    total = sum(weights.values(), Fraction(0))
    specs = []
    for name, section in types.items():
        duration, unit = section.duration
        specs.append(
            AnomalySpec(
                kind=name,
                share=0.0,
                duration=duration,
                unit=unit,
                parameters=tuple(worker_parameters(section, effects).items()),
                channel_odds=effects.channel_odds(channels) if section.declaration.channels == "one" else (),
            )
        )
    parts = tuple(weight / total if total else Fraction(0) for weight in weights.values())
    return ScaledAnomalies(tuple(specs), parts, effects.multiplier)


def with_shares(scaled: ScaledAnomalies, probability: float) -> Iterator[AnomalySpec]:
    """Yield the types of anomaly at that probability, each with its exact share, rounded once."""
    share = effective_share(probability, scaled.multiplier)
    for spec, part in zip(scaled.specs, scaled.parts, strict=True):
        type_share = float(share * part)
        if type_share >= MIN_ANOMALY_SHARE:
            yield replace(spec, share=type_share)


def worker_parameters(section: AnomalyTypeSection, effects: Effects) -> Parameters:
    """Return the worker's parameters of a type: the config overrides the catalogue, which overrides the defaults."""
    declaration = section.declaration
    values = declaration.merge_parameters(
        declaration.default_parameters(), effects.parameters(declaration.name), section.configured_parameters()
    )
    return declaration.stored_parameters(values, effects.severity)

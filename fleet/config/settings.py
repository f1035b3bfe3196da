"""The settings of one sensor: what the config says, under what the catalogue says of its hardware and its place."""

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
from worker.readings.anomalies import Parameters
from worker.spec import AnomalySpec, Channel, Identity, Settings, WorkingHours

ChannelValues = Mapping[str, Any]

MAX_DECIMALS = 9
MIN_STD_DEV = Fraction(1, 10**12)
DEGREES_PER_KELVIN = {"°F": 1.8, "F": 1.8}
"""How many degrees of a unit a kelvin is, where it is not one."""
MIN_ANOMALY_SHARE = 1e-12
"""Of a kind that is rarer, one reading in 300 years at 100 a second, there are none: the pages in which a worker lays
episodes out grow as shares shrink, and end where whole numbers of 64 bits do."""


class SettingsKey(NamedTuple):
    """All of an identity, but for its climate, that its settings depend on: what the sensor is and what it stands in."""

    sensor_type: str | None
    manufacturer: str | None
    model: str | None
    firmware: str | None
    surroundings: str | None


def settings_for(config: Config, catalogue: Catalogue, identity: Identity) -> Settings:
    """How the sensor behaves. What the catalogue does not know of an identity has no effect on it."""
    (settings,) = fleet_settings(config, catalogue, [identity])
    return settings


def fleet_settings(config: Config, catalogue: Catalogue, identities: Iterable[Identity]) -> list[Settings]:
    """The settings of many sensors, in their order; those in like circumstances are worked out once and shared."""
    settings: dict[SettingsKey, Settings] = {}
    placed: dict[tuple[SettingsKey, Climate | None], Settings] = {}
    found = []
    for identity in identities:
        case, climate = settings_key(config, catalogue, identity), climate_for(config, identity)
        if case not in settings:
            settings[case] = settings_for_key(config, catalogue, case)
        if (case, climate) not in placed:
            kind = sensor_type_of_identity(config, catalogue, case.sensor_type)
            placed[case, climate] = (
                settings[case] if climate is None else settings_in_climate(settings[case], kind, climate)
            )
        found.append(placed[case, climate])
    return found


def settings_key(config: Config, catalogue: Catalogue, identity: Identity) -> SettingsKey:
    return SettingsKey(
        identity.sensor_type,
        identity.manufacturer,
        identity.model,
        identity.firmware_version,
        catalogue.surroundings_of(config.surroundings, identity),
    )


def climate_for(config: Config, identity: Identity) -> Climate | None:
    """None where the config does not ask for it or nobody knows where the sensor is."""
    if not config.climate or identity.latitude is None or identity.longitude is None:
        return None
    return climate_of(identity.latitude, elevation_of(identity.latitude, identity.longitude))


def settings_for_key(config: Config, catalogue: Catalogue, case: SettingsKey) -> Settings:
    kind = sensor_type_of_identity(config, catalogue, case.sensor_type)
    effects = kind.effects(case.manufacturer, case.model, case.firmware)
    place = catalogue.surroundings.get(case.surroundings or "", Surroundings())
    channels = tuple(build_channel(name, values, effects, place) for name, values in healthy_signals(config, kind))
    hours = WorkingHours(**place.hours.model_dump()) if any(c.working_hours for c in channels) else WorkingHours()
    return Settings(
        rate=f"{config.simulation.readings_per_second.normalize():f}",
        channels=channels,
        anomalies=tuple(anomaly_specs(config, effects, tuple(channel.name for channel in channels))),
        mode=config.anomalies.mode,
        working_hours=hours,
    )


def sensor_type_of_identity(config: Config, catalogue: Catalogue, own: str | None) -> SensorType:
    """The sensor's own kind, or the config's where it has none that the catalogue knows."""
    return catalogue.sensor_type(own if own is not None and catalogue.has_sensor_type(own) else config.sensor.type)


def healthy_signals(config: Config, kind: SensorType) -> Iterator[tuple[str, ChannelValues]]:
    """The channels that the config lists and this kind has, all of the kind's if that is none: what the profile says
    of each, under what the config says."""
    listed: Mapping[str, ChannelParameters] = config.normal_parameters or {}
    names = [name for name in kind.channels if name in listed] or list(kind.channels)
    for name in names:
        values, stated = kind.channels[name].model_dump(), listed.get(name)
        fixed = stated is not None and stated.decimals is not None
        if stated is not None:
            values |= stated.model_dump(exclude_none=True)
        yield name, {**values, "fixed": fixed, "daily": config.daily_pattern}


def build_channel(name: str, values: ChannelValues, effects: Effects, place: Surroundings) -> Channel:
    """A channel as its hardware and its surroundings make it. Its rhythms are in standard deviations of the signal as
    it is asked for, without those effects."""
    asked: float = values["std_dev"]
    local = place.channels.get(name, SurroundingsEffect())
    std_dev = scale_std_dev(asked, effects.std_dev(name) * Fraction(local.std_dev))
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
        daily_amplitude=values["daily_amplitude"] * local.daily_amplitude * asked if values["daily"] else 0.0,
        working_hours=local.working_hours * asked if values["daily"] else 0.0,
    )


def scale_std_dev(std_dev: float, factor: Fraction) -> float:
    """Rounded once; what would be far below the nine decimals that are written is 0."""
    exact = Fraction(Decimal(repr(std_dev))) * factor
    return float(exact) if exact >= MIN_STD_DEV else 0.0


def settings_in_climate(settings: Settings, kind: SensorType, climate: Climate) -> Settings:
    """The same settings in that climate: the channels that follow it are shifted, together with their bounds."""
    channels = tuple(channel_in_climate(each, kind.channels[each.name].climate, climate) for each in settings.channels)
    return replace(settings, channels=channels)


def channel_in_climate(channel: Channel, follows: str, climate: Climate) -> Channel:
    """`follows` is what of the climate the channel measures: temperature, pressure or none."""
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
    """The least number of decimal places, of 0 to 9, that resolves a hundredth of the standard deviation."""
    if std_dev == 0:
        return 0
    # 10^a <= std_dev < 10^(a+1), so 10^(a-2) is the largest power of ten that is at most std_dev / 100.
    return min(MAX_DECIMALS, max(0, 2 - Decimal(repr(std_dev)).adjusted()))


def anomaly_specs(config: Config, effects: Effects, channels: tuple[str, ...]) -> Iterator[AnomalySpec]:
    """The kinds of anomaly that are enabled, each with its exact share, rounded once."""
    if not config.anomalies.enabled or config.anomalies.probability == 0:
        return
    types = config.anomalies.types.enabled()
    share = effects.anomaly_share(config.anomalies.probability)
    weights = {name: effects.weight(name, kind.weight) for name, kind in types.items()}
    total = sum(weights.values(), Fraction(0))
    for name, kind in types.items():
        own = float(share * weights[name] / total) if total else 0.0
        if own >= MIN_ANOMALY_SHARE:
            duration, unit = kind.duration
            yield AnomalySpec(
                kind=name,
                share=own,
                duration=duration,
                unit=unit,
                parameters=tuple(worker_parameters(kind, effects).items()),
                channel_odds=effects.channel_odds(channels) if kind.declaration.channels == "one" else (),
            )


def worker_parameters(section: AnomalyTypeSection, effects: Effects) -> Parameters:
    """The worker's parameters of a type: the config overrides the catalogue, which overrides the defaults."""
    declaration = section.declaration
    values = declaration.merge_parameters(
        declaration.default_parameters(), effects.parameters(declaration.name), section.configured_parameters()
    )
    return declaration.stored_parameters(values, effects.severity)

"""The settings of one sensor: the config, the effects of its hardware, and those of its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from fleet.catalogue.anomalies import Anomalies, AnomalyTypeSection
from fleet.catalogue.catalogue import Catalogue, Effects, effective_share
from fleet.catalogue.climate import Climate, climate_of, elevation_of
from fleet.config.channels import ChannelBuilder, SettingsKey, sensor_type_of_identity
from fleet.config.config import Config
from fleet.config.scenario import with_anomalies_of
from worker.readings.anomaly_type import Parameters
from worker.spec import RANDOM_PLACEMENT_VERSION, SETTINGS_VERSION, AnomalySpec, Identity, Settings

MIN_ANOMALY_SHARE = 1e-12
"""A type with a smaller share (one reading in 300 years at 100 a second) is left out: the pages in which a worker lays out
episodes grow as shares shrink, up to the limit of 64-bit integers."""


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
        self._channels = ChannelBuilder(catalogue, version)
        self._section: Anomalies | None = None
        self._sections: dict[str, Anomalies] = {}
        self._scaled: dict[tuple[SettingsKey, tuple[str, ...]], ScaledAnomalies] = {}
        self._distinct: dict[ScaledAnomalies, ScaledAnomalies] = {}
        self._anomalies: dict[tuple[int, float], tuple[AnomalySpec, ...]] = {}
        self._settings: dict[tuple[str, int, int, str, str, str, float], Settings] = {}

    def use(self, config: Config) -> SettingsParts:
        self._config = config
        self._rate = config.simulation.readings_per_second.stored_text()
        self._channels.use(config)
        section = config.anomalies
        if section != self._section:
            self._sections = {}
            if self._section is None or section.types != self._section.types:
                self._scaled = {}
        self._section = section
        return self

    def settings(self, key: SettingsKey) -> Settings:
        """Return the settings of the sensors with `key`."""
        shared, section = self._channels.channels(key), self._section_of(key)
        anomalies = self._anomalies_of(key, section, shared.names)
        known = (
            self._rate,
            id(shared),
            id(anomalies),
            section.mode,
            section.overlap,
            section.placement,
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
                placement=section.placement if self._version >= RANDOM_PLACEMENT_VERSION else "even",
            )
        return self._settings[known]

    def _section_of(self, key: SettingsKey) -> Anomalies:
        """Return the anomalies of a kind of sensor: its own where the config states none."""
        sensor_type = sensor_type_of_identity(self._config, self._catalogue, key.sensor_type)
        if sensor_type.name not in self._sections:
            self._sections[sensor_type.name] = with_anomalies_of(self._config.anomalies, sensor_type)
        return self._sections[sensor_type.name]

    def _anomalies_of(self, key: SettingsKey, section: Anomalies, channels: tuple[str, ...]) -> tuple[AnomalySpec, ...]:
        probability = section.probability if key.probability is None else key.probability
        if probability == 0 or not (section.enabled or key.probability is not None):
            return ()
        if (key, channels) not in self._scaled:
            computed = scaled_anomalies(section, effects_of(self._config, self._catalogue, key), channels)
            self._scaled[key, channels] = self._distinct.setdefault(computed, computed)
        scaled = self._scaled[key, channels]
        known = (id(scaled), probability)
        if known not in self._anomalies:
            self._anomalies[known] = tuple(with_shares(scaled, probability))
        return self._anomalies[known]


def effects_of(config: Config, catalogue: Catalogue, key: SettingsKey) -> Effects:
    sensor_type = sensor_type_of_identity(config, catalogue, key.sensor_type)
    return sensor_type.effects(key.manufacturer, key.model, key.firmware)


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
                lengths=section.law,
                longest=section.longest,
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

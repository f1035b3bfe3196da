"""The settings of one sensor: what the config says, under what the catalogue says of its hardware."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from fleet.catalogue import Catalogue, Effects, SensorType
from fleet.catalogue_entries import ChannelProfile
from fleet.config import Config
from fleet.config_anomalies import AnomalyType, Parameters
from fleet.config_sections import ChannelParameters
from worker.spec import AnomalySpec, Channel, Identity, Settings

MOST_DECIMALS = 9
LEAST_SHARE = 1e-12
"""Of a kind that is rarer, one reading in 300 years at 100 a second, there are none: the pages in which a worker lays
episodes out grow as shares shrink, and end where whole numbers of 64 bits do."""


def settings_for(config: Config, catalogue: Catalogue, identity: Identity) -> Settings:
    """How the sensor behaves. What the catalogue does not know of an identity has no effect on it."""
    kind = kind_of(config, catalogue, identity)
    effects = kind.effects(identity.manufacturer, identity.model, identity.firmware_version)
    channels = tuple(channels_of(config, kind))
    return Settings(
        rate=f"{config.simulation.readings_per_second.normalize():f}",
        channels=channels,
        anomalies=tuple(anomalies_of(config, effects, tuple(channel.name for channel in channels))),
        mode=config.anomalies.mode,
    )


def fleet_settings(config: Config, catalogue: Catalogue, identities: Iterable[Identity]) -> list[Settings]:
    """The settings of many sensors, in their order; those of like hardware are worked out once and shared."""
    known: dict[tuple[str | None, ...], Settings] = {}
    found = []
    for identity in identities:
        hardware = (identity.sensor_type, identity.manufacturer, identity.model, identity.firmware_version)
        if hardware not in known:
            known[hardware] = settings_for(config, catalogue, identity)
        found.append(known[hardware])
    return found


def kind_of(config: Config, catalogue: Catalogue, identity: Identity) -> SensorType:
    """The identity's own kind, or the config's where it has none that the catalogue knows."""
    own = identity.sensor_type
    return catalogue.sensor_type(own if own is not None and catalogue.knows(own) else config.sensor.type)


def channels_of(config: Config, kind: SensorType) -> Iterator[Channel]:
    """The channels that the config lists and this kind has; all of the kind's if that is none."""
    listed: Mapping[str, ChannelParameters] = config.normal_parameters or {}
    names = [name for name in kind.channels if name in listed] or list(kind.channels)
    for name in names:
        yield channel(name, kind.channels[name], listed.get(name), daily=config.daily_pattern)


def channel(name: str, profile: ChannelProfile, stated: ChannelParameters | None, *, daily: bool) -> Channel:
    values = profile.model_dump()
    fixed = stated is not None and stated.decimals is not None
    if stated is not None:
        values |= stated.model_dump(exclude_none=True)
    decimals = values["decimals"] if fixed else max(values["decimals"], decimals_for(values["std_dev"]))
    return Channel(
        name=name,
        unit=values["unit"],
        mean=values["mean"],
        std_dev=values["std_dev"],
        minimum=values["min"],
        maximum=values["max"],
        lowest=values["lowest"],
        highest=values["highest"],
        decimals=decimals,
        daily_amplitude=values["daily_amplitude"] * values["std_dev"] if daily else 0.0,
    )


def decimals_for(std_dev: float) -> int:
    """The least number of decimal places, of 0 to 9, that resolves a hundredth of the standard deviation."""
    if std_dev == 0:
        return 0
    # 10^a <= std_dev < 10^(a+1), so 10^(a-2) is the largest power of ten that is at most std_dev / 100.
    return min(MOST_DECIMALS, max(0, 2 - Decimal(repr(std_dev)).adjusted()))


def anomalies_of(config: Config, effects: Effects, channels: tuple[str, ...]) -> Iterator[AnomalySpec]:
    """The kinds of anomaly that are enabled, each with its exact share, rounded once."""
    if not config.anomalies.enabled or config.anomalies.probability == 0:
        return
    types = config.anomalies.types.enabled()
    share = effects.share(config.anomalies.probability)
    weights = {name: effects.weight(name, kind.weight) for name, kind in types.items()}
    total = sum(weights.values(), Fraction(0))
    for name, kind in types.items():
        own = float(share * weights[name] / total) if total else 0.0
        if own >= LEAST_SHARE:
            duration, unit = kind.duration
            yield AnomalySpec(
                kind=name,
                share=own,
                duration=duration,
                unit=unit,
                parameters=tuple(told(name, kind, effects).items()),
                channel_odds=effects.odds(channels) if kind.ONE_CHANNEL else (),
            )


def told(name: str, kind: AnomalyType, effects: Effects) -> Parameters:
    """The worker's parameters: the defaults, then what the catalogue says, then what the config states."""
    return kind.told(kind.merged(kind.DEFAULTS, effects.parameters(name), kind.stated()), effects.severity)

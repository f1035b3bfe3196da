"""What each sensor of a fleet is told: its settings by the config, and what an operator has laid over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from fleet.catalogue.catalogue import Catalogue
from fleet.config.config import Config
from fleet.config.scenario import scenario_stages
from fleet.config.settings import fleet_settings
from fleet.datadir.interventions import InjectionRecord, Interventions
from worker.readings.anomalies import anomaly_class
from worker.schedule import SECOND_US
from worker.spec import AnomalySpec, Identity, Injection, SensorSpec, Settings, Stage

ApplyInjection = Callable[[Settings, InjectionRecord], Settings]


def sensor_specs(
    config: Config,
    catalogue: Catalogue,
    identities: Sequence[Identity],
    rows: Mapping[str, int],
    start_us: int,
    interventions: Interventions,
) -> list[SensorSpec]:
    """In the order of the identities. `rows` are those of the scoreboard, `start_us` is when the fleet began."""
    probabilities = interventions.probabilities
    settings = settings_with_probabilities(config, catalogue, identities, probabilities)
    later = [
        (
            start_us + round(after_seconds * SECOND_US),
            settings_with_probabilities(staged, catalogue, identities, probabilities),
        )
        for after_seconds, staged in scenario_stages(config)
    ]
    injections = interventions.open_by_sensor()
    apply = cache(apply_injection)  # sensors of like settings go on sharing them
    return [
        SensorSpec(
            identity,
            settings[number],
            rows[identity.sensor_id],
            stages_with_injections(
                settings[number],
                tuple(Stage(at_us, staged[number]) for at_us, staged in later),
                injections.get(identity.sensor_id, ()),
                apply,
            ),
            tuple(interventions.pauses.get(identity.sensor_id, ())),
        )
        for number, identity in enumerate(identities)
    ]


def settings_with_probabilities(
    config: Config, catalogue: Catalogue, identities: Sequence[Identity], probabilities: Mapping[str, float]
) -> list[Settings]:
    """The settings by a config, but that some sensors have a probability of their own."""
    found = fleet_settings(config, catalogue, identities)
    for probability in sorted(set(probabilities.values())):
        anomalies = config.anomalies.model_copy(update={"probability": probability, "enabled": True})
        numbers = [n for n, each in enumerate(identities) if probabilities.get(each.sensor_id) == probability]
        own = config.model_copy(update={"anomalies": anomalies})
        for number, settings in zip(
            numbers, fleet_settings(own, catalogue, [identities[n] for n in numbers]), strict=True
        ):
            found[number] = settings
    return found


def stages_with_injections(
    settings: Settings, later: tuple[Stage, ...], injections: Sequence[InjectionRecord], apply: ApplyInjection
) -> tuple[Stage, ...]:
    """The stages of a sensor with injections in them. Of two at a time it is in the one that was asked for last."""
    if not injections:
        return later
    base = SensorSpec(Identity(""), settings, 0, later)
    times = {stage.at_us for stage in later} | {at for each in injections for at in (each.from_us, each.end_us)}
    found = []
    for at_us in sorted(times):
        now = [each for each in injections if each.from_us <= at_us < each.end_us]
        healthy = base.settings_at(at_us)
        found.append(Stage(at_us, apply(healthy, now[-1]) if now else healthy))
    return tuple(found)


def apply_injection(settings: Settings, injection: InjectionRecord) -> Settings:
    """Settings under an injection, which is as the sensor's own anomalies of that kind but for its size."""
    own = next((each for each in settings.anomalies if each.kind == injection.type), None)
    parameters = dict(own.parameters) if own else {}
    if injection.size is not None:
        parameters |= anomaly_class(injection.type).sized_parameters(injection.size)
    anomaly = AnomalySpec(
        kind=injection.type,
        share=1.0,
        duration=(injection.until_us - injection.from_us) / SECOND_US,
        unit="seconds",
        parameters=tuple(parameters.items()),
        channel_odds=own.channel_odds if own else (),
    )
    told = Injection(
        injection.id, anomaly, injection.from_us, injection.until_us, injection.channel, injection.size is not None
    )
    return replace(settings, injection=told)

"""The specs of the sensors of a fleet: settings from the config, overridden by the interventions of an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import blake2b

from fleet.catalogue.catalogue import Catalogue
from fleet.config.channels import SettingsKey
from fleet.config.config import Config
from fleet.config.scenario import scenario_stages
from fleet.config.settings import SettingsParts, settings_key
from fleet.datadir.directory import FleetManifest
from fleet.datadir.interventions import InjectionRecord, Interventions
from worker.readings.anomalies import anomaly_class
from worker.schedule import GOLDEN_RATIO_CONJUGATE, SECOND_US
from worker.spec import AnomalySpec, Identity, Injection, Phase, SensorSpec, Settings, Stage

ApplyInjection = Callable[[Settings, InjectionRecord], Settings]


def sensor_specs(
    config: Config,
    catalogue: Catalogue,
    identities: Sequence[Identity],
    record: FleetManifest,
    interventions: Interventions,
    settings_cache: SettingsCache,
) -> list[SensorSpec]:
    """Return the specs in the order of the identities. Their order in `record` is that of the scoreboard's rows."""
    rows = {sensor: row for row, (sensor, _) in enumerate(record.sensors)}
    all_settings = settings_cache.settings(config, catalogue, identities, record, interventions.probabilities)
    injections = interventions.open_by_sensor()
    apply = cache(apply_injection)  # sensors of equal settings go on sharing them
    return [
        SensorSpec(
            identity,
            settings,
            rows[identity.sensor_id],
            stages_with_injections(settings, stages, injections.get(identity.sensor_id, ()), apply),
            tuple(interventions.pauses.get(identity.sensor_id, ())),
            phase_of(config.simulation.phase, record.seed, identity.sensor_id, rows[identity.sensor_id]),
        )
        for identity, (settings, stages) in zip(identities, all_settings, strict=True)
    ]


def phase_of(phase: Phase, seed: int, sensor_id: str, row: int) -> float:
    """Return the part of the interval, in [0, 1), at which a sensor reads. A sensor keeps it when others come and go."""
    if phase == "aligned":
        return 0.0
    if phase == "spread":
        return row * GOLDEN_RATIO_CONJUGATE % 1
    digest = blake2b(f"{seed}/{sensor_id}".encode(), digest_size=6, person=b"fleet-phase").digest()
    return int.from_bytes(digest, "little") / (1 << 48)


SensorSettings = tuple[Settings, tuple[Stage, ...]]
"""The settings of a sensor at the start of the fleet, and the stages of the scenario."""


class SettingsCache:
    """The settings of the sensors of the last plan. A command changes those of few sensors or none, and with a scenario
    the computation takes up to 0.05 ms for each sensor and step."""

    def __init__(self) -> None:
        self._scope: tuple[Config, Catalogue, int, int] | None = None
        self._known: dict[tuple[Identity, float | None], SensorSettings] = {}

    def settings(
        self,
        config: Config,
        catalogue: Catalogue,
        identities: Sequence[Identity],
        record: FleetManifest,
        probabilities: Mapping[str, float],
    ) -> list[SensorSettings]:
        """Return the settings in the order of the identities; compute those that are not known from the last call."""
        start_us, version = record.start_us, record.settings_version
        scope, last = (config, catalogue, start_us, version), self._scope
        if last is None or last[0] is not config or last[1] is not catalogue or last[2:] != scope[2:]:
            self._scope, self._known = scope, {}
        keys = [(identity, probabilities.get(identity.sensor_id)) for identity in identities]
        unknown = [identity for identity, key in zip(identities, keys, strict=True) if key not in self._known]
        computed = iter(
            compute_settings(config, catalogue, unknown, start_us, probabilities, version) if unknown else ()
        )
        self._known = {key: self._known.get(key) or next(computed) for key in keys}
        return [self._known[key] for key in keys]


def compute_settings(
    config: Config,
    catalogue: Catalogue,
    identities: Sequence[Identity],
    start_us: int,
    probabilities: Mapping[str, float],
    version: int,
) -> list[SensorSettings]:
    """Compute the settings of sensors and of each step of the scenario, once for all sensors whose settings are equal."""
    keys = [settings_key(config, catalogue, identity, probabilities.get(identity.sensor_id)) for identity in identities]
    parts = SettingsParts(catalogue, version).use(config)
    first = {key: parts.settings(key) for key in keys}
    stages: dict[SettingsKey, list[Stage]] = {key: [] for key in first}
    for after_seconds, staged in scenario_stages(config, catalogue.channel_names):
        at_us = start_us + round(after_seconds * SECOND_US)
        parts.use(staged)
        for key, of_key in stages.items():
            of_key.append(Stage(at_us, parts.settings(key)))
    shared = {key: (settings, tuple(stages[key])) for key, settings in first.items()}
    return [shared[key] for key in keys]


def stages_with_injections(
    settings: Settings, later: tuple[Stage, ...], injections: Sequence[InjectionRecord], apply: ApplyInjection
) -> tuple[Stage, ...]:
    """Return the stages of a sensor with its injections. Of injections that overlap, the latest command applies."""
    if not injections:
        return later
    base, known = SensorSpec(Identity(""), settings, 0, later), {stage.at_us: stage for stage in later}
    stages = []
    for at_us in sorted({*known, *(at for each in injections for at in (each.from_us, each.end_us))}):
        healthy = known[at_us] if at_us in known else Stage(at_us, base.settings_at(at_us))
        active = [each for each in injections if each.from_us <= at_us < each.end_us]
        stages.append(Stage(at_us, apply(healthy.settings, active[-1])) if active else healthy)
    return tuple(stages)


def apply_injection(settings: Settings, injection: InjectionRecord) -> Settings:
    """Return settings with an injection, which has the parameters of the sensor's own anomalies of that type but its own
    size."""
    configured = next((each for each in settings.anomalies if each.kind == injection.type), None)
    parameters = dict(configured.parameters) if configured else {}
    if injection.size is not None:
        parameters |= anomaly_class(injection.type).sized_parameters(injection.size)
    anomaly = AnomalySpec(
        kind=injection.type,
        share=1.0,
        duration=(injection.until_us - injection.from_us) / SECOND_US,
        unit="seconds",
        parameters=tuple(parameters.items()),
        channel_odds=configured.channel_odds if configured else (),
    )
    applied = Injection(
        injection.id, anomaly, injection.from_us, injection.until_us, injection.channel, injection.size is not None
    )
    return replace(settings, injection=applied)

"""The `scenario` of a config: changes of its settings at times that are known from the start, such as a slow decay.

A step states its changes by the keys of the config; any other key stays as the steps before left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, create_model
from pydantic.fields import FieldInfo

from fleet.catalogue.anomalies import Anomalies, with_enabled
from fleet.catalogue.catalogue import SensorType
from fleet.catalogue.entries import ChannelProfile
from fleet.config.dialects import Draft, canonical_draft
from fleet.config.sections import ChannelParameters, Simulation
from fleet.durations import MAX_DURATION_SECONDS, parse_duration
from fleet.errors import UserError
from fleet.validation.issues import ConfigIssue, KeyPath, SourceMap, model_issues
from fleet.validation.scalars import Flag, Section
from worker.readings.anomalies import ANOMALY_CLASSES, anomaly_class

if TYPE_CHECKING:  # which holds the steps
    from fleet.config.config import Config


MAX_STEPS = 10_000
"""Steps of a scenario: the settings of each sensor are computed for all of them before it starts, in 0.05 ms or less each,
and the fork server keeps them."""

ALTERNATIVE_KEYS = (
    frozenset(("duration_seconds", "duration_readings")),
    *(each.alternatives for each in ANOMALY_CLASSES if each.alternatives),
)
"""Keys of which a section has at most one: a step that sets one replaces the other."""


def coerce_duration(value: object) -> object:
    """Convert `1h`, `90m` or `5400` to seconds."""
    if isinstance(value, str):
        try:
            return parse_duration(value, "")
        except UserError:
            raise ValueError("is not a time such as 30s, 5m, 1h30m or 2d") from None
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def partial_model(section: type[Section], *names: str) -> type[Section]:
    """Make the model of a change to a section: all of its fields, or those in `names`, and none of them required."""
    kept = {name: field for name, field in section.model_fields.items() if name in names or not names}
    fields: dict[str, Any] = {name: (optional_annotation(field), None) for name, field in kept.items()}
    return create_model(f"{section.__name__}Change", __base__=Section, __doc__=section.__doc__, **fields)


def optional_annotation(field: FieldInfo) -> Any:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Section):
        return partial_model(kind) | None
    return Annotated[(kind, *field.metadata)] | None if field.metadata else kind | None  # type: ignore[operator]


AnomaliesChange = partial_model(Anomalies)
ChannelChange = partial_model(
    ChannelParameters, "mean", "std_dev", "min", "max", "lowest", "highest", "daily_amplitude", "correlation"
)
SimulationChange = partial_model(Simulation, "readings_per_second")


MomentSeconds = BeforeValidator(coerce_duration)


class Step(Section):
    """A change that applies from `at` on, counted from the simulated start of the fleet: seconds, or a text such as
    1h30m."""

    at: Annotated[
        float,
        Field(gt=0, le=MAX_DURATION_SECONDS),
        MomentSeconds,
        WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DURATION_SECONDS}),
    ]
    anomalies: AnomaliesChange | None = None  # type: ignore[valid-type]
    normal_parameters: Mapping[str, ChannelChange] | None = None  # type: ignore[valid-type]
    simulation: SimulationChange | None = None  # type: ignore[valid-type]
    daily_pattern: Flag | None = None

    def changes(self) -> dict[str, Any]:
        """Return the changes as plain values."""
        changes = self.model_dump(exclude_none=True, exclude={"at"})
        types = changes.get("anomalies", {}).get("types", {})
        types.update({name: with_enabled(anomaly_class(name), stated) for name, stated in types.items()})
        return changes


def canonicalise_steps(draft: Draft) -> None:
    """Convert the keys of each step to the canonical spelling, as if it were a config of its own."""
    node = draft.source_map.nodes.get(("scenario",))
    if node is None or not isinstance(node.value, list):
        return
    for number, child in enumerate(node.value):
        if isinstance(child.value, dict):
            step = canonical_draft(child)
            draft.issues.extend(step.issues)
            draft.warnings.extend(step.warnings)
            draft.get(("scenario",))[number] = step.values
            draft.source_map.nodes |= {
                ("scenario", number, *path): inner for path, inner in step.source_map.nodes.items() if path
            }


def step_order_issues(steps: tuple[Step, ...], source_map: SourceMap) -> Iterator[ConfigIssue]:
    """Yield an issue for each step that is not after the one before it."""
    for number, (step, before) in enumerate(zip(steps[1:], steps, strict=False), 1):
        if step.at <= before.at:
            message = f"{step.at:g} seconds are not after the {before.at:g} of the step before"
            yield source_map.issue(("scenario", number, "at"), message)


def apply_change(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `base`, overridden by those of `change`."""
    stale = {name for pair in ALTERNATIVE_KEYS if pair & change.keys() for name in pair}
    result = {name: value for name, value in base.items() if name not in stale}
    for name, value in change.items():
        below = result.get(name)
        result[name] = (
            apply_change(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
        )
    return result


def step_issues(
    anomalies: Anomalies, channels: Mapping[str, Any], steps: tuple[Step, ...], draft: Draft, sensor_type: SensorType
) -> Iterator[ConfigIssue]:
    """Yield an issue for each change that contradicts the config or an earlier step. `channels` are the listed ones;
    if none are, all channels of the sensor type apply."""
    yield from step_order_issues(steps, draft.source_map)
    healthy = {name: profile_values(profile) for name, profile in sensor_type.channels.items()}
    values = {
        name: apply_change(healthy[name], channel.model_dump(exclude_none=True))
        for name, channel in channels.items()
        if name in healthy
    }
    values = values or healthy
    values_so_far = anomalies.model_dump(exclude_none=True)
    for number, step in enumerate(steps):
        change = step.changes()
        path = ("scenario", number)
        values_so_far = apply_change(values_so_far, change.get("anomalies", {}))
        yield from validation_issues(Anomalies, values_so_far, draft.source_map, (*path, "anomalies"))
        for name, part in change.get("normal_parameters", {}).items():
            if name in values:
                values[name] = apply_change(values[name], part)
                channel_path = (*path, "normal_parameters", name)
                yield from validation_issues(ChannelParameters, values[name], draft.source_map, channel_path)


def step_channel_issues(steps: tuple[Step, ...], channels: tuple[str, ...], draft: Draft) -> Iterator[ConfigIssue]:
    """Yield an issue for each change of a channel that is not one of `channels`, those of all sensors of the config."""
    for number, step in enumerate(steps):
        for name in step.changes().get("normal_parameters", {}):
            if name not in channels:
                path = ("scenario", number, "normal_parameters", name)
                message = f"unknown channel; this config has {', '.join(channels)}"
                yield draft.source_map.issue(path, message, at_key=True)


def profile_values(profile: ChannelProfile) -> dict[str, Any]:
    """Return the values of a channel of a kind that a config can override."""
    return profile.model_dump(include=set(ChannelParameters.model_fields))


def validation_issues(
    section: type[Section], values: Mapping[str, Any], source_map: SourceMap, path: KeyPath
) -> Iterator[ConfigIssue]:
    try:
        section.model_validate(values)
    except ValidationError as error:
        yield from model_issues(error, source_map, section.model_json_schema(), path)


class ScheduledConfig(NamedTuple):
    """The config in force from `after_seconds` on, simulated time since the fleet began."""

    after_seconds: float
    config: Config


def scenario_stages(config: Config, channels: Iterable[str]) -> Iterator[ScheduledConfig]:
    """Yield the stages of a valid config in order; each has the changes of all steps up to its own. `channels` are those of
    all kinds of sensor."""
    for step in config.scenario:
        config = apply_step(config, step, channels)
        yield ScheduledConfig(step.at, config)


def apply_step(config: Config, step: Step, channels: Iterable[str]) -> Config:
    changes = step.changes()
    update: dict[str, Any] = {}
    if "anomalies" in changes:
        update["anomalies"] = changed_anomalies(config.anomalies, changes["anomalies"])
    if "normal_parameters" in changes:
        update["normal_parameters"] = apply_channel_changes(config, changes["normal_parameters"], channels)
    if "simulation" in changes:
        update["simulation"] = config.simulation.model_copy(update=changes["simulation"])
    if "daily_pattern" in changes:
        update["daily_pattern"] = changes["daily_pattern"]
    return config.model_copy(update=update)


def stated_values(anomalies: Anomalies) -> dict[str, Any]:
    """Return the values that are stated, without defaults, as those of a kind of sensor apply in their place."""
    return anomalies.model_dump(exclude_none=True, exclude_unset=True)


def changed_anomalies(anomalies: Anomalies, change: Mapping[str, Any]) -> Anomalies:
    """Return a section with stated values overridden by those of `change`. Raises ValidationError."""
    return Anomalies.model_validate(apply_change(stated_values(anomalies), change))


def with_anomalies_of(anomalies: Anomalies, sensor_type: SensorType) -> Anomalies:
    """Return a section with the values of a kind of sensor where it states none. Raises ValidationError if the two
    contradict each other."""
    of_kind = sensor_type.entry.anomalies
    return changed_anomalies(of_kind, stated_values(anomalies)) if of_kind.model_fields_set else anomalies


def anomaly_issues(anomalies: Anomalies, draft: Draft, sensor_type: SensorType) -> Iterator[ConfigIssue]:
    """Yield an issue for each value that contradicts those of a kind of sensor."""
    values = apply_change(stated_values(sensor_type.entry.anomalies), stated_values(anomalies))
    yield from validation_issues(Anomalies, values, draft.source_map, ("anomalies",))


def apply_channel_changes(
    config: Config, changes: dict[str, Any], channels: Iterable[str]
) -> dict[str, ChannelParameters]:
    """Return the listed channels with their changes. If the config lists none, values that a step does not set are
    those of each sensor's own kind."""
    listed = config.normal_parameters
    if listed is None:
        return {name: ChannelParameters.model_construct(None, **changes.get(name, {})) for name in channels}
    return {name: channel.model_copy(update=changes.get(name, {})) for name, channel in listed.items()}

"""The `scenario` of a config: what its settings become at times that are known from the start, such as a slow decay.

A step says what changes, in the words of the config; what it leaves out stays as the steps before it left it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, create_model
from pydantic.fields import FieldInfo

from fleet.configuration.anomalies import Anomalies
from fleet.configuration.catalogue import SensorType
from fleet.configuration.dialects import Draft, canonical
from fleet.configuration.faults import Fault, Index, Path, model_faults
from fleet.configuration.scalars import Flag, Section
from fleet.configuration.sections import ChannelParameters, Simulation
from fleet.durations import LONGEST, seconds
from fleet.errors import UserError

EITHER = (frozenset(("duration_seconds", "duration_readings")), frozenset(("amplitude", "amplitude_percent")))
"""Ways to say the same: a step that uses one takes the place of the other."""


def duration(value: object) -> object:
    """Seconds of `1h`, `90m`, `5400`."""
    if isinstance(value, str):
        try:
            return seconds(value, "")
        except UserError:
            raise ValueError("is not a time such as 30s, 5m, 1h30m or 2d") from None
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def change_of(section: type[Section], *names: str) -> type[Section]:
    """The model of a part of a section: all of its fields, or those named, and none of them needed."""
    kept = {name: field for name, field in section.model_fields.items() if name in names or not names}
    fields: dict[str, Any] = {name: (optional(field), None) for name, field in kept.items()}
    return create_model(f"{section.__name__}Change", __base__=Section, __doc__=section.__doc__, **fields)


def optional(field: FieldInfo) -> Any:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Section):
        return change_of(kind) | None
    return Annotated[(kind, *field.metadata)] | None if field.metadata else kind | None  # type: ignore[operator]


AnomaliesChange = change_of(Anomalies)
ChannelChange = change_of(ChannelParameters, "mean", "std_dev", "min", "max", "lowest", "highest", "daily_amplitude")
SimulationChange = change_of(Simulation, "readings_per_second")


class Step(Section):
    """From `at` on, counted from the simulated start of the fleet: seconds, or a text such as 1h30m."""

    at: Annotated[
        float,
        Field(gt=0, le=LONGEST),
        BeforeValidator(duration),
        WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST}),
    ]
    anomalies: AnomaliesChange | None = None  # type: ignore[valid-type]
    normal_parameters: Mapping[str, ChannelChange] | None = None  # type: ignore[valid-type]
    simulation: SimulationChange | None = None  # type: ignore[valid-type]
    daily_pattern: Flag | None = None

    def changes(self) -> dict[str, Any]:
        """What it says, as plain values."""
        return self.model_dump(exclude_none=True, exclude={"at"})


def settle_steps(draft: Draft) -> None:
    """Put the words of each step into the canonical ones, as if it were a config of its own."""
    node = draft.index.nodes.get(("scenario",))
    if node is None or not isinstance(node.value, list):
        return
    for number, child in enumerate(node.value):
        if isinstance(child.value, dict):
            own = canonical(child)
            draft.faults.extend(own.faults)
            draft.get(("scenario",))[number] = own.values
            draft.index.nodes |= {("scenario", number, *path): found for path, found in own.index.nodes.items() if path}


def order_faults(steps: tuple[Step, ...], index: Index) -> Iterator[Fault]:
    """Steps that do not follow one another."""
    for number, (step, before) in enumerate(zip(steps[1:], steps, strict=False), 1):
        if step.at <= before.at:
            message = f"{step.at:g} seconds are not after the {before.at:g} of the step before"
            yield index.fault(("scenario", number, "at"), message)


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `base` with those of `change` over them."""
    stale = {name for pair in EITHER if pair & change.keys() for name in pair}
    result = {name: value for name, value in base.items() if name not in stale}
    for name, value in change.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def step_faults(
    anomalies: Anomalies, channels: Mapping[str, Any], steps: tuple[Step, ...], draft: Draft, kind: SensorType
) -> Iterator[Fault]:
    """What steps say that does not go with what was said before. `channels` are those listed; none are all of a kind's."""
    yield from order_faults(steps, draft.index)
    healthy = {
        name: profile.model_dump(include=set(ChannelParameters.model_fields)) for name, profile in kind.channels.items()
    }
    values = {name: merged(healthy[name], channel.model_dump(exclude_none=True)) for name, channel in channels.items()}
    values = values or healthy
    told = anomalies.model_dump(exclude_none=True)
    for number, step in enumerate(steps):
        change = step.changes()
        path = ("scenario", number)
        told = merged(told, change.get("anomalies", {}))
        yield from misfits(Anomalies, told, draft.index, (*path, "anomalies"))
        for name, part in change.get("normal_parameters", {}).items():
            place = (*path, "normal_parameters", name)
            if name not in values:
                yield draft.index.fault(place, f"unknown channel; this config has {', '.join(values)}", at_key=True)
            else:
                values[name] = merged(values[name], part)
                yield from misfits(ChannelParameters, values[name], draft.index, place)


def misfits(section: type[Section], values: Mapping[str, Any], index: Index, path: Path) -> Iterator[Fault]:
    try:
        section.model_validate(values)
    except ValidationError as error:
        yield from model_faults(error, index, section.model_json_schema(), path)

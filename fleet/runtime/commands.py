"""The commands that a running fleet accepts, as typed models.

To add one: a model here, an entry in `AnyCommand`, and a line in `fleet.runtime.command_handler`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from fleet.config.delivery_faults import FAULT_KINDS
from fleet.escaping import escape_short
from fleet.validation.issues import schema_violation, subschema
from worker.readings.anomalies import ANOMALY_TYPES

if TYPE_CHECKING:
    AnomalyTypeName = str
    FaultKindName = str
else:
    AnomalyTypeName, FaultKindName = Literal[ANOMALY_TYPES], Literal[FAULT_KINDS]

MAX_SENSORS_NAMED = 1000
"""Sensors that one command can name; more are selected by a property that they share."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=0.001, le=1e9, allow_inf_nan=False)]
InjectionId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="1 to 64 letters, digits, dots, dashes, underscores"
    ),
]


class Command(BaseModel):
    """A command. `by` names its sender in the event log."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    by: Annotated[str, Field(max_length=100)] = "command line"


class SelectorCommand(Command):
    """A command for the sensors that match all given criteria; `share` selects a part of those."""

    sensors: Annotated[tuple[Name, ...], Field(max_length=MAX_SENSORS_NAMED)] | None = None
    city: Name | None = None
    manufacturer: Name | None = None
    firmware: Name | None = None
    kind: Name | None = None
    share: Share | None = None


class Status(Command):
    command: Literal["status"]


class Down(Command):
    command: Literal["down"]


class Scale(Command):
    command: Literal["scale"]
    count: Annotated[int, Field(ge=1, le=100_000)]


class Restart(Command):
    command: Literal["restart"]
    sensor: Name


class StartRollout(Command):
    """A rollout to `share` of the sensors (0 to 1), a `step` after `every` seconds. Without the two, all at once."""

    command: Literal["rollout"]
    firmware: Name
    share: Share = 1.0
    step: Share | None = None
    every: Annotated[float, Field(gt=0, le=1e9)] | None = None

    @model_validator(mode="after")
    def check_step_and_every(self) -> StartRollout:
        if (self.step is None) != (self.every is None):
            raise ValueError("step and every belong together")
        if self.step is not None and self.step > self.share:
            raise ValueError(f"a step of {self.step:.4g} is more than the share of {self.share:.4g}")
        return self


class InjectionCommand(SelectorCommand):
    """An injection. `at` is simulated time as ISO 8601, None for now. Without `id` it gets a random one."""

    size: Annotated[float, Field(allow_inf_nan=False)] | None = None
    seconds: Seconds = 30.0
    at: Name | None = None
    id: InjectionId | None = None


class Inject(InjectionCommand):
    """An anomaly."""

    command: Literal["inject"]
    type: AnomalyTypeName
    channel: Name | None = None


class InjectFault(InjectionCommand):
    """A fault of the way to the targets, in a share of the readings of the sensors."""

    command: Literal["inject_fault"]
    type: FaultKindName
    probability: Share = 1.0


class Cancel(Command):
    """The end of an injection that is running or planned."""

    command: Literal["cancel"]
    id: InjectionId


class Pause(SelectorCommand):
    command: Literal["pause"]


class Resume(SelectorCommand):
    command: Literal["resume"]


class Probability(SelectorCommand):
    """A probability of anomalies; None restores that of the config."""

    command: Literal["probability"]
    probability: Annotated[float, Field(ge=0, le=1)] | None


COMMAND_MODELS: tuple[type[Command], ...] = (
    *(Status, Down, Scale, Restart, StartRollout, Inject, InjectFault, Cancel, Pause, Resume, Probability),
)
AnyCommand = (
    Status | Down | Scale | Restart | StartRollout | Inject | InjectFault | Cancel | Pause | Resume | Probability
)
Answer = dict[str, Any]
COMMAND_ADAPTER: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Field(discriminator="command")])


def describe_invalid_command(error: ValidationError) -> str:
    """Return a line about the first mistake in a command: its place, the value, and what is allowed."""
    detail = error.errors(include_url=False)[0]
    place = escape_short(".".join(map(str, detail["loc"])) or "command")
    models = {get_args(model.model_fields["command"].annotation)[0]: model for model in COMMAND_MODELS}
    if not detail["loc"] or detail["loc"][0] not in models:
        return f"{place}: allowed is an object whose `command` is one of {', '.join(sorted(models))}"
    name, *inner = detail["loc"]
    return f"{place}: {describe_violation(detail, models[str(name)], tuple(inner))}"


def describe_violation(detail: ErrorDetails, model: type[Command], path: tuple[int | str, ...]) -> str:
    """Return what is wrong about the value at `path` of a command."""
    value, reason = detail["input"], detail.get("ctx", {}).get("error")
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "extra_forbidden":
        return (
            f"unknown key; allowed are {', '.join(key for key in model.model_fields if key not in ('command', 'by'))}"
        )
    if detail["type"] == "too_long" and isinstance(value, list):
        return f"has {len(value):,} entries; allowed are at most {detail['ctx']['max_length']:,}"
    if isinstance(reason, ValueError):
        return str(reason)
    shown = escape_short(json.dumps(value, ensure_ascii=False))
    if detail["type"].startswith("int_") and isinstance(value, float):
        return f"{shown} is not a whole number"
    return f"{shown} {schema_violation(value, subschema(model.model_json_schema(), path))}"

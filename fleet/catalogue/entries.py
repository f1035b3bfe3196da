"""The entries of a catalogue file, validated as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from fleet.validation.issues import schema_violation
from fleet.validation.scalars import (
    AsExact,
    AsReal,
    AsText,
    AsWhole,
    FieldError,
    Name,
    Quantity,
    Section,
    StandardDeviation,
    Text,
)
from worker.readings.anomalies import ANOMALY_TYPES, anomaly_class
from worker.readings.anomaly_type import Parameter
from worker.spec import CHANNEL_NAMES

AUTO, NONE = "auto", "none"
"""What a config may say of surroundings besides their name."""

Multiplier = Annotated[
    Decimal,
    Field(ge=0, le=1000),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1000}),
    AsExact,
]
ChannelShare = Annotated[
    Decimal,
    Field(ge=0, le=1),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
    AsExact,
]


def known_anomaly_type(value: str) -> str:
    if value not in ANOMALY_TYPES:
        raise ValueError(f"is not one of {', '.join(ANOMALY_TYPES)}")
    return value


def known_channel(value: str) -> str:
    """Refuse a channel that has no column in the readings table: its values would be dropped."""
    if value not in CHANNEL_NAMES:
        raise ValueError(f"is not a channel of the readings table; a sensor type can have {', '.join(CHANNEL_NAMES)}")
    return value


AnomalyTypeName = Annotated[str, AsText, AfterValidator(known_anomaly_type)]
ChannelName = Annotated[Name, AfterValidator(known_channel)]


class ChannelProfile(Section):
    """A channel of a sensor type: its healthy signal, its physical limits, its unit and decimals."""

    unit: Text
    mean: Quantity
    std_dev: StandardDeviation
    min: Quantity
    max: Quantity
    lowest: Quantity = -1e12
    highest: Quantity = 1e12
    decimals: Annotated[int, Field(ge=0, le=9), AsWhole] = 2
    daily_amplitude: Annotated[float, Field(ge=-100, le=100), AsReal] = 0.0
    climate: Annotated[Literal["none", "temperature", "pressure"], AsText] = "none"

    @model_validator(mode="after")
    def in_order(self) -> ChannelProfile:
        if not self.lowest <= self.min <= self.mean <= self.max <= self.highest:
            raise FieldError(
                "mean", f"lowest {self.lowest:g} <= min <= mean <= max <= highest {self.highest:g} does not hold"
            )
        return self


class Effect(Section):
    """The effect of a manufacturer, a model or a firmware version on a sensor's anomalies and healthy signal."""

    multiplier: Multiplier = Decimal(1)
    severity: Annotated[float, Field(ge=0, le=100), AsReal] = 1.0
    weights: Mapping[AnomalyTypeName, Multiplier] = Field(default_factory=dict)
    parameters: Mapping[AnomalyTypeName, Mapping[Name, Quantity]] = Field(default_factory=dict)
    channel_shares: Mapping[Name, ChannelShare] = Field(default_factory=dict)
    std_dev: Mapping[Name, Multiplier] = Field(default_factory=dict)

    @model_validator(mode="after")
    def known_parameters(self) -> Effect:
        """Accept the parameters that a config could state of the type, within the same bounds."""
        for anomaly_type, values in self.parameters.items():
            issue = parameter_issue(anomaly_type, values)
            if issue is not None:
                name, reason = issue
                raise FieldError(f"parameters.{anomaly_type}.{name}", reason)
        return self

    @model_validator(mode="after")
    def shares_of_one(self) -> Effect:
        if sum(self.channel_shares.values()) > 1:
            raise FieldError("channel_shares", "the shares add up to more than 1")
        return self


def parameter_issue(anomaly_type: str, values: Mapping[str, float]) -> tuple[str, str] | None:
    """Return the name of an invalid parameter of a type of anomaly, and the reason; None if all are valid."""
    declaration = anomaly_class(anomaly_type)
    names = [parameter.name for parameter in declaration.parameters]
    for name in values:
        if name not in names:
            return name, f"unknown parameter; {anomaly_type} has {', '.join(names) or 'none'}"
    for parameter in declaration.parameters:
        if parameter.name in values and not parameter.allows(values[parameter.name]):
            value = values[parameter.name]
            return parameter.name, f"{value:g} {schema_violation(value, parameter_schema(parameter))}"
    return declaration.contradiction(values)


def parameter_schema(parameter: Parameter) -> Mapping[str, str | float]:
    least = "exclusiveMinimum" if parameter.positive else "minimum"
    return {"type": "number", least: parameter.minimum, "maximum": parameter.maximum}


class Manufacturer(Effect):
    models: tuple[Name, ...] = Field(min_length=1, strict=False)


class SensorTypeEntry(Section):
    """The entry of one sensor type."""

    aliases: tuple[Name, ...] = Field(default=(), strict=False)
    channels: Mapping[ChannelName, ChannelProfile] = Field(min_length=1)
    manufacturers: Mapping[Name, Manufacturer] = Field(min_length=1)
    models: Mapping[Name, Effect] = Field(default_factory=dict)
    firmware: Mapping[Name, Effect] = Field(min_length=1)


class SurroundingsEffect(Section):
    """The effect of surroundings on the healthy signal of a channel: factors, and standard deviations added at work."""

    std_dev: Multiplier = Decimal(1)
    daily_amplitude: Annotated[float, Field(ge=-100, le=100), AsReal] = 1.0
    working_hours: Annotated[float, Field(ge=-100, le=100), AsReal] = 0.0


Hour = Annotated[int, Field(ge=0, le=23), AsWhole]


class WorkHours(Section):
    """Working hours in local time; `days` counts from Monday."""

    begin: Hour = 8
    end: Hour = 18
    days: Annotated[int, Field(ge=0, le=7), AsWhole] = 5

    @model_validator(mode="after")
    def in_order(self) -> WorkHours:
        if self.end <= self.begin:
            raise FieldError("end", f"{self.end} is not after begin {self.begin}")
        return self


class Surroundings(Section):
    """A kind of place, the words by which it is recognised, and its effects on the channels of sensors in it."""

    words: tuple[Name, ...] = Field(default=(), strict=False)
    hours: WorkHours = WorkHours()
    channels: Mapping[Name, SurroundingsEffect] = Field(default_factory=dict)

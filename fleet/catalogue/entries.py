"""The entries of a catalogue file, validated as they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from fleet.catalogue.anomalies import Anomalies
from fleet.catalogue.attributes import (
    AttributeName,
    ColumnName,
    ReadingAttributeSection,
    SensorAttribute,
    Weight,
)
from fleet.catalogue.countries import TWO_LETTERS, country_code
from fleet.catalogue.signals import InstrumentSection, Signals, followed_channel, nearest_name
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
from worker.spec import ColumnType

MAX_CHANNELS = 32
"""The number of last values that a row of the scoreboard has room for. (`worker.scoreboard` has it too, but imports numpy.)"""

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


def two_letter_code(value: str) -> str:
    code = country_code(value)
    if code not in TWO_LETTERS.values():
        raise ValueError("is not the code of a country, such as US")
    return code


CountryCode = Annotated[str, AsText, AfterValidator(two_letter_code)]
AnomalyTypeName = Annotated[str, AsText, AfterValidator(known_anomaly_type)]


HourOfDay = Annotated[float, Field(ge=0, lt=24), AsReal]
Amplitude = Annotated[float, Field(ge=-100, le=100), AsReal]


class ChannelProfile(Section):
    """A channel of a kind of sensor: its unit and decimals, its healthy signal, its physical limits, its instrument. The
    amplitudes of its rhythms are in standard deviations, everything else in `unit`."""

    unit: Text
    mean: Quantity
    std_dev: StandardDeviation
    min: Quantity
    max: Quantity
    lowest: Quantity = -1e12
    highest: Quantity = 1e12
    decimals: Annotated[int, Field(ge=0, le=9), AsWhole] = 2
    daily_amplitude: Amplitude = 0.0
    daily_peak: HourOfDay = 15.0
    daily_trough: HourOfDay | None = None
    working_hours: Amplitude = 0.0
    yearly_amplitude: Amplitude = 0.0
    climate: Annotated[Literal["none", "temperature", "pressure"], AsText] = "none"
    signals: Signals = ()
    instrument: InstrumentSection = InstrumentSection()

    @model_validator(mode="after")
    def in_order(self) -> ChannelProfile:
        if not self.lowest <= self.min <= self.mean <= self.max <= self.highest:
            raise FieldError(
                "mean", f"lowest {self.lowest:g} <= min <= mean <= max <= highest {self.highest:g} does not hold"
            )
        if self.daily_trough == self.daily_peak:
            raise FieldError(
                "daily_trough", f"{self.daily_trough:g} o'clock is the daily_peak, too; it needs another hour"
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


class Variant(Section):
    """One of several variants of a kind: its channels and attributes, besides those of the kind. Each sensor is of one
    variant, drawn with `weight`."""

    weight: Weight = 1.0
    channels: Mapping[ColumnName, ChannelProfile] = Field(default_factory=dict)
    attributes: Mapping[AttributeName, SensorAttribute] = Field(default_factory=dict)


class VariableEntry(Section):
    """The meaning of a variable of the environment for the sensors of a kind, one of: a `key` of the config that it sets;
    `interval_of`, a key that is the rate of which the variable is the interval in seconds; `multiples`, keys that it sets
    times a factor; `unused`, the reason why it has no effect."""

    key: Text | None = None
    interval_of: Text | None = None
    multiples: Mapping[Text, Quantity] = Field(default_factory=dict)
    unused: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def from_key(cls, data: Any) -> Any:
        return {"key": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def one_meaning(self) -> VariableEntry:
        if len(self.model_fields_set) != 1:
            raise ValueError("has not exactly one of key, interval_of, multiples, unused")
        return self


GENERIC_MANUFACTURER = "Generic"
ID_PATTERN = re.compile(r"(?:[A-Za-z0-9_.-]|\{city\}|\{variant\}|\{digits:[1-6]\})+\Z")


def valid_id_pattern(value: str) -> str:
    """Accept a pattern of sensor ids, which differ in their digits."""
    if not ID_PATTERN.match(value) or "{digits:" not in value or len(value) > 60 or not value[0].isalnum():
        raise ValueError(
            "is not a pattern such as SNS-{variant}-{digits:4}: letters, digits, '_', '.', '-', {city}, {variant} and "
            "{digits:N}, N from 1 to 6"
        )
    return value


class SensorTypeEntry(Section):
    """The entry of one kind of sensor."""

    aliases: tuple[Name, ...] = Field(default=(), strict=False)
    channels: Mapping[ColumnName, ChannelProfile] = Field(default_factory=dict)
    attributes: Mapping[AttributeName, SensorAttribute] = Field(default_factory=dict)
    reading_attributes: Mapping[AttributeName, ReadingAttributeSection] = Field(default_factory=dict)
    variants: Mapping[Name, Variant] = Field(default_factory=dict)
    variant_attribute: AttributeName = "variant"
    id_pattern: Annotated[str, AsText, AfterValidator(valid_id_pattern)] | None = None
    countries: tuple[CountryCode, ...] = Field(default=(), strict=False)
    anomalies: Anomalies = Anomalies()
    environment: Mapping[Name, VariableEntry] = Field(default_factory=dict)
    manufacturers: Mapping[Name, Manufacturer] = Field(min_length=1)
    models: Mapping[Name, Effect] = Field(default_factory=dict)
    firmware: Mapping[Name, Effect] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def with_hardware(cls, data: Any) -> Any:
        """Add generic hardware to a kind that states none."""
        if not isinstance(data, Mapping):
            return data
        generic = {
            "manufacturers": {GENERIC_MANUFACTURER: {"models": [f"{GENERIC_MANUFACTURER}-1"]}},
            "firmware": {"1.0": None},
        }
        return {**data, **{name: value for name, value in generic.items() if data.get(name) is None}}

    @model_validator(mode="after")
    def some_channels(self) -> SensorTypeEntry:
        for where, channels in self.channel_sets():
            if not channels:
                raise FieldError(where, "is missing" if where == "channels" else "has no channels")
            if len(channels) > MAX_CHANNELS:
                raise FieldError(where, f"has {len(channels)} channels; a sensor has at most {MAX_CHANNELS}")
        if self.variants and not any(variant.weight for variant in self.variants.values()):
            raise FieldError("variants", "all weights are 0")
        return self

    @model_validator(mode="after")
    def known_channels(self) -> SensorTypeEntry:
        """Refuse a signal that follows a channel that the sensor does not have, or that follows it."""
        for where, channels in self.channel_sets():
            follows = {name: followed_channel(channel.signals) for name, channel in channels.items()}
            for name, other in follows.items():
                key = f"channels.{name}.signals.follows.channel"
                key = key if name in self.channels else f"{where}.{key}"
                if other is not None and other not in channels:
                    raise FieldError(
                        key, f"{other} is not a channel of the sensor; {nearest_name(other, tuple(channels))}"
                    )
                if other is not None and name in chain(follows, name):
                    raise FieldError(key, f"{' follows '.join((name, *chain(follows, name)))}, a circle")
        every = tuple(dict.fromkeys(name for _, channels in self.channel_sets() for name in channels))
        for name, attribute in self.reading_attributes.items():
            for number, rule in enumerate(attribute.rules):
                if rule.channel is not None and rule.channel not in every:
                    key = f"reading_attributes.{name}.rules.{number}.channel"
                    raise FieldError(
                        key, f"{rule.channel} is not a channel of the sensor; {nearest_name(rule.channel, every)}"
                    )
        return self

    @model_validator(mode="after")
    def different_columns(self) -> SensorTypeEntry:
        """Refuse two columns of one name."""
        taken = {name: "a channel" for _, channels in self.channel_sets() for name in channels}
        taken |= {self.variant_attribute: "the attribute of the variant"} if self.variants else {}
        for name in self.reading_attributes:
            if name in taken:
                raise FieldError(f"reading_attributes.{name}", f"is the name of {taken[name]}, too")
            taken[name] = "an attribute of a reading"
        named = [(f"attributes.{name}", name) for name in self.attributes]
        named += [
            (f"variants.{of}.attributes.{name}", name) for of, each in self.variants.items() for name in each.attributes
        ]
        for key, name in named:
            if name in taken:
                raise FieldError(key, f"is the name of {taken[name]}, too")
        return self

    def channel_sets(self) -> Iterator[tuple[str, Mapping[str, ChannelProfile]]]:
        """Yield the channels of each variant, or those of the kind if it has no variants, with the key they belong to."""
        if not self.variants:
            yield "channels", self.channels
        for name, variant in self.variants.items():
            yield f"variants.{name}", {**self.channels, **variant.channels}

    def columns(self) -> Iterator[tuple[str, ColumnType]]:
        """Yield the further columns of the kind, with their types."""
        for _, channels in self.channel_sets():
            yield from ((name, "REAL") for name in channels)
        yield from (
            (name, attribute.attribute(name).column_type) for name, attribute in self.reading_attributes.items()
        )
        for attributes in (self.attributes, *(variant.attributes for variant in self.variants.values())):
            yield from ((name, attribute.column_type) for name, attribute in attributes.items())
        if self.variants:
            yield self.variant_attribute, "TEXT"


def chain(follows: Mapping[str, str | None], name: str) -> tuple[str, ...]:
    """Return the channels that a channel follows, directly and indirectly; in a circle each of them once."""
    result: list[str] = []
    following = follows.get(name)
    while following is not None and following not in result:
        result.append(following)
        following = follows.get(following)
    return tuple(result)


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

"""The attributes that a kind of sensor declares: further columns of a sensor, and further columns of its readings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fleet.validation.issues import format_value, schema_violation
from fleet.validation.scalars import (
    WHOLE_NUMBER,
    AsReal,
    AsText,
    AsWhole,
    FieldError,
    Flag,
    Quantity,
    Section,
    as_flag,
    as_real,
    printable,
)
from fleet.validation.yaml_tree import PlainScalar
from worker.spec import CHANNEL_NAMES, AttributeRule, AttributeValue, ColumnType, ReadingAttribute

Picked = TypeVar("Picked")

NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)\Z")
"""Infinity and "not a number" as YAML writes them."""
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
RESERVED_NAMES = frozenset(
    (
        *("timestamp", "sensor_id", "status_code", "anomaly_flag", "anomaly_type", "synced", "seq", "id"),
        *("firmware_version", "model", "manufacturer", "serial_number", "manufacture_date", "location", "latitude"),
        *("longitude", "original_timezone", "deployment_type", "installation_date", "height_meters"),
        *("orientation_degrees", "instance_id", "sensor_type"),
        *("source_id", "extra", "generation", "time", "rowid", "oid"),
        *("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"),
    )
)
"""The names of columns that a table of readings has already, here or at a target. (`worker.storage.schema` has those of
`sensor_readings`, but imports numpy.)"""

COLUMN_TYPES: Mapping[str, ColumnType] = {"text": "TEXT", "number": "REAL", "whole": "INTEGER"}
PYTHON_TYPES: Mapping[ColumnType, type | tuple[type, ...]] = {"TEXT": str, "REAL": (int, float), "INTEGER": int}


def column_name(value: str) -> str:
    """Accept the name of a column of its own in the table of readings."""
    if not NAME_PATTERN.match(value):
        raise ValueError("is not a name of 1 to 40 lower-case letters, digits and '_' that begins with a letter")
    if value in RESERVED_NAMES:
        raise ValueError("is the name of another column of every reading")
    return value


def attribute_name(value: str) -> str:
    if value in CHANNEL_NAMES:
        raise ValueError("is the name of a column for a channel")
    return column_name(value)


def as_value(value: object) -> object:
    """Convert a plain scalar to a whole number, a number or a truth value if it reads as one; otherwise it is text."""
    if isinstance(value, PlainScalar):
        if WHOLE_NUMBER.match(value) and abs(int(value)) < 1 << 63 and str(int(value)) == value:
            return int(value)
        number = as_flag(as_real(value))
        if NOT_FINITE.match(value) or number in (inf, -inf):
            raise ValueError("is not a finite number; put it in quotes if it is text")
        return str(number) if isinstance(number, str) else int(number) if isinstance(number, bool) else number
    if isinstance(value, Decimal):
        return float(value)
    if not isinstance(value, str | int | float):
        raise ValueError("is neither text nor a number")
    return int(value) if isinstance(value, bool) else value


def value_in_bounds(value: str | float | int) -> str | float | int:
    if isinstance(value, str):
        if not 1 <= len(value) <= 200:
            raise ValueError("is not text of 1 to 200 characters")
        return printable(value)
    if not abs(value) < 1e15:
        raise ValueError("is not a number below 1e15")
    return value


Value = Annotated[str | int | float, BeforeValidator(as_value), AfterValidator(value_in_bounds)]
ColumnName = Annotated[str, AsText, AfterValidator(column_name)]
AttributeName = Annotated[str, AsText, AfterValidator(attribute_name)]
MAX_WEIGHT = 1_000_000
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT), AsReal]
Decimals = Annotated[int, Field(ge=0, le=9), AsWhole]


def as_choice(value: object) -> object:
    """Convert a list of values, or a mapping of values to weights, to pairs of value and weight. Raises FieldError."""
    if isinstance(value, Mapping):
        return tuple((PlainScalar(key) if isinstance(key, str) else key, as_weight(key, value[key])) for key in value)
    if isinstance(value, list):
        return tuple((each, 1.0) for each in value)
    return value


def as_weight(key: object, value: object) -> float:
    weight = 1.0 if value is None else as_real(value)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= MAX_WEIGHT:
        schema = {"type": "number", "minimum": 0, "maximum": MAX_WEIGHT}
        raise FieldError(str(key), f"{format_value(value)} {schema_violation(weight, schema)}")
    return float(weight)


Choice = Annotated[tuple[tuple[Value, Weight], ...], Field(min_length=1, strict=False), BeforeValidator(as_choice)]
Range = Annotated[tuple[Quantity, Quantity], Field(strict=False)]


class Drawn(Section):
    """How a value is given: one `value`, one of several (`choose`), or a number from a range (`uniform`)."""

    value: Value | None = None
    choose: Choice | None = None
    uniform: Range | None = None
    decimals: Decimals = 2

    @model_validator(mode="after")
    def one_of_them(self) -> Drawn:
        given = [name for name in ("value", "choose", "uniform") if getattr(self, name) is not None]
        if len(given) > 1:
            raise FieldError(given[1], f"contradicts {given[0]}; keep one")
        if self.choose is not None and not any(weight for _, weight in self.choose):
            raise FieldError("choose", "all weights are 0")
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            raise FieldError("uniform", f"{self.uniform[0]:g} is more than {self.uniform[1]:g}")
        return self

    @property
    def values(self) -> tuple[AttributeValue, ...]:
        """The values that may be drawn; empty for a range."""
        if self.choose is not None:
            return tuple(value for value, _ in self.choose)
        return () if self.value is None else (self.value,)

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(weight for _, weight in self.choose) if self.choose is not None else (1.0,) * len(self.values)

    def draw(self, fraction: float) -> AttributeValue:
        """Return the value for a number uniform in [0, 1)."""
        if self.uniform is not None:
            low, high = self.uniform
            return round(low + fraction * (high - low), self.decimals)
        return pick(self.values, self.weights, fraction)

    @property
    def column_type(self) -> ColumnType:
        types = {type(value) for value in self.values} if self.uniform is None else {float}
        if types == {int}:
            return "INTEGER"
        return "REAL" if types <= {int, float} else "TEXT"


def pick(values: tuple[Picked, ...], weights: tuple[float, ...], fraction: float) -> Picked:
    """Return the value that a number uniform in [0, 1) draws by the weights."""
    total = 0.0
    for weight in weights:
        total += weight
    position = fraction * total
    for value, weight in zip(values, weights, strict=True):
        position -= weight
        if position < 0:
            return value
    return next(value for value, weight in zip(reversed(values), reversed(weights), strict=True) if weight)


class SensorAttribute(Drawn):
    """A further column of a sensor, the same in all its readings."""

    @model_validator(mode="before")
    @classmethod
    def value_alone(cls, data: Any) -> Any:
        """Accept a fixed value without a section."""
        return data if isinstance(data, Mapping | None) else {"value": data}

    @model_validator(mode="after")
    def some_value(self) -> SensorAttribute:
        if not self.values and self.uniform is None:
            raise ValueError("has no value; state a value, or choose, or uniform")
        return self

    @model_validator(mode="after")
    def one_type(self) -> SensorAttribute:
        if len({isinstance(value, str) for value in self.values}) > 1:
            raise FieldError("choose", "mixes text and numbers; put the numbers in quotes")
        return self

    def draw(self, fraction: float) -> AttributeValue:
        value = super().draw(fraction)
        return float(value) if self.column_type == "REAL" and value is not None else value


class Rule(Drawn):
    """One rule for an attribute of a reading. It applies if all that it states holds; the first that applies gives the
    value, and one without a value gives none (NULL)."""

    anomalous: Flag | None = None
    weather: Annotated[Literal["storm", "front", "clear", "none"], AsText] | None = None
    channel: ColumnName | None = None
    at_least: Quantity | None = None
    below: Quantity | None = None

    @model_validator(mode="after")
    def channel_and_bounds(self) -> Rule:
        bounds = [name for name in ("at_least", "below") if getattr(self, name) is not None]
        if bounds and self.channel is None:
            raise FieldError(bounds[0], "needs a channel whose value is compared")
        if self.channel is not None and not bounds:
            raise FieldError("channel", "needs at_least or below")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise FieldError(
                "at_least", f"{self.at_least:g} is not less than below {self.below:g}, so it never applies"
            )
        return self

    def rule(self) -> AttributeRule:
        low, high = self.uniform or (0.0, 0.0)
        return AttributeRule(
            anomalous=self.anomalous,
            weather=self.weather,
            channel=self.channel,
            at_least=self.at_least,
            below=self.below,
            values=self.values or (() if self.uniform is not None else (None,)),
            weights=self.weights or (() if self.uniform is not None else (1.0,)),
            low=low,
            high=high,
            decimals=self.decimals,
        )


class ReadingAttributeSection(Section):
    """A further column of each reading, which follows from the reading."""

    type: Annotated[Literal["text", "number", "whole"], AsText]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def values_of_the_type(self) -> ReadingAttributeSection:
        wanted = PYTHON_TYPES[COLUMN_TYPES[self.type]]
        for number, rule in enumerate(self.rules):
            if rule.uniform is not None and self.type != "number":
                raise FieldError(f"rules.{number}.uniform", f"does not give {TYPE_NOUNS[self.type]}; only a number")
            for value in rule.values:
                if not isinstance(value, wanted):
                    advice = "; put it in quotes" if self.type == "text" else ""
                    raise FieldError(f"rules.{number}", f"{value} is not {TYPE_NOUNS[self.type]}{advice}")
        return self

    def attribute(self, name: str) -> ReadingAttribute:
        rules = tuple(rule.rule() for rule in self.rules)
        if self.type == "number":
            rules = tuple(replace(rule, values=tuple(map(optional_float, rule.values))) for rule in rules)
        return ReadingAttribute(name, COLUMN_TYPES[self.type], rules)


def optional_float(value: AttributeValue) -> float | None:
    return None if value is None else float(value)


TYPE_NOUNS = {"text": "text", "number": "a number", "whole": "a whole number"}

"""The types of configuration values: the conversion of a written scalar to text, a number or a truth value.

A `PlainScalar` is read as the type of its field; a quoted one is text and nothing else. Other values (a float from
Python code) go to pydantic's strict checks unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fleet.durations import parse_duration
from fleet.errors import UserError
from fleet.validation.yaml_tree import PlainScalar

WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,400}\Z")
NUMBER = re.compile(r"(?=.{1,400}\Z)[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?\Z")
MAX_CONFIG_SECONDS = 100 * 365 * 86_400
"""Seconds; no time that a config states is longer."""
MAX_CATALOGUE_NAME_LENGTH = 100
"""Characters of a name in the catalogue: it becomes part of an identity's serial number, which has 200."""
TRUE_WORDS = frozenset(("true", "yes", "on"))
FALSE_WORDS = frozenset(("false", "no", "off"))


class Section(BaseModel):
    """A frozen mapping of the config. A key that is written without a value has its default. A text that is written
    instead of the section is the value of its `short_key`, if it has one."""

    short_key: ClassVar[str] = ""
    requires: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The keys that need another one beside them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def without_blanks(cls, data: Any) -> Any:
        if data is None:
            return {}
        if cls.short_key and isinstance(data, str):
            return {cls.short_key: data}
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
        return data


class FieldError(ValueError):
    """A value that contradicts others in its section; `key` is the one that the error names."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def as_text(value: object) -> object:
    return str(value) if isinstance(value, str) else value


def as_flag(value: object) -> object:
    if isinstance(value, PlainScalar) and value.lower() in TRUE_WORDS | FALSE_WORDS:
        return value.lower() in TRUE_WORDS
    return value


def as_whole(value: object) -> object:
    return int(value) if isinstance(value, PlainScalar) and WHOLE_NUMBER.match(value) else value


def as_real(value: object) -> object:
    return float(value) if isinstance(value, PlainScalar) and NUMBER.match(value) else value


def as_seconds(value: object) -> object:
    """Convert a number, or a text such as 10m or 1h30m."""
    number = as_real(value)
    if isinstance(number, str) and not NUMBER.match(number):  # a number in quotes is text
        try:
            return parse_duration(number, "")
        except UserError:
            if number[:1].isdigit() and not number.isdecimal():  # a time in another notation
                raise ValueError("is not a number of seconds, nor a time such as 30s, 5m, 1h30m or 2d") from None
    return number


def as_share(value: object) -> object:
    """Convert a number, or a percentage such as 5%."""
    if isinstance(value, str) and value.endswith("%") and NUMBER.match(value[:-1].strip()):
        return float(Decimal(value[:-1].strip()) / 100)
    return as_real(value)


def as_exact(value: object) -> object:
    """Convert to a decimal without rounding: from the text as written, or from the shortest text of a float."""
    if isinstance(value, PlainScalar) and NUMBER.match(value):
        return Decimal(value)
    return Decimal(repr(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def printable(value: str) -> str:
    if not all(character.isprintable() for character in value):
        raise ValueError("is not plain text on one line")
    return value


def not_blank(value: str) -> str:
    if value.isspace():
        raise ValueError("is blank")
    return value


def not_tiny(value: float) -> float:
    # Far below the nine decimals that are written; noise is amplified by mean / std_dev, which must stay finite.
    if 0 < value < 1e-12:
        raise ValueError("is neither 0 nor at least 1e-12")
    return value


AsText = BeforeValidator(as_text)
Text = Annotated[str, Field(min_length=1, max_length=1000), AsText, AfterValidator(printable)]
Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_CATALOGUE_NAME_LENGTH),
    AsText,
    AfterValidator(printable),
    AfterValidator(not_blank),
]
Flag = Annotated[bool, BeforeValidator(as_flag)]
AsWhole = BeforeValidator(as_whole)
Natural = Annotated[int, Field(ge=0, le=2**63 - 1), AsWhole]
Count = Annotated[int, Field(ge=1, le=2**31 - 1), AsWhole]
AsReal = BeforeValidator(as_real)
AsSeconds = BeforeValidator(as_seconds)
Positive = Annotated[float, Field(gt=0), AsReal]
Seconds = Annotated[float, Field(gt=0), AsSeconds]
AsShare = BeforeValidator(as_share)
Share = Annotated[float, Field(ge=0, le=1), AsShare]
AsExact = BeforeValidator(as_exact)
Quantity = Annotated[float, Field(ge=-1e12, le=1e12), AsReal]
StandardDeviation = Annotated[float, Field(ge=0, le=1e12), AsReal, AfterValidator(not_tiny)]

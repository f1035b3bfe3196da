"""The signals and the instrument of a channel, as a kind of sensor states them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fleet.validation.issues import format_value, schema_violation
from fleet.validation.scalars import AsReal, AsSeconds, FieldError, Quantity, Section, as_real, as_seconds
from worker.readings.signals import (
    MAX_SECONDS,
    MIN_CORRELATION_SECONDS,
    SIGNAL_NAMES,
    Signal,
    SignalParameter,
    signal_class,
)
from worker.spec import Instrument, SignalSpec

MAX_ERROR = 1e12

Error = Annotated[float, Field(ge=0, le=MAX_ERROR), AsReal]
Time = Annotated[float, Field(ge=0, le=MAX_SECONDS), AsSeconds]


def slow_or_white(value: float) -> float:
    """Accept 0, white noise, and the correlation times that a slow signal can have."""
    if 0 < value < MIN_CORRELATION_SECONDS:
        raise ValueError(f"is neither 0 nor at least {MIN_CORRELATION_SECONDS:g} seconds")
    return value


BETWEEN: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": MIN_CORRELATION_SECONDS}
CORRELATION = Field(ge=0, le=MAX_SECONDS, json_schema_extra={"not": BETWEEN})
CorrelationTime = Annotated[float, CORRELATION, AsSeconds, AfterValidator(slow_or_white)]


class InstrumentSection(Section):
    """The errors of the measuring instrument: the largest `offset` and `warm_up` error and the `resolution` in the unit of
    the channel, the largest error of the `gain` as a fraction, times as durations; the `lowest` and the `highest` value that it
    shows."""

    offset: Error = 0.0
    gain: Annotated[float, Field(ge=0, le=1), AsReal] = 0.0
    resolution: Error = 0.0
    response: Time = 0.0
    warm_up: Annotated[float, Field(ge=-MAX_ERROR, le=MAX_ERROR), AsReal] = 0.0
    warm_up_seconds: Time = 0.0
    lowest: Quantity | None = None
    highest: Quantity | None = None

    @model_validator(mode="after")
    def in_order(self) -> InstrumentSection:
        if self.lowest is not None and self.highest is not None and self.lowest > self.highest:
            raise FieldError("lowest", f"{self.lowest:g} is more than highest {self.highest:g}")
        return self

    def instrument(self) -> Instrument:
        return Instrument(**self.model_dump())


def nearest_name(name: str, valid: tuple[str, ...]) -> str:
    """Suggest the valid name that is nearest to an unknown one, or list the valid names."""
    close = difflib.get_close_matches(name, valid, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(valid)}"


def read_signals(value: object) -> object:
    """Convert a mapping of signals to their specs, each with all its parameters. Raises FieldError."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise ValueError("is not a section of signals by their names")
    specs = tuple(read_signal(name, parameters) for name, parameters in value.items())
    total = sum(signal_class(spec.name).variance_share(dict(spec.parameters)) for spec in specs)
    if total > 1 + 1e-9:
        raise ValueError(f"with shares that add up to {total:g} of the variance; at most 1 is allowed")
    return specs


def read_signal(name: str, stated: object) -> SignalSpec:
    if name not in SIGNAL_NAMES:
        raise FieldError(name, f"unknown signal; {nearest_name(name, SIGNAL_NAMES)}")
    declaration = signal_class(name)
    if stated is None:
        stated = {}
    if not isinstance(stated, Mapping):
        raise FieldError(name, f"{format_value(stated)} is not a section of parameters")
    names = tuple(parameter.name for parameter in declaration.parameters)
    for key in stated:
        if key not in names:
            raise FieldError(f"{name}.{key}", f"unknown parameter of {name}; {nearest_name(key, names)}")
    spec = SignalSpec(name, tuple(read_parameters(declaration, stated)))
    contradiction = declaration.contradiction(dict(spec.parameters))
    if contradiction is not None:
        key, reason = contradiction
        raise FieldError(f"{name}.{key}", reason)
    return spec


def read_parameters(declaration: type[Signal], stated: Mapping[str, Any]) -> Iterator[tuple[str, float | str]]:
    for parameter in declaration.parameters:
        value = stated.get(parameter.name)
        value = parameter.default if value is None else value
        path = f"{declaration.name}.{parameter.name}"
        if value is None:
            raise FieldError(path, "is missing")
        try:
            yield parameter.name, read_parameter(parameter, value)
        except ValueError as error:
            raise FieldError(path, f"{format_value(value)} {error}") from None


def read_parameter(parameter: SignalParameter, value: object) -> float | str:
    """Convert and check one value. ValueError with a message that follows the value."""
    if parameter.is_text:
        text = str(value) if isinstance(value, str) else value
        if parameter.choices and text not in parameter.choices:
            raise ValueError(f"is not one of {', '.join(parameter.choices)}")
        if not isinstance(text, str) or not text:
            raise ValueError("is not the name of a channel")
        return text
    number = as_seconds(value) if parameter.unit == "seconds" else as_real(value)
    schema = {"type": "number", "minimum": parameter.minimum, "maximum": parameter.maximum}
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"{schema_violation(value, schema)}{' seconds' * (parameter.unit == 'seconds')}")
    if not parameter.minimum <= number <= parameter.maximum:
        raise ValueError(f"{schema_violation(number, schema)}{' seconds' * (parameter.unit == 'seconds')}")
    return float(number)


Signals = Annotated[tuple[SignalSpec, ...], BeforeValidator(read_signals)]


def followed_channel(signals: tuple[SignalSpec, ...]) -> str | None:
    """Return the name of the channel that a channel with these signals follows."""
    parameters = (dict(spec.parameters) for spec in signals)
    return next((str(each["channel"]) for each in parameters if "channel" in each), None)

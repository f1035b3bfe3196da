"""Rates of readings: exact fractions, written as a number per second, as a whole number per time, or as an interval."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import (
    Field,
    GetPydanticSchema,
    PlainSerializer,
    SerializationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from fleet.durations import exact_duration
from fleet.errors import UserError
from fleet.validation.scalars import NUMBER, AsExact

MIN_RATE, MAX_RATE = Decimal("0.000001"), 100_000
EXACT_MIN_RATE = Fraction(MIN_RATE)
MAX_DECIMALS = 6
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
RATE_FORMS = "a rate such as 10, 0.5, 1/min, 1/5min or every 15m"
EVERY = "every "
RATE_TEXT = re.compile(rf"([0-9]{{1,12}})\s*/\s*([0-9]{{0,12}})\s*({'|'.join(SECONDS)})")


class Rate:
    """Readings per second. `str` writes them as a config may: 0.5, or 1/min or 1/7s where no decimal is exact.

    (It is no subclass of Fraction, which pydantic would turn into text.)
    """

    def __init__(self, exact: Fraction | int) -> None:
        self.exact = Fraction(exact)

    def __float__(self) -> float:
        return float(self.exact)

    def __eq__(self, other: object) -> bool:
        return self.exact == (other.exact if isinstance(other, Rate) else other)

    def __hash__(self) -> int:
        return hash(self.exact)

    def __repr__(self) -> str:
        return f"Rate({self.exact!r})"

    def __str__(self) -> str:
        if self.is_decimal:
            return self.stored_text()
        per = next((unit for unit, seconds in SECONDS.items() if seconds % self.exact.denominator == 0), None)
        return f"{self.exact * SECONDS[per]}/{per}" if per else f"{self.stored_text()}s"

    @property
    def is_decimal(self) -> bool:
        remainder: int = 10**MAX_DECIMALS % self.exact.denominator
        return remainder == 0

    def stored_text(self) -> str:
        """Return the text that a worker's settings have: a decimal, or a fraction such as 1/60."""
        if self.is_decimal:
            return f"{(Decimal(self.exact.numerator) / self.exact.denominator).normalize():f}"
        return str(self.exact)


def as_rate(value: object, check: ValidatorFunctionWrapHandler) -> Rate:
    """Convert a number, or a text such as 1/min, 1/7s or every 15m."""
    if isinstance(value, Rate):
        return value
    rate = rate_of_text(value) if isinstance(value, str) else None
    if rate is None:
        if isinstance(value, str) and not NUMBER.match(value.strip()):
            raise ValueError(f"is not {RATE_FORMS}")
        return Rate(Fraction(check(value)))
    if not EXACT_MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"is not between {MIN_RATE} and {MAX_RATE} a second")
    return Rate(rate)


def rate_of_text(text: str) -> Fraction | None:
    """Return the exact rate of a text such as 1/min, 1/7s or every 1h30m, None for any other text, such as a number.

    ValueError for an interval that is not a whole number of microseconds.
    """
    text = text.strip()
    if text.startswith(EVERY):
        try:
            interval_us = exact_duration(text.removeprefix(EVERY), "") * 1_000_000
        except UserError:
            return None
        if interval_us.denominator != 1:
            raise ValueError("is not a whole number of microseconds")
        return 1_000_000 / interval_us
    found = RATE_TEXT.fullmatch(text)
    if found is None:
        return None
    seconds = int(found[2] or 1) * SECONDS[found[3]]
    return Fraction(int(found[1]), seconds) if seconds else Fraction(0)


def plain_rate(value: Rate, info: SerializationInfo) -> Rate | float:
    return float(value) if info.mode == "json" else value


DECIMAL_RATE = Annotated[
    Decimal,
    Field(ge=MIN_RATE, le=MAX_RATE, max_digits=12, decimal_places=MAX_DECIMALS),
    WithJsonSchema({"type": "number", "minimum": float(MIN_RATE), "maximum": MAX_RATE}),
    PlainSerializer(plain_rate, return_type=Any),
    AsExact,
    WrapValidator(as_rate),
]
AsRate = GetPydanticSchema(lambda _, handler: handler.generate_schema(DECIMAL_RATE))
ReadingsPerSecond = Annotated[Rate, AsRate]

"""The conversions of values in a record: units, forms of a time, truth values; each forwards and backwards.

To add a unit: its line in UNITS. A unit converts to the others of its quantity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple, Protocol

MAX_DECIMALS = 12
"""Decimal places of a value before its conversion; a channel has at most nine."""

MAX_CACHED_VALUES = 8192

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CANONICAL_LENGTH, CANONICAL_OFFSET = 32, "+00:00"
"""Of a timestamp as a fleet writes it, such as 2026-01-01T00:00:00.000000+00:00."""


class Conversion(Protocol):
    """A conversion of one value other than None. `resolution` is what it cuts off, in nanoseconds of a time; 0: nothing."""

    @property
    def resolution(self) -> int: ...

    def forward(self, value: object) -> object:
        """Return the value in a record. ValueError for one that cannot be converted."""
        ...

    def backward(self, value: object) -> object:
        """Return the value that `forward` converts to `value`; any other value unchanged."""
        ...


class Unit(NamedTuple):
    """A unit: a value in it, times `factor` plus `offset`, is one in the first unit of its `quantity`."""

    quantity: str
    factor: Fraction
    offset: Fraction = Fraction(0)


def unit(quantity: str, factor: str = "1", offset: str = "0") -> Unit:
    return Unit(quantity, Fraction(factor), Fraction(offset))


POUND_FORCE_PASCAL = Fraction("4.4482216152605") / Fraction("0.00064516")
UNITS: Mapping[str, Unit] = {
    "K": unit("temperature"),
    "C": unit("temperature", "1", "273.15"),
    "F": Unit("temperature", Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
    "Pa": unit("pressure"),
    "hPa": unit("pressure", "100"),
    "mbar": unit("pressure", "100"),
    "kPa": unit("pressure", "1000"),
    "bar": unit("pressure", "100000"),
    "psi": Unit("pressure", POUND_FORCE_PASCAL),
    "m/s": unit("speed"),
    "mm/s": unit("speed", "1/1000"),
    "km/h": unit("speed", "1000/3600"),
    "mph": Unit("speed", Fraction("1609.344") / 3600),
    "in/s": unit("speed", "0.0254"),
    "m/s2": unit("acceleration"),
    "mm/s2": unit("acceleration", "1/1000"),
    "g": unit("acceleration", "9.80665"),
    "m": unit("length"),
    "mm": unit("length", "1/1000"),
    "km": unit("length", "1000"),
    "ft": unit("length", "0.3048"),
    "mi": unit("length", "1609.344"),
    "V": unit("voltage"),
    "mV": unit("voltage", "1/1000"),
    "kV": unit("voltage", "1000"),
    "W": unit("power"),
    "kW": unit("power", "1000"),
    "MW": unit("power", "1000000"),
    "1": unit("share"),
    "%": unit("share", "1/100"),
    "ppm": unit("share", "1/1000000"),
    "ppb": unit("share", "1/1000000000"),
    "l/min": unit("flow"),
    "m3/h": unit("flow", "1000/60"),
    "gpm": unit("flow", "3.785411784"),
    "bbl/d": Unit("flow", Fraction("158.987294928") / 1440),
    "bbl/hr": Unit("flow", Fraction("158.987294928") / 60),
}
UNIT_ALIASES = {"°C": "C", "celsius": "C", "°F": "F", "fahrenheit": "F", "mm/s²": "mm/s2", "m/s²": "m/s2"}


def canonical_unit(name: str) -> str:
    return UNIT_ALIASES.get(name, name)


class UnitConversion:
    """The conversion of a number from one unit to another: exactly, and then rounded to the nearest number."""

    resolution = 0

    def __init__(self, from_unit: str, to_unit: str) -> None:
        """Both are keys of UNITS or UNIT_ALIASES, of one quantity."""
        one, other = (UNITS[canonical_unit(name)] for name in (from_unit, to_unit))
        self._factor = decimal(one.factor / other.factor)
        self._offset = decimal((one.offset - other.offset) / other.factor)
        self._decimals = 2
        # A channel has few distinct values, and a batch is checked before it is converted.
        self._forward = lru_cache(maxsize=MAX_CACHED_VALUES, typed=True)(self._convert)

    def forward(self, value: object) -> float:
        return self._forward(value)

    def _convert(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number, and has no unit")
        return float(Decimal(repr(value)) * self._factor + self._offset)

    def backward(self, value: object) -> object:
        """Return the shortest number whose forward value is `value`, or the nearest one if there is none."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        nearest = (Decimal(repr(value)) - self._offset) / self._factor
        # Most values of a channel have as many decimal places as the one before.
        for decimals in (self._decimals, *range(MAX_DECIMALS + 1)):
            found = float(round(nearest, decimals))
            if self.forward(found) == value:
                self._decimals = decimals
                return found
        return float(nearest)


def decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def units_of(quantity: str) -> list[str]:
    return [name for name, each in UNITS.items() if each.quantity == quantity]


@dataclass(frozen=True, slots=True)
class TextTime:
    """A time as text in UTC with some decimal places of a second, cut off."""

    decimals: int

    @property
    def resolution(self) -> int:
        return int(10 ** (9 - self.decimals))

    def forward(self, value: object) -> str:
        text = str(value)
        if len(text) != CANONICAL_LENGTH or text[10] != "T" or not text.endswith(CANONICAL_OFFSET):
            text = canonical_time(microseconds(value))
        end = 20 + self.decimals if self.decimals else 19
        return f"{text[:26]:0<{end}}"[:end] + "Z"

    def backward(self, value: object) -> object:
        return as_timestamp(value, 1)


@dataclass(frozen=True, slots=True)
class NumberTime:
    """A time as a whole number of a unit of `resolution` nanoseconds since 1970, cut off."""

    resolution: int

    def forward(self, value: object) -> int:
        return microseconds(value) * 1000 // self.resolution

    def backward(self, value: object) -> object:
        return as_timestamp(value, self.resolution)


TIME_FORMS: Mapping[str, Conversion] = {
    "iso_s": TextTime(0),
    "iso_ms": TextTime(3),
    "iso_us": TextTime(6),
    "iso_ns": TextTime(9),
    "epoch_s": NumberTime(10**9),
    "epoch_ms": NumberTime(10**6),
    "epoch_us": NumberTime(10**3),
    "epoch_ns": NumberTime(1),
}
"""The forms of `timestamp`."""


@lru_cache(maxsize=MAX_CACHED_VALUES)
def microseconds(value: object) -> int:
    """Return a timestamp in microseconds since 1970; ValueError if it is none. Without an offset it is taken as UTC."""
    try:
        time = datetime.fromisoformat(str(value))
        return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - UNIX_EPOCH) // timedelta.resolution
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no time") from None


def canonical_time(time_us: int) -> str:
    return (UNIX_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds")


def as_timestamp(value: object, nanoseconds: int) -> object:
    """Return a time as a fleet writes it: that of a text, or of a number of a unit. Any other value unchanged."""
    try:
        if isinstance(value, str):
            return canonical_time(microseconds(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return canonical_time(int(Decimal(repr(value)) * nanoseconds / 1000))
    except (ValueError, OverflowError):
        return value
    return value


class TruthValue:
    """A number as false (0) or true."""

    resolution = 0

    def forward(self, value: object) -> bool:
        return bool(value)

    def backward(self, value: object) -> object:
        return int(value) if isinstance(value, bool) else value


BOOLEAN = TruthValue()


@cache
def unit_conversion(from_unit: str, to_unit: str) -> UnitConversion:
    return UnitConversion(from_unit, to_unit)

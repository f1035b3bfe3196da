"""Columns of values that came as JSON: whether each is of the kind that the central table has there.

What can be converted without loss is. To add a column with a kind: its name in `fleet.central.schema`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleet.central.schema import REALS, TEXTS, WHOLES
from fleet.collection.batch import Value
from fleet.collection.history import EPISODE, EPOCH
from fleet.quotes import spelled

NONE = type(None)
LEAST, MOST = -(2**63), 2**63 - 1
"""What SQLite takes for an integer."""

MOST_WRONG = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """`regular` tells quickly, for a whole column, that no value needs a look; `convert` looks at one that is there, and
    raises ValueError."""

    regular: Callable[[list[Any]], bool]
    convert: Callable[[Any], Value]


def checked(name: str, values: list[Any], *, known: bool = True) -> tuple[list[Value], dict[int, str]]:
    """The values as the column has them, and by place what is wrong with those that it cannot have; after MOST_WRONG nobody
    looks any further. A column that is not `known` may have anything."""
    kind = KINDS.get(name, ANYTHING) if known else ANYTHING
    required = name in REQUIRED
    if kind.regular(values) and not (required and (None in values or "" in values)):
        return values, {}
    result, wrong = list[Value](values), dict[int, str]()
    for place, value in enumerate(values):
        try:
            result[place] = one(name, kind, value, required)
        except ValueError as error:
            wrong[place] = str(error)
            if len(wrong) > MOST_WRONG:
                break
    return result, wrong


def taken(name: str, value: object) -> Value:
    """A value of an episode or of an epoch, of which only `channel` may be missing. Raises ValueError."""
    return one(name, HISTORY[name], value, name != "channel")


def one(name: str, kind: Kind, value: object, required: bool) -> Value:
    if value is None and not required:
        return None
    if required and value in (None, ""):
        raise ValueError(f"{name}: is missing")
    try:
        return kind.convert(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def regular_reals(values: list[Any]) -> bool:
    return {float, NONE}.issuperset(map(type, values))


def real(value: object) -> float:
    if type(value) in (float, int):
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.nan
        if number == value:
            return number
    raise ValueError(f"{spelled(value)} is no real number")


def regular_wholes(values: list[Any]) -> bool:
    if not {int, NONE}.issuperset(map(type, values)):
        return False
    return max(filter(None, values), default=0) <= MOST and min(filter(None, values), default=0) >= LEAST


def whole(value: object) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        number = int(value)
        if LEAST <= number <= MOST:
            return number
    raise ValueError(f"{spelled(value)} is no whole number of 64 bits")


def regular_texts(values: list[Any]) -> bool:
    return {str, NONE}.issuperset(map(type, values))


def text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{spelled(value)} is no text")


def regular_anything(values: list[Any]) -> bool:
    return {str, int, bool, NONE}.issuperset(map(type, values))


def anything(value: object) -> Value:
    """Lists, objects, and what JSON has no number for are kept as text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, str | int) else None


REAL = Kind(regular_reals, real)
WHOLE = Kind(regular_wholes, whole)
TEXT = Kind(regular_texts, text)
ANYTHING = Kind(regular_anything, anything)

REQUIRED = ("timestamp", "sensor_id")
"""The numbers that a reading needs are another matter: one may stand for the other."""

KINDS = {**dict.fromkeys(REALS, REAL), **dict.fromkeys((*WHOLES, "id"), WHOLE), **dict.fromkeys(TEXTS, TEXT)}
WHOLES_OF_HISTORY = ("first_seq", "last_seq", "start_us", "run")
HISTORY = {name: WHOLE if name in WHOLES_OF_HISTORY else TEXT for name in (*EPISODE, *EPOCH)}

"""Columns of values that came as JSON: whether each is of the kind that the central table has there.

What can be converted without loss is. To add a column with a kind: its name in `fleet.delivery.columns`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleet.delivery.batch import Value
from fleet.delivery.columns import INTEGER_COLUMNS, REAL_COLUMNS, TEXT_COLUMNS
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.escaping import repr_short

NONE_TYPE = type(None)
MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
"""What SQLite takes for an integer."""

MAX_REJECTED_READINGS = 10_000


@dataclass(frozen=True, slots=True)
class JsonColumnType:
    """`accepts` tells quickly, for a whole column, that no value needs a look; `convert` looks at one that is there, and
    raises ValueError."""

    accepts: Callable[[list[Any]], bool]
    convert: Callable[[Any], Value]


def convert_json_column(name: str, values: list[Any], *, known: bool = True) -> tuple[list[Value], dict[int, str]]:
    """The values as the column has them, and by place what is wrong with those that it cannot have; after MAX_REJECTED_READINGS nobody
    looks any further. A column that is not `known` may have anything."""
    kind = JSON_COLUMN_TYPES.get(name, ANYTHING) if known else ANYTHING
    required = name in REQUIRED_JSON_COLUMNS
    if kind.accepts(values) and not (required and (None in values or "" in values)):
        return values, {}
    result, wrong = list[Value](values), dict[int, str]()
    for place, value in enumerate(values):
        try:
            result[place] = convert_value(name, kind, value, required)
        except ValueError as error:
            wrong[place] = str(error)
            if len(wrong) > MAX_REJECTED_READINGS:
                break
    return result, wrong


def convert_history_value(name: str, value: object) -> Value:
    """A value of an episode or of an epoch, of which only `channel` may be missing. Raises ValueError."""
    return convert_value(name, HISTORY_COLUMN_TYPES[name], value, name != "channel")


def convert_value(name: str, kind: JsonColumnType, value: object, required: bool) -> Value:
    if value is None and not required:
        return None
    if required and value in (None, ""):
        raise ValueError(f"{name}: is missing")
    try:
        return kind.convert(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def all_reals(values: list[Any]) -> bool:
    return {float, NONE_TYPE}.issuperset(map(type, values))


def to_real(value: object) -> float:
    if type(value) in (float, int):
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.nan
        if number == value:
            return number
    raise ValueError(f"{repr_short(value)} is no real number")


def all_integers(values: list[Any]) -> bool:
    if not {int, NONE_TYPE}.issuperset(map(type, values)):
        return False
    return max(filter(None, values), default=0) <= MAX_INT64 and min(filter(None, values), default=0) >= MIN_INT64


def to_integer(value: object) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        number = int(value)
        if MIN_INT64 <= number <= MAX_INT64:
            return number
    raise ValueError(f"{repr_short(value)} is no whole number of 64 bits")


def all_texts(values: list[Any]) -> bool:
    return {str, NONE_TYPE}.issuperset(map(type, values))


def to_text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{repr_short(value)} is no text")


def all_scalars(values: list[Any]) -> bool:
    return {str, int, bool, NONE_TYPE}.issuperset(map(type, values))


def to_scalar(value: object) -> Value:
    """Lists, objects, and what JSON has no number for are kept as text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, str | int) else None


REAL = JsonColumnType(all_reals, to_real)
WHOLE = JsonColumnType(all_integers, to_integer)
TEXT = JsonColumnType(all_texts, to_text)
ANYTHING = JsonColumnType(all_scalars, to_scalar)

REQUIRED_JSON_COLUMNS = ("timestamp", "sensor_id")
"""The numbers that a reading needs are another matter: one may stand for the other."""

JSON_COLUMN_TYPES = {
    **dict.fromkeys(REAL_COLUMNS, REAL),
    **dict.fromkeys((*INTEGER_COLUMNS, "id"), WHOLE),
    **dict.fromkeys(TEXT_COLUMNS, TEXT),
}
HISTORY_INTEGER_COLUMNS = ("first_seq", "last_seq", "start_us", "run")
HISTORY_COLUMN_TYPES = {
    name: WHOLE if name in HISTORY_INTEGER_COLUMNS else TEXT for name in (*EPISODE_COLUMNS, *EPOCH_COLUMNS)
}

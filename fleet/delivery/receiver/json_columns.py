"""The types of columns for values that came as JSON. They convert only without loss, and no text to a number.

To add a column: its type in `fleet.delivery.columns`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fleet.delivery.batch import Value
from fleet.delivery.columns import (
    INTEGER_COLUMNS,
    NONE_TYPE,
    REAL_COLUMNS,
    REQUIRED_COLUMNS,
    TEXT_COLUMNS,
    ColumnType,
    are_integers,
    are_reals,
    are_texts,
    convert_column,
    convert_value,
)
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.escaping import repr_short
from worker.spec import ColumnType as FurtherType

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
"""The integers that SQLite can store."""

MISSING_VALUES = (None, "")
"""The values that count as missing in a required column."""

MAX_REJECTED_READINGS = 10_000


def convert_json_column(
    name: str, values: Sequence[Any], further: Mapping[str, FurtherType], *, known: bool
) -> tuple[Sequence[Value], dict[int, str]]:
    """Convert the values of a column; returns them, and the errors by index. Stops after MAX_REJECTED_READINGS errors.

    `further` has the types of columns that the sender declares. A column that is not `known` may hold anything. Of the required columns only timestamp and sensor_id are checked here:
    of id and seq, one may stand for the other.
    """
    column_type = TYPE_BY_DECLARATION[further[name]] if name in further else JSON_TYPES.get(name, SCALAR)
    if not known:
        column_type = SCALAR
    missing = MISSING_VALUES if name in REQUIRED_COLUMNS else ()
    result, errors = convert_column(values, column_type, missing=missing, max_errors=MAX_REJECTED_READINGS)
    return result, {index: f"{name}: {error}" for index, error in errors.items()}


def convert_history_value(name: str, value: Any) -> Value:
    """Convert a value of an episode or epoch, in which only `channel` may be missing. Raises ValueError."""
    try:
        return convert_value(value, HISTORY_TYPES[name], () if name == "channel" else MISSING_VALUES)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def to_real(value: object) -> float:
    if type(value) in (float, int):
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.nan
        if number == value:
            return number
    raise ValueError(f"{repr_short(value)} is no real number")


def are_int64(values: Sequence[Any]) -> bool:
    if not are_integers(values):
        return False
    return max(filter(None, values), default=0) <= MAX_INT64 and min(filter(None, values), default=0) >= MIN_INT64


def to_int64(value: object) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        number = int(value)
        if MIN_INT64 <= number <= MAX_INT64:
            return number
    raise ValueError(f"{repr_short(value)} is no whole number of 64 bits")


def to_text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{repr_short(value)} is no text")


def are_scalars(values: Sequence[Any]) -> bool:
    return {str, int, bool, NONE_TYPE}.issuperset(map(type, values))


def to_scalar(value: object) -> Value:
    """The value itself; lists, objects and non-finite numbers as text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, str | int) else None


REAL = ColumnType(are_reals, to_real)
INT64 = ColumnType(are_int64, to_int64)
TEXT = ColumnType(are_texts, to_text)
SCALAR = ColumnType(are_scalars, to_scalar)

TYPE_BY_DECLARATION: dict[FurtherType, ColumnType] = {"REAL": REAL, "INTEGER": INT64, "TEXT": TEXT}

JSON_TYPES = {
    **dict.fromkeys(REAL_COLUMNS, REAL),
    **dict.fromkeys((*INTEGER_COLUMNS, "id"), INT64),
    **dict.fromkeys(TEXT_COLUMNS, TEXT),
}
HISTORY_INTEGER_COLUMNS = ("first_seq", "last_seq", "start_us", "run")
HISTORY_TYPES = {
    name: INT64 if name in HISTORY_INTEGER_COLUMNS else TEXT for name in (*EPISODE_COLUMNS, *EPOCH_COLUMNS)
}

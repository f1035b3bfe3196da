"""The readings of a batch by column, each value of the type that its column has in a store that keeps to types.

SQLite takes text in a REAL column and a float in an INTEGER one, and other simulators' databases may have such rows. What
means the same in the type of its column is converted; a reading with a value that cannot be is rejected with the reason, and the others go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress

from fleet.delivery.batch import Batch, Row, Value
from fleet.delivery.columns import DELIVERED_COLUMNS, INTEGER_COLUMNS, REAL_COLUMNS, TEXT_COLUMNS
from fleet.escaping import repr_short

SOURCE_ONLY_COLUMNS = {"id": "source_id", "synced": None}
"""Columns of a source that say nothing of the reading: where the row lies, and whether it was fetched; and what becomes
of them in the central tables."""

CENTRAL_COLUMNS = (*DELIVERED_COLUMNS, "source_id", "extra")
"""What differs from row to row in the central tables."""

NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,2})?", re.ASCII)
"""A number as text, as it may stand in a column that has no type."""

REQUIRED_COLUMNS = ("timestamp", "sensor_id")


@dataclass(frozen=True, slots=True)
class TypedReadings:
    """`columns` has one value per reading for every one of CENTRAL_COLUMNS: float for REAL_COLUMNS, int for INTEGER_COLUMNS, str for TEXT_COLUMNS, or
    None. `rejected` are those that are not among them, by id, with the reason."""

    columns: dict[str, Sequence[Value]]
    rejected: dict[int, str]

    def __len__(self) -> int:
        return len(self.columns["source_id"])


def typed_readings(batch: Batch, *, nul: bool) -> TypedReadings:
    """`nul` says whether the store can keep the character NUL in a text."""
    columns = values_by_column(batch)
    reasons: dict[int, str] = {}
    for name in CENTRAL_COLUMNS:
        columns[name], wrong = convert_column(name, columns[name], nul)
        for place, reason in wrong.items():
            reasons.setdefault(place, f"{name}: {reason}")
    if reasons:
        good = [place not in reasons for place in range(len(batch.rows))]
        columns = {name: tuple(compress(values, good)) for name, values in columns.items()}
    return TypedReadings(columns, {batch.ids[place]: reason for place, reason in reasons.items()})


def values_by_column(batch: Batch) -> dict[str, Sequence[Value]]:
    """The values as they come, by column of the central tables."""
    count, names = len(batch.rows), batch.source.columns
    given = dict(zip(names, zip(*batch.rows, strict=True), strict=True)) if batch.rows else {}
    # Where the row id stands for seq, a column of that name is something else.
    known = {name for name in DELIVERED_COLUMNS if name != "seq" or not batch.source.foreign}
    rest = [(name, place) for place, name in enumerate(names) if name not in known and name not in SOURCE_ONLY_COLUMNS]
    absent = (None,) * count
    columns: dict[str, Sequence[Value]] = {name: given.get(name, absent) for name in DELIVERED_COLUMNS}
    columns["seq"], columns["source_id"] = batch.key_numbers, batch.ids
    columns["extra"] = [extra_json(row, rest) for row in batch.rows] if rest else absent
    return columns


def extra_json(row: Row, rest: list[tuple[str, int]]) -> str | None:
    """As JSON what the central table has no column for."""
    found = {name: json_value(row[place]) for name, place in rest if row[place] is not None}
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else None


def json_value(value: Value) -> Value:
    """As JSON can say it."""
    return value.hex() if isinstance(value, bytes) else value


def convert_column(name: str, values: Sequence[Value], nul: bool) -> tuple[Sequence[Value], dict[int, str]]:
    """The values of a column in its type, and by place what is wrong with those that cannot be had in it."""
    if needs_no_conversion(name, values, nul):
        return values, {}
    convert = COLUMN_TYPES[name][1]
    result, wrong = list(values), dict[int, str]()
    for place, value in enumerate(values):
        try:
            if value is None and name in REQUIRED_COLUMNS:
                raise ValueError("is missing")
            result[place] = None if value is None else convert(value, nul)
        except ValueError as error:
            wrong[place] = str(error)
    return result, wrong


def converted_or_same(name: str, value: Value) -> Value:
    """A value as it stands in a central table's column; one that cannot stand there, and any of another column, as it is."""
    if value is None or name not in COLUMN_TYPES:
        return value
    try:
        return COLUMN_TYPES[name][1](value, True)
    except ValueError:
        return value


def needs_no_conversion(name: str, values: Sequence[Value], nul: bool) -> bool:
    """Whether nothing is to be converted or rejected, which is the rule; found out without a look at each value."""
    kind = COLUMN_TYPES[name][0]
    if not set(map(type, values)) <= {kind, type(None)} or (name in REQUIRED_COLUMNS and None in values):
        return False
    # Texts repeat: of most columns there are few different ones.
    return kind is not str or text_error("".join(str(text) for text in set(values) if text is not None), nul) is None


def to_real(value: Value, _nul: bool) -> float:
    if isinstance(value, float) or (isinstance(value, int) and int(float(value)) == value):
        return float(value)
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    raise ValueError(f"{repr_short(value)} is no real number")


def to_integer(value: Value, _nul: bool) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**63):
        return int(value)
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return to_integer(float(value) if set(value) & set(".eE") else int(value), _nul)
    raise ValueError(f"{repr_short(value)} is no whole number")


def to_text(value: Value, nul: bool) -> str:
    if isinstance(value, int | float):
        return str(value)
    wrong = text_error(value, nul) if isinstance(value, str) else f"{repr_short(value)} is no text"
    if wrong is not None:
        raise ValueError(wrong)
    return str(value)


def text_error(value: str, nul: bool) -> str | None:
    """Why a text cannot be stored."""
    if not nul and "\0" in value:
        return f"{repr_short(value)} has the character NUL in it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{repr_short(value)} is not Unicode"
    return None


COLUMN_TYPES: dict[str, tuple[type, Callable[[Value, bool], Value]]] = {
    **dict.fromkeys(REAL_COLUMNS, (float, to_real)),
    **dict.fromkeys((*INTEGER_COLUMNS, "source_id"), (int, to_integer)),
    **dict.fromkeys((*TEXT_COLUMNS, "extra"), (str, to_text)),
}

"""A batch as the JSON that is posted: `{"readings": [...], "source_db": ...}`, and what JSON has no words for.

The text is put together here, column by column, because json.dumps() of the documents takes more than twice as long for a
thousand readings of thirty columns: it says each column's name, and what a sensor is, every time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from json.encoder import encode_basestring_ascii as text
from typing import Any, NamedTuple

from fleet.collection.batch import Batch, Table, Value
from fleet.collection.target import Indigestible

SAID: Mapping[type, Callable[[Any], str]] = {
    str: text,
    int: int.__repr__,
    float: float.__repr__,
    type(None): {None: "null"}.__getitem__,
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """`batch`: the readings that are in `body`. `refused`: the ids of those that could not be, each with the reason."""

    batch: Batch
    body: bytes
    refused: Mapping[int, str]


class Column(NamedTuple):
    """The values of a column, row by row, and their types."""

    name: str
    values: tuple[Any, ...]
    kinds: frozenset[type]


def packed(batch: Batch) -> Parcel:
    """Indigestible if an episode or an epoch cannot be said in JSON; a reading that cannot is refused by itself."""
    columns = transposed(batch)
    refused = unsayable(batch, columns)
    if refused:
        batch = without(batch, refused)
        columns = transposed(batch)
    parts = ['{"readings":[', readings(batch, columns), '],"source_db":', text(batch.source.name)]
    for name, table in (("episodes", batch.episodes), ("epochs", batch.epochs)):
        if table.rows:
            parts.append(f',"{name}":{said(name, table, batch)}')
    return Parcel(batch, "".join([*parts, "}"]).encode("ascii"), refused)


def transposed(batch: Batch) -> list[Column]:
    columns = zip(batch.source.columns, zip(*batch.rows, strict=True), strict=False)  # of no rows there are no columns
    return [Column(name, values, frozenset(map(type, values))) for name, values in columns]


def readings(batch: Batch, columns: list[Column]) -> str:
    """What Batch.documents() has, as JSON, with commas in between.

    It is one join of pieces that stay the same and pieces that change from row to row, which never leaves C.
    """
    if not batch.rows:
        return ""
    pieces: list[Iterable[str]] = []
    frame = ",{"
    for name, values, kinds in [*columns, Column("key", tuple(batch.keys()), frozenset({str}))]:
        frame += text(name) + ":"
        # Only of text: 1 equals 1.0 and 0.0 equals -0.0, which are not said alike.
        if kinds == {str} and len(set(values)) == 1:
            frame += text(values[0]) + ","
        else:
            pieces += [repeat(frame), texts(values, kinds)]
            frame = ","
    pieces.append(repeat(frame + '"generation":' + text(batch.source.key) + "}", len(batch.rows)))
    return "".join(chain.from_iterable(zip(*pieces, strict=False)))[1:]  # repeat() has no end


def texts(values: Iterable[Value], kinds: frozenset[type]) -> Iterable[str]:
    if len(kinds) == 1:
        return map(SAID[next(iter(kinds))], values)
    return [SAID[type(value)](value) for value in values]


def unsayable(batch: Batch, columns: list[Column]) -> dict[int, str]:
    """The ids of readings that have a value which JSON has no word for, and what that is."""
    found: dict[int, str] = {}
    for name, values, kinds in columns:
        if kinds == {float} and math.isfinite(sum(values)):
            continue
        if kinds & {float, bytes}:
            found |= {
                number: why for number, value in zip(batch.ids, values, strict=True) if (why := unsaid(name, value))
            }
    return found


def unsaid(name: str, value: Value) -> str | None:
    if isinstance(value, bytes):
        return f"{name} is {len(value)} bytes of binary data, for which JSON has no word"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} is {value}, for which JSON has no word"
    return None


def said(name: str, table: Table, batch: Batch) -> str:
    documents = [{**document, "generation": batch.source.key} for document in table.documents()]
    try:
        return json.dumps(documents, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise Indigestible(f"{batch.source.name}: JSON has no word for a value among its {name}: {error}") from error


def without(batch: Batch, ids: Mapping[int, str]) -> Batch:
    rows = tuple(row for number, row in zip(batch.ids, batch.rows, strict=True) if number not in ids)
    return Batch(batch.source, rows, batch.episodes, batch.epochs)

"""A batch as the JSON that is posted: `{"readings": [...], "source_db": ...}`, and what JSON has no words for.

The text is put together here because json.dumps() of a thousand readings of thirty columns takes three times as long:
it encodes every column's name again in each of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as text
from typing import Any

from fleet.collection.batch import Batch, Table, Value
from fleet.collection.target import Indigestible


class Unsayable(ValueError):
    """JSON has no such value."""


def real(value: float) -> str:
    if not math.isfinite(value):
        raise Unsayable(str(value))
    return float.__repr__(value)


def blob(value: bytes) -> str:
    raise Unsayable(f"{len(value)} bytes of binary data")


SAID: Mapping[type, Callable[[Any], str]] = {
    str: text,
    int: int.__repr__,
    float: real,
    bytes: blob,
    type(None): {None: "null"}.__getitem__,
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """`batch`: the readings that are in `body`. `refused`: the ids of those that could not be, each with the reason."""

    batch: Batch
    body: bytes
    refused: Mapping[int, str]


def packed(batch: Batch) -> Parcel:
    """Indigestible if an episode or an epoch cannot be said in JSON; a reading that cannot is refused by itself."""
    names = (*batch.source.columns, "generation", "key")
    frame = "{" + ",".join(text(name).replace("%", "%%") + ":%s" for name in names) + "}"
    generation = text(batch.source.key)
    readings, refused = [], dict[int, str]()
    for number, row, key in zip(batch.ids, batch.rows, batch.keys(), strict=True):
        try:
            readings.append(frame % (*[SAID[type(value)](value) for value in row], generation, text(key)))
        except Unsayable:
            refused[number] = unsaid(dict(zip(batch.source.columns, row, strict=True)))
    parts = ['"readings":[' + ",".join(readings) + "]", '"source_db":' + text(batch.source.name)]
    parts += [
        f'"{name}":{said(name, table, batch)}'
        for name, table in (("episodes", batch.episodes), ("epochs", batch.epochs))
        if table.rows
    ]
    body = ("{" + ",".join(parts) + "}").encode("ascii")
    return Parcel(without(batch, refused) if refused else batch, body, refused)


def said(name: str, table: Table, batch: Batch) -> str:
    documents = [{**document, "generation": batch.source.key} for document in table.documents()]
    try:
        return json.dumps(documents, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise Indigestible(f"{batch.source.name}: JSON has no word for a value among its {name}: {error}") from error


def unsaid(reading: Mapping[str, Value]) -> str:
    """What of a reading it is that cannot be said."""
    for column, value in reading.items():
        try:
            SAID[type(value)](value)
        except Unsayable as error:
            return f"{column} is {error}, for which JSON has no word"
    raise ValueError("all of it can be said")


def without(batch: Batch, ids: Mapping[int, str]) -> Batch:
    rows = tuple(row for number, row in zip(batch.ids, batch.rows, strict=True) if number not in ids)
    return Batch(batch.source, rows, batch.episodes, batch.epochs)

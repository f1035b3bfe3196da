"""A batch as the JSON that is posted: `{"readings": [...], "source_db": ...}`, and what JSON has no words for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from fleet.delivery.batch import Batch, TableRows, Value
from fleet.delivery.target import BatchRejected


@dataclass(frozen=True, slots=True)
class Payload:
    """`batch`: the readings that are in `body`. `refused`: the ids of those that could not be, each with the reason."""

    batch: Batch
    body: bytes
    refused: Mapping[int, str]


def build_payload(batch: Batch) -> Payload:
    """BatchRejected if an episode or an epoch cannot be said in JSON; a reading that cannot is refused by itself."""
    refused = unserializable(batch)
    if refused:
        batch = without_readings(batch, refused)
    body: dict[str, object] = {"readings": batch.documents(), "source_db": batch.source.name}
    for name, table in (("episodes", batch.episodes), ("epochs", batch.epochs)):
        if table.rows:
            body[name] = history_documents(name, table, batch)
    return Payload(batch, dump_json(body), refused)


def dump_json(document: object) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # half of a pair of surrogates, which JSON can say all the same
        return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii")


def unserializable(batch: Batch) -> dict[int, str]:
    """The ids of readings that have a value which JSON has no word for, and what that is."""
    found: dict[int, str] = {}
    # Of no rows there are no columns.
    for name, values in zip(batch.source.columns, zip(*batch.rows, strict=True), strict=False):
        kinds = set(map(type, values))
        if kinds == {float} and math.isfinite(sum(values)):
            continue
        if kinds & {float, bytes}:
            found |= {
                number: why
                for number, value in zip(batch.ids, values, strict=True)
                if (why := unserializable_reason(name, value))
            }
    return found


def unserializable_reason(name: str, value: Value) -> str | None:
    if isinstance(value, bytes):
        return f"{name} is {len(value)} bytes of binary data, for which JSON has no word"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} is {value}, for which JSON has no word"
    return None


def history_documents(name: str, table: TableRows, batch: Batch) -> list[dict[str, Value]]:
    for row in table.rows:
        for column, value in zip(table.columns, row, strict=True):
            if reason := unserializable_reason(column, value):
                raise BatchRejected(f"{batch.source.name}: JSON has no word for a value among its {name}: {reason}")
    return [{**document, "generation": batch.source.key} for document in table.documents()]


def without_readings(batch: Batch, ids: Mapping[int, str]) -> Batch:
    rows = tuple(row for number, row in zip(batch.ids, batch.rows, strict=True) if number not in ids)
    return Batch(batch.source, rows, batch.episodes, batch.epochs)

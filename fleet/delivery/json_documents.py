"""Readings, episodes and epochs as JSON, and what JSON cannot represent of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import orjson

from fleet.delivery.batch import Batch, TableRows, Value
from fleet.delivery.target import BatchRejected


def dump_json(document: object) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # a lone surrogate, which JSON can escape
        return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii")


def unserializable(batch: Batch) -> dict[int, str]:
    """The readings without a number, or with a value that JSON cannot represent, by id, with the reason."""
    reasons: dict[int, str] = {}
    for number, seq in zip(batch.ids, batch.key_numbers, strict=True):
        if seq is None:
            reasons[number] = "seq: is missing"
    # Without rows there are no columns.
    for name, values in zip(batch.source.columns, zip(*batch.rows, strict=True), strict=False):
        kinds = set(map(type, values))
        if kinds == {float} and math.isfinite(sum(values)):
            continue
        if kinds & {float, bytes}:
            reasons |= {
                number: reason
                for number, value in zip(batch.ids, values, strict=True)
                if (reason := unserializable_reason(name, value))
            }
    return reasons


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
    """Return the batch without the readings of some ids; it settles the same."""
    rows = tuple(row for number, row in zip(batch.ids, batch.rows, strict=True) if number not in ids)
    return replace(batch, rows=rows)

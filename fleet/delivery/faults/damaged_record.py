"""A record in which some readings are damaged: one number is a text, or the record ends too early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from fleet.delivery.batch import Batch, Value
from fleet.delivery.compare.delivered import UNKNOWN_TIME_US, unix_microseconds
from fleet.delivery.faults.plan import Fault, FaultPlan
from fleet.delivery.json_documents import dump_json
from fleet.delivery.records.record import Document, Record

REPLACEMENT = "�"
"""In the place of a decimal point: the character that stands for bytes that are no text."""


def planned_faults(plan: FaultPlan, batch: Batch) -> list[Fault | None]:
    """Return the fault of each reading of a batch."""
    columns = batch.source.columns
    sensor, time = columns.index("sensor_id"), columns.index("timestamp")
    faults = []
    for row, seq in zip(batch.rows, batch.key_numbers, strict=True):
        time_us = unix_microseconds(row[time])
        unknown = seq is None or time_us == UNKNOWN_TIME_US
        faults.append(None if unknown else plan.fault(str(row[sensor]), seq or 0, time_us))
    return faults


class DamagedRecord:
    """A record in which the readings are damaged that a batch names. With `whole`, a truncated one lacks its last fields and is
    JSON still: for targets that send several readings as one document."""

    def __init__(self, record: Record, *, whole: bool) -> None:
        self.name, self.columns = record.name, record.columns
        self._record, self._whole = record, whole

    def documents(self, batch: Batch) -> list[Any]:
        """Return the readings; a truncated one is a part of the text of its JSON, which `dump_json` takes as it is."""
        documents: list[Any] = self._record.documents(batch)
        if not batch.damages:
            return documents
        for index, number in enumerate(batch.ids):
            fault = batch.damages.get(number)
            if fault and fault.kind == "corrupt":
                corrupt(documents[index], fault.size)
            elif fault and fault.kind == "truncate":
                documents[index] = self._truncated(documents[index], fault.size)
        return documents

    def unfit(self, batch: Batch) -> dict[int, str]:
        return self._record.unfit(batch)

    def reading(self, document: Document) -> Document:
        return self._record.reading(document)

    def read_back(self, column: str, value: Value) -> Value:
        return self._record.read_back(column, value)

    def damaged_fields(self, batch: Batch, faults: Sequence[Fault | None]) -> list[str | None]:
        """Return the name of the field that is damaged in each reading."""
        if not any(fault and fault.kind == "corrupt" for fault in faults):
            return [None] * len(batch.rows)
        return [
            damaged_field(document, fault.size) if fault and fault.kind == "corrupt" else None
            for document, fault in zip(self._record.documents(batch), faults, strict=True)
        ]

    def _truncated(self, document: Document, share: float) -> Any:
        if self._whole:
            return dict(list(document.items())[: max(1, int(share * len(document)))])
        text = dump_json(document)
        return orjson.Fragment(text[: max(1, int(share * len(text)))])


def damaged_field(document: Document, where: float) -> str | None:
    """Return the field that `corrupt` damages, such as `temperature` or `values.temperature`; None if no value is a number."""
    fields = list(numbers(document, ""))
    return fields[int(where * len(fields))][0] if fields else None


def corrupt(document: Document, where: float) -> None:
    """Replace one number, if there is one, by a text that is no number."""
    fields = list(numbers(document, ""))
    if fields:
        _, section, name = fields[int(where * len(fields))]
        text = str(section[name])
        section[name] = text.replace(".", REPLACEMENT) if "." in text else text + REPLACEMENT


def numbers(document: Document, prefix: str) -> Iterator[tuple[str, Document, str]]:
    """Yield the fields with numbers that are not whole, in nested objects too: a path, the object, and the name in it."""
    for name, value in document.items():
        if isinstance(value, float):
            yield prefix + name, document, name
        elif isinstance(value, dict):
            yield from numbers(value, f"{prefix}{name}.")

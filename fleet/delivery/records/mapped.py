"""A record that YAML describes, compiled once: documents from readings, and readings from documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from fleet.config.record_fields import FieldPath, KnownColumns, RecordField, parse_fields
from fleet.delivery.batch import Batch, Value
from fleet.delivery.records.record import Document, as_object

Column = Sequence[Any]
"""The values of a column, one for each reading."""


class MappedRecord:
    """A record with the fields of a mapping. A column that a reading's database does not have is null."""

    def __init__(self, name: str, tree: Mapping[str, Any], known: KnownColumns) -> None:
        """`tree` has no issues."""
        self.name = name
        self._fields = [field for field in parse_fields(tree) if isinstance(field, RecordField)]
        self._channels = known.channels
        self._named = [field for field in self._fields if field.named]
        by_column: dict[str, list[RecordField]] = {}
        for field in self._fields:
            if field.column and not field.named:
                by_column.setdefault(field.column, []).append(field)
        self._by_column = {column: sorted(fields, key=resolution) for column, fields in by_column.items()}
        self.columns: tuple[str, ...] = tuple(
            dict.fromkeys((*self._by_column, *(known.channels if self._named else ())))
        )

    def documents(self, batch: Batch) -> list[Document]:
        columns = ColumnReader(batch, self._channels)
        values = [convert(field, columns.values(field)) for field in self._fields]
        build = builder([field.path for field in self._fields])
        return [build(row) for row in zip(*values, strict=True)] if batch.ids else []

    def unfit(self, batch: Batch) -> dict[int, str]:
        reasons: dict[int, str] = {}
        columns = ColumnReader(batch, self._channels)
        for field in self._fields:
            if field.required or field.conversion:
                for number, value in zip(batch.ids, columns.values(field), strict=True):
                    if reason := self._reason(field, value):
                        reasons.setdefault(number, f"record {self.name}: {'.'.join(field.path)}: {reason}")
        return reasons

    def _reason(self, field: RecordField, value: Value) -> str:
        if value is None:
            advice = "a sensor of another kind is left out by `select: {kind: ...}`"
            return f"the reading has no value of {field.column}; {advice}" if field.required else ""
        try:
            if field.conversion:
                field.conversion.forward(value)
        except ValueError as error:
            return str(error)
        return ""

    def reading(self, document: Document) -> Document:
        reading: Document = {}
        for column, fields in self._by_column.items():
            found = [(field, value) for field in fields if (value := value_at(document, field.path)) is not ABSENT]
            if found:
                reading[column] = common_value(found)
        for field in self._named:
            name, value = reading.get(field.column), value_at(document, field.path)
            if isinstance(name, str) and value is not ABSENT:
                reading[name] = backward(field, value)
        return reading

    def read_back(self, column: str, value: Value) -> Value:
        fields = self._by_column.get(column) or (self._named if column in self._channels else [])
        try:
            found: Value = backward(fields[0], forward(fields[0], value)) if fields else value
        except ValueError:  # one that the record cannot have
            return value
        return found


def resolution(field: RecordField) -> tuple[int, bool]:
    return (field.conversion.resolution, True) if field.conversion else (0, False)


def common_value(found: Sequence[tuple[RecordField, Any]]) -> Any:
    """Return the value of a column of which there are several fields, the first of which is the most exact; a text with all
    values if they contradict each other."""
    (first, written), *others = found
    value = backward(first, written)
    if all(forward(field, value) == other for field, other in others):
        return value
    return ", ".join(f"{'.'.join(field.path)} {other!r}" for field, other in found)


def forward(field: RecordField, value: Any) -> Any:
    return value if value is None or field.conversion is None else field.conversion.forward(value)


def backward(field: RecordField, value: Any) -> Any:
    return value if value is None or field.conversion is None else field.conversion.backward(value)


class ColumnReader:
    """The columns of a batch by field."""

    def __init__(self, batch: Batch, channels: Sequence[str]) -> None:
        self._batch, self._channels = batch, channels
        self._columns: dict[str, Column] = dict(zip(batch.source.columns, zip(*batch.rows, strict=True), strict=False))
        self._absent: Column = (None,) * len(batch.ids)

    def values(self, field: RecordField) -> Column:
        if not field.column:
            return tuple(repeat(field.constant, len(self._batch.ids)))
        column = self._column(field.column)
        if not field.named:
            return column
        by_name = {name: self._column(name) for name in set(column) if name in self._channels}
        return tuple(by_name[name][at] if name in by_name else None for at, name in enumerate(column))

    def _column(self, name: str) -> Column:
        if name == "generation":
            return tuple(repeat(self._batch.source.key, len(self._batch.ids)))
        if name == "key":
            return tuple(self._batch.keys()) if self._batch.rows else ()
        if name == "seq":
            return self._batch.key_numbers
        return self._columns.get(name, self._absent)


def convert(field: RecordField, values: Column) -> Column:
    return values if field.conversion is None else [forward(field, value) for value in values]


Build = Callable[[Sequence[Any]], Document]


def builder(paths: Sequence[FieldPath]) -> Build:
    """Return a function that makes a document of the values at the paths."""
    names: list[str] = []
    inner: dict[str, list[int]] = {}
    for number, path in enumerate(paths):
        if path[0] not in inner:
            names.append(path[0])
        inner.setdefault(path[0], []).append(number)
    if all(len(path) == 1 for path in paths):
        return lambda values: dict(zip(names, values, strict=True))
    parts = [
        partial(value_of, numbers[0])
        if len(paths[numbers[0]]) == 1
        else partial(object_of, numbers, builder([paths[number][1:] for number in numbers]))
        for numbers in inner.values()
    ]
    return lambda values: {name: part(values) for name, part in zip(names, parts, strict=True)}


def value_of(number: int, values: Sequence[Any]) -> Any:
    return values[number]


def object_of(numbers: Sequence[int], build: Build, values: Sequence[Any]) -> Document:
    return build([values[number] for number in numbers])


ABSENT = object()


def value_at(document: object, path: FieldPath) -> Any:
    """Return the value at a path, ABSENT if there is none."""
    for name in path:
        inside = as_object(document)
        if inside is None or name not in inside:
            return ABSENT
        document = inside[name]
    return document

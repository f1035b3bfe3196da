"""The readings that a body brought of one source: by column, numbered, the good ones in rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from fleet.delivery.batch import FOREIGN_KEY_PREFIX, Row, Value
from fleet.delivery.receiver.json_columns import MAX_REJECTED_READINGS, convert_json_column

MAX_COLUMNS_PER_BODY = 500
MAX_READINGS_PER_ID = 100

NON_COLUMN_FIELDS = {"generation", "key"}
"""What senders tell with a reading that is no column of it."""

JsonObject = dict[str, Any]


class BodyTooLarge(Exception):
    """A body that takes more than what can be had. In parts it may do. `str(error)` is one line."""


@dataclass(frozen=True, slots=True)
class RejectedReading:
    """What will never be taken. `key` is SOURCE/SENSOR/NUMBER where so much can be told, `id` what the sender calls it."""

    key: str | None
    id: int | None
    reason: str


@dataclass(slots=True)
class UploadedReadings:
    """Those of one source, by column: a list of values each."""

    source: str
    columns: dict[str, list[Value]]
    count: int

    @property
    def foreign(self) -> bool:
        return self.source.startswith(FOREIGN_KEY_PREFIX)

    @property
    def id_index(self) -> int:
        return list(self.columns).index("id")

    def rows(self, rejected: list[RejectedReading]) -> list[Row]:
        """The good ones by id; the others go to `rejected`. The columns have an id afterwards, and a seq if that is the key.
        Raises BodyTooLarge."""
        given = self.columns.get("id")
        absent: list[Value] = [None] * self.count
        for name in ("timestamp", "sensor_id", "id", *(() if self.foreign else ("seq",))):
            self.columns.setdefault(name, absent)
        reasons: dict[int, str] = {}
        for name, values in self.columns.items():
            # Where the id is the key, a column of the name seq is something else.
            self.columns[name], wrong = convert_json_column(name, values, known=name != "seq" or not self.foreign)
            for place, reason in wrong.items():
                reasons.setdefault(place, reason)
            check_rejected_count(len(reasons), next(iter(reasons.values()), ""))
        self._number(reasons)
        rows = list(zip(*self.columns.values(), strict=True))
        if reasons:
            rejected += [self._rejected(place, reason, given) for place, reason in sorted(reasons.items())]
            rows = [row for place, row in enumerate(rows) if place not in reasons]
        rows.sort(key=itemgetter(self.id_index))
        return rows

    def _number(self, reasons: dict[int, str]) -> None:
        """Where a seq is missing, the id stands for it. Where an id is missing, it is a number below 0."""
        ids = numbers = self.columns["id"]
        if not self.foreign:
            numbers = self.columns["seq"]
            if None in numbers:
                numbers = [own if number is None else number for own, number in zip(ids, numbers, strict=True)]
                self.columns["seq"] = numbers
        if None in numbers:
            for place, number in enumerate(numbers):
                if number is None:
                    reasons.setdefault(place, "has no id" if self.foreign else "has neither seq nor id")
        if None in ids:
            self.columns["id"] = [-1 - place if own is None else own for place, own in enumerate(ids)]

    def _rejected(self, place: int, reason: str, given: Sequence[Value] | None) -> RejectedReading:
        own = given[place] if given else None
        number = own if self.foreign else self.columns["seq"][place]
        sensor = self.columns["sensor_id"][place]
        identifiable = isinstance(sensor, str) and isinstance(number, int)
        key = f"{self.source}/{sensor!s}/{number!s}" if identifiable else None
        return RejectedReading(key, own if isinstance(own, int) else None, reason)


def check_rejected_count(rejected: int, reason: str) -> None:
    """Raises BodyTooLarge if an answer that names all that is rejected would be too long."""
    if rejected > MAX_REJECTED_READINGS:
        raise BodyTooLarge(f"more than {MAX_REJECTED_READINGS} readings are bad, such as: {reason}; send fewer at once")


def to_columns(readings: list[JsonObject], size: int) -> dict[str, list[Value]]:
    """The values of readings by column; None where a reading has none. `size` is that of the body. Raises BodyTooLarge."""
    shapes = dict.fromkeys(map(tuple, readings))
    names = [name for name in dict.fromkeys(chain.from_iterable(shapes)) if name not in NON_COLUMN_FIELDS]
    # Each reading with a column of its own would make a table of the square of the body.
    if len(names) > MAX_COLUMNS_PER_BODY or len(names) * len(readings) > max(size, 10_000):
        raise BodyTooLarge(f"{len(readings)} readings have {len(names)} columns between them")
    if len(shapes) == 1:
        (shape,) = shapes
        columns = zip(shape, zip(*map(dict.values, readings), strict=True), strict=True)
        return {name: list(values) for name, values in columns if name not in NON_COLUMN_FIELDS}
    return {name: [reading.get(name) for reading in readings] for name in names}


def split_repeated_ids(rows: list[Row], id_index: int) -> list[list[Row]]:
    """The rows in groups, in each of which an id is there once: by id the central database tells what it took. Raises
    BodyTooLarge."""
    own = itemgetter(id_index)
    if len(set(map(own, rows))) == len(rows):
        return [rows] if rows else []
    groups: list[list[Row]] = []
    seen: Counter[Value] = Counter()
    for row in rows:
        number = seen[own(row)]
        if number == MAX_READINGS_PER_ID:
            raise BodyTooLarge(f"more than {MAX_READINGS_PER_ID} readings have the id {own(row)}")
        if number == len(groups):
            groups.append([])
        groups[number].append(row)
        seen[own(row)] += 1
    return groups

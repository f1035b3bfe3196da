"""The readings that a body brought of one source: by column, numbered, the good ones in rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from fleet.collection.batch import FOREIGN, Row, Value
from fleet.reception.json_columns import MOST_WRONG, checked

MOST_COLUMNS = 500
MOST_NAMESAKES = 100

OF_THE_SENDER = {"generation", "key"}
"""What senders tell with a reading that is no column of it."""

Document = dict[str, Any]


class Oversized(Exception):
    """A body that takes more than what can be had. In parts it may do. `str(error)` is one line."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What will never be taken. `key` is SOURCE/SENSOR/NUMBER where so much can be told, `id` what the sender calls it."""

    key: str | None
    id: int | None
    reason: str


@dataclass(slots=True)
class SentReadings:
    """Those of one source, by column: a list of values each."""

    source: str
    columns: dict[str, list[Value]]
    count: int

    @property
    def foreign(self) -> bool:
        return self.source.startswith(FOREIGN)

    @property
    def place_of_id(self) -> int:
        return list(self.columns).index("id")

    def rows(self, refused: list[Refused]) -> list[Row]:
        """The good ones by id; the others go to `refused`. The columns have an id afterwards, and a seq if that is the key.
        Raises Oversized."""
        given = self.columns.get("id")
        absent: list[Value] = [None] * self.count
        for name in ("timestamp", "sensor_id", "id", *(() if self.foreign else ("seq",))):
            self.columns.setdefault(name, absent)
        reasons: dict[int, str] = {}
        for name, values in self.columns.items():
            # Where the id is the key, a column of the name seq is something else.
            self.columns[name], wrong = checked(name, values, known=name != "seq" or not self.foreign)
            for place, reason in wrong.items():
                reasons.setdefault(place, reason)
            forbid_floods(len(reasons), next(iter(reasons.values()), ""))
        self._number(reasons)
        rows = list(zip(*self.columns.values(), strict=True))
        if reasons:
            refused += [self._refused(place, reason, given) for place, reason in sorted(reasons.items())]
            rows = [row for place, row in enumerate(rows) if place not in reasons]
        rows.sort(key=itemgetter(self.place_of_id))
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

    def _refused(self, place: int, reason: str, given: Sequence[Value] | None) -> Refused:
        own = given[place] if given else None
        number = own if self.foreign else self.columns["seq"][place]
        sensor = self.columns["sensor_id"][place]
        told = isinstance(sensor, str) and isinstance(number, int)
        key = f"{self.source}/{sensor!s}/{number!s}" if told else None
        return Refused(key, own if isinstance(own, int) else None, reason)


def forbid_floods(refused: int, reason: str) -> None:
    """Raises Oversized if an answer that names all that is refused would be too long."""
    if refused > MOST_WRONG:
        raise Oversized(f"more than {MOST_WRONG} readings are bad, such as: {reason}; send fewer at once")


def by_column(readings: list[Document], size: int) -> dict[str, list[Value]]:
    """The values of readings by column; None where a reading has none. `size` is that of the body. Raises Oversized."""
    shapes = dict.fromkeys(map(tuple, readings))
    names = [name for name in dict.fromkeys(chain.from_iterable(shapes)) if name not in OF_THE_SENDER]
    # Each reading with a column of its own would make a table of the square of the body.
    if len(names) > MOST_COLUMNS or len(names) * len(readings) > max(size, 10_000):
        raise Oversized(f"{len(readings)} readings have {len(names)} columns between them")
    if len(shapes) == 1:
        (shape,) = shapes
        columns = zip(shape, zip(*map(dict.values, readings), strict=True), strict=True)
        return {name: list(values) for name, values in columns if name not in OF_THE_SENDER}
    return {name: [reading.get(name) for reading in readings] for name in names}


def apart(rows: list[Row], place_of_id: int) -> list[list[Row]]:
    """The rows in groups, in each of which an id is there once: by id the central database tells what it took. Raises
    Oversized."""
    own = itemgetter(place_of_id)
    if len(set(map(own, rows))) == len(rows):
        return [rows] if rows else []
    groups: list[list[Row]] = []
    seen: Counter[Value] = Counter()
    for row in rows:
        number = seen[own(row)]
        if number == MOST_NAMESAKES:
            raise Oversized(f"more than {MOST_NAMESAKES} readings have the id {own(row)}")
        if number == len(groups):
            groups.append([])
        groups[number].append(row)
        seen[own(row)] += 1
    return groups

"""What has arrived from one source so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from fleet.collection.batch import Row
from fleet.comparison.id_set import IdSet, consecutive
from fleet.comparison.reading_columns import ID, SENSOR


class Stream:
    """Takes the rows of the source in the order in which they arrived. `high` is the largest id among them."""

    def __init__(self) -> None:
        self.ids = IdSet()
        self.high = -(1 << 63)
        self._highest = self.high
        self._latest: dict[object, int] = {}

    def enter(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
        """Returns those that are new, and those that had arrived before."""
        ids: list[Any] = list(map(itemgetter(ID), rows))
        self.high = max(self.high, *ids)
        if consecutive(ids) and self.ids.add_range(ids[0], ids[-1]):
            return rows, ()
        again = self.ids.add(ids)
        if not again:
            return rows, ()
        by_id = dict(zip(ids, rows, strict=True))
        return list(first_ones(rows, Counter(again))), [by_id[number] for number in again]

    def late(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Those that arrived behind a later one of their sensor. The numbers of each sensor rise with the ids."""
        ids: list[Any] = list(map(itemgetter(ID), rows))
        if ids and ids[0] > self._highest and ids == sorted(ids):
            self._latest.update(zip(map(itemgetter(SENSOR), rows), ids, strict=True))
            self._highest = ids[-1]
            return
        for row, number in zip(rows, ids, strict=True):
            before = self._latest.get(row[SENSOR])
            if before is not None and number < before:
                yield row
            self._latest[row[SENSOR]] = number
            self._highest = max(self._highest, number)


def first_ones(rows: Sequence[Row], again: Counter[int]) -> Iterator[Row]:
    """The rows without those that came again."""
    left = Counter(row[ID] for row in rows if row[ID] in again)
    fresh = {number for number, times in left.items() if times > again[number]}  # type: ignore[index]
    for row in rows:
        if row[ID] not in again:
            yield row
        elif row[ID] in fresh:
            fresh.discard(row[ID])
            yield row

"""What has arrived from one source so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from fleet.delivery.batch import Row
from fleet.delivery.compare.compared_columns import ID_INDEX, SENSOR_INDEX
from fleet.delivery.compare.id_set import IdSet, consecutive


class SourceProgress:
    """Takes the rows of the source in the order in which they arrived. `max_id` is the largest id among them."""

    def __init__(self) -> None:
        self.ids = IdSet()
        self.max_id = -(1 << 63)
        self._highest = self.max_id
        self._latest: dict[object, int] = {}

    def add_rows(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
        """Returns those that are new, and those that had arrived before."""
        ids: list[Any] = list(map(itemgetter(ID_INDEX), rows))
        self.max_id = max(self.max_id, *ids)
        if consecutive(ids) and self.ids.add_range(ids[0], ids[-1]):
            return rows, ()
        again = self.ids.add(ids)
        if not again:
            return rows, ()
        by_id = dict(zip(ids, rows, strict=True))
        return list(without_repeats(rows, Counter(again))), [by_id[number] for number in again]

    def late_rows(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Those that arrived behind a later one of their sensor. The numbers of each sensor rise with the ids."""
        ids: list[Any] = list(map(itemgetter(ID_INDEX), rows))
        if ids and ids[0] > self._highest and ids == sorted(ids):
            self._latest.update(zip(map(itemgetter(SENSOR_INDEX), rows), ids, strict=True))
            self._highest = ids[-1]
            return
        for row, number in zip(rows, ids, strict=True):
            before = self._latest.get(row[SENSOR_INDEX])
            if before is not None and number < before:
                yield row
            self._latest[row[SENSOR_INDEX]] = number
            self._highest = max(self._highest, number)


def without_repeats(rows: Sequence[Row], again: Counter[int]) -> Iterator[Row]:
    """The rows without those that came again."""
    left = Counter(row[ID_INDEX] for row in rows if row[ID_INDEX] in again)
    fresh = {number for number, times in left.items() if times > again[number]}  # type: ignore[index]
    for row in rows:
        if row[ID_INDEX] not in again:
            yield row
        elif row[ID_INDEX] in fresh:
            fresh.discard(row[ID_INDEX])
            yield row


class GapMerger:
    """Missing readings, sensor by sensor, put together where they are consecutive."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, int]] = {}

    def add(self, sensor: str, seq: int) -> Iterator[tuple[str, int, int]]:
        """Gives what is complete now: sensor, first and last seq."""
        first, last = self._open.get(sensor, (seq, seq - 1))
        if seq != last + 1:
            yield sensor, first, last
            first = seq
        self._open[sensor] = first, seq

    def flush(self) -> Iterator[tuple[str, int, int]]:
        for sensor, (first, last) in self._open.items():
            yield sensor, first, last

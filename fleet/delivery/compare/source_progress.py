"""The readings of one source that have arrived, and the gaps between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from fleet.delivery.batch import Row
from fleet.delivery.compare.compared_columns import ID_INDEX, SENSOR_INDEX
from fleet.delivery.compare.id_set import IdSet, consecutive
from fleet.verify.row_scan import MIN_ROW_ID


class SourceProgress:
    """The ids that have arrived from a source. Rows are added in their order of arrival; `max_id` is their largest id."""

    def __init__(self) -> None:
        self.ids = IdSet()
        self.max_id = MIN_ROW_ID
        self._highest = self.max_id
        self._latest: dict[object, int] = {}

    def add_rows(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
        """Add rows; returns the new ones, and those that had arrived before."""
        ids: list[Any] = list(map(itemgetter(ID_INDEX), rows))
        self.max_id = max(self.max_id, *ids)
        if consecutive(ids) and self.ids.add_range(ids[0], ids[-1]):
            return rows, ()
        repeated = self.ids.add(ids)
        if not repeated:
            return rows, ()
        by_id = dict(zip(ids, rows, strict=True))
        return list(without_repeats(rows, Counter(repeated))), [by_id[number] for number in repeated]

    def late_rows(self, rows: Sequence[Row]) -> Iterator[Row]:
        """The rows that arrived after a later one of their sensor. The seqs of a sensor ascend with the ids."""
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


def without_repeats(rows: Sequence[Row], repeated: Counter[int]) -> Iterator[Row]:
    """The rows without the repeated ones."""
    counts = Counter(row[ID_INDEX] for row in rows if row[ID_INDEX] in repeated)
    new = {number for number, times in counts.items() if times > repeated[number]}  # type: ignore[index]
    for row in rows:
        if row[ID_INDEX] not in repeated:
            yield row
        elif row[ID_INDEX] in new:
            new.discard(row[ID_INDEX])
            yield row


class GapMerger:
    """Merges missing readings of a sensor with consecutive seqs into gaps."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, int]] = {}

    def add(self, sensor: str, seq: int) -> Iterator[tuple[str, int, int]]:
        """Add a missing reading; yields a gap that is now complete, as (sensor, first seq, last seq)."""
        first, last = self._open.get(sensor, (seq, seq - 1))
        if seq != last + 1:
            yield sensor, first, last
            first = seq
        self._open[sensor] = first, seq

    def flush(self) -> Iterator[tuple[str, int, int]]:
        """The last gap of each sensor."""
        for sensor, (first, last) in self._open.items():
            yield sensor, first, last

"""The order in which readings are sent: those with a delay have their place behind later ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from fleet.delivery.batch import Row
from fleet.delivery.faults.fault_record import FaultyReading

HeapEntry = tuple[int, int, int]
"""The time or seq from which on a reading is sent, its place among those of the same, its id."""


class SendOrder:
    """The readings of one source that wait for later ones."""

    def __init__(self, waiting: Iterable[FaultyReading]) -> None:
        self._by_time: list[HeapEntry] = []
        self._by_seq: dict[str, list[HeapEntry]] = {}
        self.waiting: dict[int, FaultyReading] = {}
        for reading in waiting:
            self.hold(reading)

    def hold(self, reading: FaultyReading) -> None:
        """Let a reading wait."""
        by_seq = self._by_seq.setdefault(reading.sensor_id, [])
        heap = by_seq if reading.fault.kind == "out_of_order" else self._by_time
        place = -reading.seq if reading.fault.kind == "newest_first" else reading.seq
        heapq.heappush(heap, (reading.fault.due, place, reading.id))
        self.waiting[reading.id] = reading

    def due_after(self, sensor: str, seq: int, time_us: int) -> Iterator[FaultyReading]:
        """Yield the readings that are due once the reading with this sensor, seq and time was sent; they wait no longer."""
        for heap, reached in ((self._by_time, time_us), (self._by_seq.get(sensor, []), seq)):
            while heap and heap[0][0] <= reached:
                _, _, number = heapq.heappop(heap)
                if number in self.waiting:
                    yield self.waiting.pop(number)

    def rest(self) -> list[FaultyReading]:
        """Return all that wait, in the order in which they would be due."""
        by_time = sorted(self._by_time)
        by_seq = sorted(entry for heap in self._by_seq.values() for entry in heap)
        numbers = dict.fromkeys(number for _, _, number in (*by_time, *by_seq))
        return [self.waiting[number] for number in numbers if number in self.waiting]


def row_values(columns: tuple[str, ...], row: Row) -> dict[str, str | int | float | bytes | None]:
    return dict(zip(columns, row, strict=True))

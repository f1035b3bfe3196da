"""The history of one sensor: its epochs, and the readings between two sequence numbers as tables.

A source of readings is a class with the methods of `SensorHistory`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from fleet.datadir.computed_readings import MALFORMED_EPOCH_ERRORS
from fleet.errors import UserError
from fleet.history.table import ReadingTable, table_of_block
from worker.readings.generator import SignalGenerator
from worker.schedule import IntArray
from worker.storage.sinks import Epoch

BLOCK_READINGS = 1 << 14
"""Readings that are computed at once."""

Columns = Collection[str] | None
"""Names of the columns that are needed, None for all. More may be there."""


class EpochPart(NamedTuple):
    """The readings `first` .. `end - 1`, all of one epoch."""

    epoch: Epoch
    first: int
    end: int


class SensorHistory(Protocol):
    """The readings of a sensor. `epochs` are in order, and `first` .. `end - 1` are the scheduled readings that there are."""

    @property
    def sensor_id(self) -> str: ...
    @property
    def epochs(self) -> Sequence[Epoch]: ...
    @property
    def first(self) -> int: ...
    @property
    def end(self) -> int: ...

    def tables(self, first: int, end: int, columns: Columns, *, keep_missing: bool) -> Iterator[ReadingTable]:
        """Yield the readings `first` .. `end - 1` in order, those of a table of one epoch. UserError if they cannot be read."""

    def episodes(self, first: int, end: int) -> list[RecordedEpisode]:
        """Return the episodes that have one of the readings `first` .. `end - 1`, in order. UserError as above."""


class RecordedEpisode(NamedTuple):
    """An anomaly on record. `channel` has the names joined by commas, None for whole readings; both numbers are inclusive;
    `parameters` are JSON."""

    kind: str
    channel: str | None
    first_seq: int
    last_seq: int
    parameters: str


def epoch_parts(epochs: Sequence[Epoch], first: int, end: int) -> Iterator[EpochPart]:
    """Cut a range of readings at the beginnings of epochs."""
    for number, epoch in enumerate(epochs):
        low = max(first, epoch.schedule.first_seq)
        high = min(end, epochs[number + 1].schedule.first_seq) if number + 1 < len(epochs) else end
        if low < high:
            yield EpochPart(epoch, low, high)


def readings_between(history: SensorHistory, start_us: int | None, end_us: int | None) -> tuple[int, int]:
    """Return the first reading that is due at `start_us` or after, and the one after the last that is due before `end_us`."""
    first = history.end
    end = history.first
    for epoch, low, high in epoch_parts(history.epochs, history.first, history.end):
        begin = low if start_us is None else max(low, epoch.schedule.seq_after(start_us - 1))
        until = high if end_us is None else min(high, epoch.schedule.seq_after(end_us - 1))
        if begin < until:
            first, end = min(first, begin), max(end, until)
    return first, max(first, end)


def due_times(epochs: Sequence[Epoch], seqs: IntArray) -> IntArray:
    """Return the times at which readings, in order, were due."""
    times = np.zeros(len(seqs), dtype=np.int64)
    if len(seqs):
        for epoch, low, high in epoch_parts(epochs, int(seqs[0]), int(seqs[-1]) + 1):
            part = slice(*np.searchsorted(seqs, (low, high)).tolist())
            times[part] = epoch.schedule.times(low, high - low)[seqs[part] - low]
    return times


def computed_tables(
    epochs: Sequence[Epoch], first: int, end: int, *, keep_missing: bool, where: str
) -> Iterator[ReadingTable]:
    """Yield readings that are computed from their epochs. UserError, which begins with `where`, if they cannot be."""
    for epoch, low, high in epoch_parts(epochs, first, end):
        schedule = epoch.schedule
        try:
            generator = SignalGenerator(
                epoch.seed, epoch.identity, epoch.settings, schedule.first_seq, schedule.start_us
            )
            for begin in range(low, high, BLOCK_READINGS):
                with np.errstate(all="ignore"):
                    block = generator.block(begin, min(BLOCK_READINGS, high - begin))
                yield table_of_block(block, epoch.identity, epoch.settings, schedule, keep_missing=keep_missing)
        except MALFORMED_EPOCH_ERRORS as error:
            raise UserError(
                f"{where}: its epochs cannot be computed: {type(error).__name__}: {error}; fleet verify says more"
            ) from error

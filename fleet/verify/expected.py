"""The readings and episodes that a sensor must have written, computed again from its epochs.

Nothing here reads what was written. An epoch that cannot be computed, because its settings are damaged, is unknown, and
so are its readings.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import compress, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np

from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.clock_errors import records_due_times
from worker.readings.generator import HEALTHY_INDEX, MISSING_DATA_INDEX, Block, SignalGenerator
from worker.schedule import Schedule, format_times
from worker.storage.schema import CHANNEL_COLUMNS, further_columns
from worker.storage.sinks import Epoch

Row = tuple[Any, ...]
SeqRange = tuple[int, int]
T = TypeVar("T")

COMPUTE_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors that computing raises for damaged settings; valid ones never raise them."""

WINDOW_READINGS = 4096
"""The most readings that are computed at once."""

EPISODE_SEARCH_READINGS = 1 << 18
"""Readings whose episodes are computed at once. A longer gap is reported as one range, without its episodes."""

TYPE_BY_KIND = np.array([*ANOMALY_TYPES, None], dtype=object)
assert HEALTHY_INDEX == -1  # it indexes the last element of TYPE_BY_KIND

END_OF_SEQS = 1 << 63
"""The end of the last epoch, larger than any sequence number in a database."""


class EpochRange(NamedTuple):
    """A recorded epoch and the sequence number at which the next one begins. `epoch` is None if it cannot be read."""

    first: int
    end: int
    epoch: Epoch | None


class ReadingWindow(NamedTuple):
    """Consecutive scheduled readings of one epoch. `block` is None if they are unknown."""

    first: int
    end: int
    epoch: Epoch | None
    block: Block | None


class ExpectedSensorData:
    """The expected history of one sensor.

    `epoch_ranges` are in order and without gaps, the last ends at END_OF_SEQS. `report_error` takes the first reading of an
    epoch that cannot be computed, and the reason.
    """

    def __init__(self, epoch_ranges: Sequence[EpochRange], report_error: Callable[[int, str], None]) -> None:
        self._epoch_ranges = list(epoch_ranges)
        self._firsts = [epoch_range.first for epoch_range in epoch_ranges]
        self._report_error = report_error
        self._compiled: tuple[int, SignalGenerator | None] = (-1, None)

    def drop_cache(self) -> None:
        """Free the memory of the compiled generator; it is compiled again when it is needed."""
        self._compiled = (-1, None)

    def epoch_range(self, seq: int) -> EpochRange:
        """Return the epoch that a reading belongs to."""
        return self._epoch_ranges[self._index(seq)]

    def window(self, first: int, end: int) -> ReadingWindow:
        """Return the readings from `first` up to `end`, the end of their epoch, or a multiple of WINDOW_READINGS in it."""
        epoch_range = self.epoch_range(first)
        end = min(end, epoch_range.end, first + WINDOW_READINGS - (first - epoch_range.first) % WINDOW_READINGS)
        block = self._computed(epoch_range.first, lambda generator: generator.block(first, end - first))
        return ReadingWindow(first, end, epoch_range.epoch, block)

    def expected_ranges(self, first: int, end: int) -> list[SeqRange]:
        """Return the readings of a gap that must have rows, as inclusive ranges: all but those of missing_data episodes."""
        if end - first > EPISODE_SEARCH_READINGS:
            return [(first, end - 1)]
        ranges: list[SeqRange] = []
        while first < end:
            epoch_range = self.epoch_range(first)
            until = min(end, epoch_range.end)
            ranges += self._ranges_with_rows(epoch_range, first, until)
            first = until
        return ranges

    def _ranges_with_rows(self, epoch_range: EpochRange, first: int, end: int) -> Iterator[SeqRange]:
        episodes = self._computed(epoch_range.first, lambda generator: generator.episodes(first, end))
        if episodes is None:
            return
        for episode in episodes:
            if episode.kind == ANOMALY_TYPES[MISSING_DATA_INDEX]:
                if first < episode.first_seq:
                    yield first, episode.first_seq - 1
                first = episode.last_seq + 1
        if first < end:
            yield first, end - 1

    def episodes(self, first: int, end: int) -> Iterator[Row]:
        """Yield the records of the episodes that begin in `first` .. `end - 1`, truncated at the ends of epochs."""
        for epoch_range in self._epoch_ranges[self._index(first) :]:
            for low in range(max(first, epoch_range.first), min(end, epoch_range.end), EPISODE_SEARCH_READINGS):
                yield from self._records(epoch_range, low, min(low + EPISODE_SEARCH_READINGS, end, epoch_range.end))

    def running_episodes(self, seq: int) -> list[int]:
        """Return the first readings of the episodes that include reading `seq` and began before it."""
        episodes = self._computed(self.epoch_range(seq).first, lambda generator: generator.episodes(seq, seq + 1))
        return [episode.first_seq for episode in episodes or () if episode.first_seq < seq]

    def _records(self, epoch_range: EpochRange, first: int, end: int) -> list[Row]:
        epoch = epoch_range.epoch
        if epoch is None:
            return []
        sensor_id = epoch.identity.sensor_id
        return (
            self._computed(
                epoch_range.first, lambda generator: episode_rows(generator, sensor_id, first, end, epoch_range.end)
            )
            or []
        )

    def _index(self, seq: int) -> int:
        """Return the position of the epoch that a reading belongs to."""
        return max(0, bisect_right(self._firsts, seq) - 1)

    def _computed(self, first: int, compute: Callable[[SignalGenerator], T]) -> T | None:
        """Call `compute` with the generator of the epoch that begins at `first`. None if the epoch cannot be computed."""
        index = self._index(first)
        epoch = self._epoch_ranges[index].epoch
        if epoch is None:
            return None
        try:
            if self._compiled[0] != index:
                schedule = epoch.schedule
                generator = SignalGenerator(
                    epoch.seed, epoch.identity, epoch.settings, schedule.first_seq, schedule.start_us
                )
                self._compiled = (index, generator)
            assert self._compiled[1] is not None
            with np.errstate(all="ignore"):
                return compute(self._compiled[1])
        except COMPUTE_ERRORS as error:
            self._report_error(first, f"it cannot be computed: {type(error).__name__}: {error}")
            self._epoch_ranges[index] = self._epoch_ranges[index]._replace(epoch=None)
            return None


def expected_rows(
    epoch: Epoch, block: Block, ids: Sequence[int], further: Sequence[str], constants: Sequence[int] = ()
) -> list[Row]:
    """Return the rows of a block of readings: the given ids, READING_COLUMNS, the `further` columns, the constants."""
    kinds, values, seqs = block.kinds, block.values, np.arange(block.first, block.end)
    times = timestamps(epoch, block)
    attributes: Sequence[Iterable[Any]] = block.attributes
    missing = kinds == MISSING_DATA_INDEX
    if missing.any():
        present = ~missing
        kinds, values, seqs = kinds[present], values[:, present], seqs[present]
        chosen = present.tolist()
        times = list(compress(times, chosen))
        attributes = tuple(list(compress(column, chosen)) for column in attributes)
    columns: dict[str, Iterable[Any]] = {name: repeat(value) for name, value in epoch.identity.attributes}
    columns |= zip((attribute.name for attribute in epoch.settings.attributes), attributes, strict=True)
    columns |= zip((channel.name for channel in epoch.settings.channels), values.tolist(), strict=True)
    measured = (columns.get(name, repeat(None)) for name in CHANNEL_COLUMNS)
    others = (columns.get(name, repeat(None)) for name in further)  # NULL in the columns of another kind
    flags, types = (kinds != HEALTHY_INDEX).astype(np.int8).tolist(), TYPE_BY_KIND[kinds].tolist()
    constant_columns = (repeat(constant) for constant in constants)
    return list(zip(ids, times, *measured, flags, flags, types, seqs.tolist(), *others, *constant_columns))  # noqa: B905


def further_column_names(epoch_range: EpochRange) -> tuple[str, ...]:
    """Return the names of the columns behind `seq` that the readings of an epoch have values in; none if it is unknown."""
    epoch = epoch_range.epoch
    try:
        return tuple(column.name for column in further_columns(epoch.identity, epoch.settings)) if epoch else ()
    except COMPUTE_ERRORS:
        return ()


def timestamps(epoch: Epoch, block: Block) -> list[str]:
    """Return the timestamps of a block of readings."""
    if not records_due_times(epoch.settings):
        return format_times(block.times)
    schedule = epoch.schedule
    page, offset = divmod(block.first - schedule.first_seq, WINDOW_READINGS)
    texts = timestamp_page(schedule.start_us, schedule.rate, page)
    return texts[offset : offset + block.size]


@lru_cache(maxsize=32)
def timestamp_page(start_us: int, rate: Fraction, page: int) -> list[str]:
    """Return the timestamps of WINDOW_READINGS readings. They are cached because the sensors of a fleet share them, and
    formatting one takes half as long as computing a reading."""
    return format_times(Schedule(0, start_us, rate).times(page * WINDOW_READINGS, WINDOW_READINGS))


def episode_rows(generator: SignalGenerator, sensor_id: str, first: int, end: int, cut: int) -> list[Row]:
    """Return the rows of `anomaly_episodes` for episodes that begin in `first` .. `end - 1`, truncated at `cut`."""
    episodes = [episode for episode in generator.episodes(first, end) if episode.first_seq >= first]
    if not episodes:
        return []
    seqs = [(episode.first_seq, min(episode.last_seq, cut - 1)) for episode in episodes]
    times = format_times(np.array([generator.schedule.time(seq) for pair in seqs for seq in pair], dtype=np.int64))
    return [
        (
            sensor_id,
            episode.kind,
            ",".join(episode.channels) or None,
            *pair,
            *times[2 * number : 2 * number + 2],
            json.dumps(episode.parameters, separators=(",", ":")),
        )
        for number, (episode, pair) in enumerate(zip(episodes, seqs, strict=True))
    ]


def row_count(block: Block) -> int:
    """Return the number of readings of a block that have a row."""
    return block.size - int(np.count_nonzero(block.kinds == MISSING_DATA_INDEX))

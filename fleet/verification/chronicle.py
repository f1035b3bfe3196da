"""What a sensor must have written: its readings and episodes, computed again from its epochs.

Nothing here looks at what was written. An epoch that cannot be computed (its settings are damaged) is unknown: so are
its readings, and nobody can say more of them.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import compress, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np

from worker.anomalies import NAMES
from worker.generation import HEALTHY, MISSING, Block, Plan
from worker.schedule import Schedule, texts
from worker.schema import CHANNELS
from worker.sinks import Epoch

Row = tuple[Any, ...]
Range = tuple[int, int]
T = TypeVar("T")

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What computing with settings raises that no config could have led to."""

WINDOW = 4096
"""Readings that are computed at once, at most."""

FAR = 1 << 18
"""Readings of which the episodes are computed at once. Of a longer gap only the ends are told."""

TYPES = np.array([*NAMES, None], dtype=object)
assert HEALTHY == -1  # so that a kind is its place in TYPES


ENDLESS = 1 << 63
"""Where the last epoch ends: beyond all that a database can hold."""


class Stretch(NamedTuple):
    """An epoch on record and the sequence number at which the next begins. `epoch` is None where it cannot be read."""

    first: int
    end: int
    epoch: Epoch | None


class Window(NamedTuple):
    """Consecutive scheduled readings of one epoch; `block` is None where they are unknown."""

    first: int
    end: int
    epoch: Epoch | None
    block: Block | None


class Chronicle:
    """The history of one sensor. `stretches` lie in order, without a gap; the last one is ENDLESS."""

    def __init__(self, stretches: Sequence[Stretch], complain: Callable[[int, str], None]) -> None:
        self._stretches = list(stretches)
        self._firsts = [stretch.first for stretch in stretches]
        self._complain = complain
        self._compiled: tuple[int, Plan | None] = (-1, None)

    def forget(self) -> None:
        """Let go of what can be computed again."""
        self._compiled = (-1, None)

    def stretch(self, seq: int) -> Stretch:
        return self._stretches[self._place(seq)]

    def window(self, first: int, end: int) -> Window:
        """Readings from `first` on, up to `end`, the end of their epoch, or a multiple of WINDOW in it."""
        stretch = self.stretch(first)
        end = min(end, stretch.end, first + WINDOW - (first - stretch.first) % WINDOW)
        block = self._computed(stretch.first, lambda plan: plan.block(first, end - first))
        return Window(first, end, stretch.epoch, block)

    def lost(self, first: int, end: int) -> list[Range]:
        """The readings of a gap that should be there, as inclusive ranges: all but those of missing_data episodes."""
        if end - first > FAR:
            return [(first, end - 1)]
        ranges: list[Range] = []
        while first < end:
            stretch = self.stretch(first)
            until = min(end, stretch.end)
            ranges += self._present(stretch, first, until)
            first = until
        return ranges

    def _present(self, stretch: Stretch, first: int, end: int) -> Iterator[Range]:
        episodes = self._computed(stretch.first, lambda plan: plan.episodes(first, end))
        if episodes is None:
            return
        for episode in episodes:
            if episode.kind == NAMES[MISSING]:
                if first < episode.first_seq:
                    yield first, episode.first_seq - 1
                first = episode.last_seq + 1
        if first < end:
            yield first, end - 1

    def episodes(self, first: int, end: int) -> Iterator[Row]:
        """The records of the episodes that begin in `first` .. `end - 1`, cut where an epoch ends them."""
        for stretch in self._stretches[self._place(first) :]:
            for low in range(max(first, stretch.first), min(end, stretch.end), FAR):
                yield from self._records(stretch, low, min(low + FAR, end, stretch.end))

    def running(self, seq: int) -> list[int]:
        """The first readings of the episodes that began before that reading and go on with it."""
        episodes = self._computed(self.stretch(seq).first, lambda plan: plan.episodes(seq, seq + 1))
        return [episode.first_seq for episode in episodes or () if episode.first_seq < seq]

    def _records(self, stretch: Stretch, first: int, end: int) -> list[Row]:
        epoch = stretch.epoch
        if epoch is None:
            return []
        sensor_id = epoch.identity.sensor_id
        return self._computed(stretch.first, lambda plan: records(plan, sensor_id, first, end, stretch.end)) or []

    def _place(self, seq: int) -> int:
        return max(0, bisect_right(self._firsts, seq) - 1)

    def _computed(self, first: int, compute: Callable[[Plan], T]) -> T | None:
        """`compute` of the plan of the epoch that begins there; None once that has turned out to be impossible."""
        place = self._place(first)
        epoch = self._stretches[place].epoch
        if epoch is None:
            return None
        try:
            if self._compiled[0] != place:
                schedule = epoch.schedule
                plan = Plan(epoch.seed, epoch.identity, epoch.settings, schedule.first_seq, schedule.start_us)
                self._compiled = (place, plan)
            assert self._compiled[1] is not None
            with np.errstate(all="ignore"):
                return compute(self._compiled[1])
        except MALFORMED as error:
            self._complain(first, f"it cannot be computed: {type(error).__name__}: {error}")
            self._stretches[place] = self._stretches[place]._replace(epoch=None)
            return None


def expected_rows(epoch: Epoch, block: Block, ids: Sequence[int], *constants: int) -> list[Row]:
    """The rows that a window's block leaves, with ids as given: id, READING_COLUMNS, and then the constants."""
    kinds, values, seqs = block.kinds, block.values, np.arange(block.first, block.end)
    times = timestamps(epoch.schedule, block)
    missing = kinds == MISSING
    if missing.any():
        present = ~missing
        kinds, values, seqs = kinds[present], values[:, present], seqs[present]
        times = list(compress(times, present.tolist()))
    measured = dict(zip((channel.name for channel in epoch.settings.channels), values.tolist(), strict=True))
    channels = (measured.get(name, repeat(None)) for name in CHANNELS)
    flags, types = (kinds != HEALTHY).astype(np.int8).tolist(), TYPES[kinds].tolist()
    same = (repeat(constant) for constant in constants)
    return list(zip(ids, times, *channels, flags, flags, types, seqs.tolist(), *same))  # noqa: B905


def timestamps(schedule: Schedule, block: Block) -> list[str]:
    page, offset = divmod(block.first - schedule.first_seq, WINDOW)
    whole = page_of_timestamps(schedule.start_us, schedule.rate, page)
    return whole[offset : offset + block.size]


@lru_cache(maxsize=32)
def page_of_timestamps(start_us: int, rate: Fraction, page: int) -> list[str]:
    """Those of WINDOW readings. Kept, because the sensors of a fleet have the same, and to write a time costs as much
    as to compute half a reading."""
    return texts(Schedule(0, start_us, rate).times(page * WINDOW, WINDOW))


def records(plan: Plan, sensor_id: str, first: int, end: int, cut: int) -> list[Row]:
    """The rows of `anomaly_episodes` of the episodes that begin in `first` .. `end - 1`, none longer than to `cut`."""
    episodes = [episode for episode in plan.episodes(first, end) if episode.first_seq >= first]
    if not episodes:
        return []
    seqs = [(episode.first_seq, min(episode.last_seq, cut - 1)) for episode in episodes]
    times = texts(np.array([plan.schedule.time(seq) for pair in seqs for seq in pair], dtype=np.int64))
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
    return block.size - int(np.count_nonzero(block.kinds == MISSING))

"""Episodes at random places: nothing before an episode tells that it will begin, and it is found without history.

Each type begins its episodes independently of the others, at random places of the healthy time, which stands still during
an episode of any type. The healthy time of a type is divided into spans with the same number of onsets, ONSETS_PER_SPAN,
each at a uniform place of its span. Over less than a span that is a Poisson process (Kingman, "Poisson Processes", 1993,
section 2.4: the points of a Poisson process whose number is known are at independent uniform places), and over many spans
the share of anomalous readings is exact. A span is halved LEVELS times into cells. How many onsets of a part lie in its first
half is drawn for each half by itself, so the number of onsets before a cell follows from LEVELS draws.

An epoch begins in the healthy time: no episode runs before its first reading.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from worker.readings.anomaly_type import Draws
from worker.readings.episodes import PlacedEpisode, Streams
from worker.readings.random_streams import FloatArray, stream_purpose
from worker.schedule import IntArray

LEVELS = 7
ONSETS_PER_CELL = 16
"""The onsets of a cell on average."""

ONSETS_PER_SPAN = ONSETS_PER_CELL << LEVELS
"""With fewer the past tells more of the future, with more the shares are less exact."""

EPISODES_PER_WINDOW = 32
"""Episodes that are placed at once, on average."""

ORIGIN_PAGE = 1 << 62
MAX_CELLS_KEPT, MAX_WINDOWS_KEPT = 3, 2
WORD_BITS = 64


class Onsets(NamedTuple):
    """Onsets of a type in a part of its healthy time, ascending, each with four draws.

    `positions` are the healthy readings before which the episodes begin, `places` are the same before they were rounded down;
    shape (onsets,). `draws` has shape (onsets, 4).
    """

    places: FloatArray
    positions: IntArray
    draws: FloatArray


class OnsetProcess:
    """The onsets of one type in one epoch: `rate` of them per healthy reading, episodes of `length` readings.

    The streams are addressed by `name`.
    """

    def __init__(self, streams: Streams, name: str, epoch: int, rate: float, length: int) -> None:
        self._streams, self._epoch, self.length = streams, epoch, length
        self._purpose = stream_purpose(f"{name}/onsets")
        self._split_purpose = stream_purpose(f"{name}/numbers of onsets")
        self._cell_size = ONSETS_PER_CELL / rate
        self._cells: OrderedDict[int, Onsets] = OrderedDict()
        self._halves: list[tuple[int, int]] = [(-1, 0)] * LEVELS
        """For each level the part that was halved last, and the onsets in its first half."""
        span_size = self._cell_size * (1 << LEVELS)
        self._origin = int(streams.generator(self._purpose, ORIGIN_PAGE, epoch).random() * span_size)
        self._before_origin = self._count_before(self._origin)

    def count_before(self, healthy: int) -> int:
        """Return the number of episodes that begin before the healthy reading of that number, counted from the epoch's
        first."""
        return self._count_before(self._origin + healthy) - self._before_origin

    def between(self, first: int, end: int) -> Onsets:
        """Return the onsets before the healthy readings `first` .. `end - 1`, counted from the epoch's first."""
        low, high = self._origin + first, self._origin + end
        cells = [self._cell(number) for number in range(self._cell_number(low), self._cell_number(high) + 1)]
        places, positions, draws = cells[0] if len(cells) == 1 else map(np.concatenate, zip(*cells, strict=True))
        chosen = slice(*np.searchsorted(positions, (low, high)).tolist())
        return Onsets(places[chosen] - self._origin, positions[chosen] - self._origin, draws[chosen])

    def _cell_number(self, position: int) -> int:
        """Return the number of the cell in which a healthy reading lies."""
        number = int(position / self._cell_size)
        while number * self._cell_size > position:
            number -= 1
        while (number + 1) * self._cell_size <= position:
            number += 1
        return number

    def _count_before(self, position: int) -> int:
        number = self._cell_number(position)
        before, _ = self._counts(number)
        return before + int(np.searchsorted(self._cell(number).positions, position))

    def _counts(self, cell: int) -> tuple[int, int]:
        """Return the number of onsets before a cell, counted from position 0, and in it."""
        span = cell >> LEVELS
        before, count = span * ONSETS_PER_SPAN, ONSETS_PER_SPAN
        for level in range(LEVELS):
            part = (1 << level) + ((cell >> (LEVELS - level)) & ((1 << level) - 1))  # as in a binary heap
            in_first_half = self._in_first_half(level, (span << LEVELS) + part, count)
            if cell >> (LEVELS - 1 - level) & 1:
                before, count = before + in_first_half, count - in_first_half
            else:
                count = in_first_half
        return before, count

    def _in_first_half(self, level: int, part: int, count: int) -> int:
        if self._halves[level][0] != part:
            stream = self._streams.generator(self._split_purpose, part, self._epoch)
            self._halves[level] = part, heads(stream, count)
        return self._halves[level][1]

    def _cell(self, number: int) -> Onsets:
        if number not in self._cells:
            self._cells[number] = self._drawn_cell(number)
            if len(self._cells) > MAX_CELLS_KEPT:
                self._cells.popitem(last=False)
        return self._cells[number]

    def _drawn_cell(self, number: int) -> Onsets:
        _, count = self._counts(number)
        uniforms = self._streams.generator(self._purpose, number, self._epoch).random((5, count))
        places = number * self._cell_size + np.sort(uniforms[0]) * self._cell_size
        # By rounding, the last place may be that of the next cell's first reading.
        positions = np.minimum(places.astype(np.int64), ceil((number + 1) * self._cell_size) - 1)
        return Onsets(places, positions, uniforms[1:].T)


def heads(stream: Generator, count: int) -> int:
    """Return the number of heads when a coin is tossed `count` times."""
    if not count:
        return 0
    words: npt.NDArray[np.uint64] = stream.bit_generator.random_raw(-(-count // WORD_BITS))
    words[-1] >>= np.uint64(-count % WORD_BITS)
    return int(np.bitwise_count(words).sum())


class Window(NamedTuple):
    """The episodes that begin in a part of the healthy time, in order. `first` and `end` are the readings of that part,
    `starts` and `lasts` of its episodes (inclusive), counted from the epoch's first; `kinds` index the processes."""

    number: int
    first: int
    end: int
    starts: IntArray
    lasts: IntArray
    kinds: npt.NDArray[np.int64]
    draws: FloatArray


class RandomEpisodes:
    """The episodes of one sensor in one epoch, other than injections."""

    def __init__(self, epoch_first_seq: int, processes: Sequence[OnsetProcess], rate: float) -> None:
        """`rate` is the number of onsets of all processes together per healthy reading."""
        self._epoch, self._processes = epoch_first_seq, processes
        self._size = max(1, round(EPISODES_PER_WINDOW / rate))
        self._windows: OrderedDict[int, Window] = OrderedDict()

    def between(self, first: int, end: int) -> list[PlacedEpisode]:
        """Return the episodes that have a reading in `first` .. `end - 1`, in order."""
        offset, until = max(first - self._epoch, 0), end - self._epoch
        result: list[PlacedEpisode] = []
        if until <= offset:
            return result
        window = self._window_with(offset)
        while True:
            low = int(np.searchsorted(window.lasts, offset))
            high = int(np.searchsorted(window.starts, until))
            for index in range(low, high):
                start, last = int(window.starts[index]), int(window.lasts[index])
                draws = Draws(*window.draws[index].tolist())
                result.append(PlacedEpisode(int(window.kinds[index]), start + self._epoch, last + self._epoch, draws))
            if until <= window.end:
                return result
            window = self._window(window.number + 1, window.end)

    def _window_with(self, offset: int) -> Window:
        """Return the window in which a reading lies."""
        for window in reversed(self._windows.values()):
            if window.first <= offset < window.end:
                return window
            if offset == window.end:
                return self._window(window.number + 1, window.end)
        # Healthy time is never ahead of the readings, so the window is none of the later ones.
        low, high = 0, offset // self._size
        while low < high:
            middle = (low + high + 1) // 2
            if self._start(middle) <= offset:
                low = middle
            else:
                high = middle - 1
        return self._window(low, self._start(low))

    def _start(self, number: int) -> int:
        healthy = number * self._size
        return healthy + sum(process.length * process.count_before(healthy) for process in self._processes)

    def _window(self, number: int, first: int) -> Window:
        if number not in self._windows:
            self._windows[number] = self._placed_window(number, first)
            if len(self._windows) > MAX_WINDOWS_KEPT:
                self._windows.popitem(last=False)
        return self._windows[number]

    def _placed_window(self, number: int, first: int) -> Window:
        begin = number * self._size
        found = [process.between(begin, begin + self._size) for process in self._processes]
        places, positions, draws = map(np.concatenate, zip(*found, strict=True))
        counts = [len(onsets.places) for onsets in found]
        order = np.argsort(places, kind="stable")
        kinds = np.repeat(np.arange(len(found)), counts)[order]
        lengths = np.repeat([process.length for process in self._processes], counts)[order]
        ends = first + (positions[order] - begin) + np.cumsum(lengths)
        end = first + self._size + int(lengths.sum())
        return Window(number, first, end, ends - lengths, ends - 1, kinds, draws[order])

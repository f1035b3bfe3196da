"""Episodes at random places: nothing before an episode tells that it will begin, and it is found without history.

Each type begins its episodes independently of the others, at random places of the healthy time, which stands still during
an episode of any type. The healthy time of a type is divided into spans with the same number of onsets, each at a
uniform place of its span. Over less than a span that is a Poisson process (Kingman, "Poisson Processes", 1993,
section 2.4: the points of a Poisson process whose number is known are at independent uniform places), and over many spans
the share of anomalous readings is exact. A span is divided into cells, and each of its onsets has a random cell: the number of
onsets before a cell follows from the span, and their places from the cell.

An epoch begins in the healthy time: no episode runs before its first reading.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.readings.anomaly_type import Draws
from worker.readings.episodes import PlacedEpisode, Streams
from worker.readings.random_streams import FloatArray, stream_purpose
from worker.schedule import IntArray

ONSETS_PER_CELL = 16
"""The onsets of a cell on average."""

MIN_CELLS, MAX_CELLS = 8, 128
"""The cells of a span, powers of two."""

EPISODES_PER_WINDOW = 32
"""Episodes that are placed at once, on average."""

PHASE_MASK = (1 << 32) - 1
MAX_CELLS_KEPT, MAX_WINDOWS_KEPT = 3, 2


class Onsets(NamedTuple):
    """Onsets of a type in a part of its healthy time, ascending, each with four draws.

    `positions` are the healthy readings before which the episodes begin, `places` are the same before they were rounded down;
    shape (onsets,). `draws` has shape (onsets, 4).
    """

    places: FloatArray
    positions: IntArray
    draws: FloatArray


class OnsetRule(NamedTuple):
    """The episodes of a type with that index that are `length` readings long: `rate` of them per healthy reading, with
    `span_cells` cells to a span. Their streams are addressed by `name`."""

    name: str
    kind: int
    rate: float
    length: int
    span_cells: int


class OnsetProcess:
    """The onsets by one rule in one epoch."""

    def __init__(self, streams: Streams, epoch: int, rule: OnsetRule, origin: float) -> None:
        """`origin`, in [0, 1), is common to the processes of an epoch: with the name it says where in a span it begins."""
        self._streams, self._epoch = streams, epoch
        self.kind, self.length, self._span_cells = rule.kind, rule.length, rule.span_cells
        self._purpose = stream_purpose(f"{rule.name}/onsets")
        self._span_purpose = stream_purpose(f"{rule.name}/cells of onsets")
        self._cell_size = ONSETS_PER_CELL / rule.rate
        self._cells: OrderedDict[int, Onsets] = OrderedDict()
        self._span: tuple[int, list[int]] = (-1, [])
        """A span, and the numbers of onsets before its cells, counted from its first; at the end, the number of all."""
        phase = (origin + (self._purpose & PHASE_MASK) / (PHASE_MASK + 1)) % 1.0
        self._origin = int(phase * self._cell_size * rule.span_cells)

    @cached_property
    def _before_origin(self) -> int:
        return self._count_before(self._origin)

    def count_before(self, healthy: int) -> int:
        """Return the number of episodes that begin before the healthy reading of that number, counted from the epoch's
        first."""
        return self._count_before(self._origin + healthy) - self._before_origin

    def between(self, first: int, end: int) -> Onsets:
        """Return the onsets before the healthy readings `first` .. `end - 1`, counted from the epoch's first."""
        low, high = self._origin + first, self._origin + end
        cells = [self._cell(number) for number in range(self._cell_number(low), self._cell_number(high) + 1)]
        places, positions, draws = cells[0] if len(cells) == 1 else map(np.concatenate, zip(*cells, strict=True))
        chosen = slice(*positions.searchsorted((low, high)).tolist())
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
        return before + int(self._cell(number).positions.searchsorted(position))

    def _counts(self, cell: int) -> tuple[int, int]:
        """Return the number of onsets before a cell, counted from position 0, and in it."""
        span, index = divmod(cell, self._span_cells)
        if self._span[0] != span:
            self._span = span, self._drawn_span(span)
        before = self._span[1]
        return span * before[-1] + before[index], before[index + 1] - before[index]

    def _drawn_span(self, number: int) -> list[int]:
        count = ONSETS_PER_CELL * self._span_cells
        stream = self._streams.generator(self._span_purpose, number, self._epoch)
        words: npt.NDArray[np.uint64] = stream.bit_generator.random_raw(count // 8)
        cells = words.astype("<u8").view(np.uint8) & (self._span_cells - 1)  # a byte for each onset
        return [0, *np.bincount(cells, minlength=self._span_cells).cumsum().tolist()]

    def _cell(self, number: int) -> Onsets:
        if number not in self._cells:
            self._cells[number] = self._drawn_cell(number)
            if len(self._cells) > MAX_CELLS_KEPT:
                self._cells.popitem(last=False)
        return self._cells[number]

    def _drawn_cell(self, number: int) -> Onsets:
        _, count = self._counts(number)
        uniforms = self._streams.generator(self._purpose, number, self._epoch).random((5, count))
        uniforms[0].sort()
        places = number * self._cell_size + uniforms[0] * self._cell_size
        # By rounding, the last place may be that of the next cell's first reading.
        positions = np.minimum(places.astype(np.int64), ceil((number + 1) * self._cell_size) - 1)
        return Onsets(places, positions, uniforms[1:].T)


def cells_of_span(length: float, processes: int) -> int:
    """Return the cells of a span of a type that has episodes of `length` readings on average, in some processes: with one
    process 128 (2,048 onsets) if they are one reading long, 8 (128 onsets) from 256 readings on.

    The more onsets there are to the spans of a type together, the less the past tells of the future: with 32 of them a
    classifier has found the next spike with an area under its curve of 0.57, with 2,048 of 0.50. The fewer, the more exact is
    the share of types whose episodes are few and long.
    """
    cells = max(MIN_CELLS, MAX_CELLS >> int(length).bit_length() // 2)
    return max(1, cells >> (processes - 1).bit_length())


class Window(NamedTuple):
    """The episodes that begin in a part of the healthy time, in order. `first` and `end` are the readings of that part,
    `starts` and `lasts` of its episodes (inclusive), counted from the epoch's first; `kinds` are the indexes of their types."""

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
        window = self.window_with(offset)
        while True:
            low, high = int(window.lasts.searchsorted(offset)), int(window.starts.searchsorted(until))
            for index in range(low, high):
                start, last = int(window.starts[index]), int(window.lasts[index])
                draws = Draws(*window.draws[index].tolist())
                result.append(PlacedEpisode(int(window.kinds[index]), start + self._epoch, last + self._epoch, draws))
            if until <= window.end:
                return result
            window = self.window_after(window)

    def window_with(self, offset: int) -> Window:
        """Return the window in which a reading lies, counted from the epoch's first."""
        for window in reversed(self._windows.values()):
            if window.first <= offset < window.end:
                return window
            if offset == window.end:
                return self.window_after(window)
        # Healthy time is never ahead of the readings, so the window is none of the later ones.
        low, high = 0, offset // self._size
        while low < high:
            middle = (low + high + 1) // 2
            if self._start(middle) <= offset:
                low = middle
            else:
                high = middle - 1
        return self._window(low, self._start(low))

    def window_after(self, window: Window) -> Window:
        return self._window(window.number + 1, window.end)

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
        order = places.argsort(kind="stable")
        kinds = np.repeat([process.kind for process in self._processes], counts)[order]
        lengths = np.repeat([process.length for process in self._processes], counts)[order]
        ends = first + (positions[order] - begin) + lengths.cumsum()
        end = first + self._size + int(lengths.sum())
        return Window(number, first, end, ends - lengths, ends - 1, kinds, draws[order])

"""The layout of anomaly episodes: computed page by page, without history.

The readings of an epoch, counted from its first, are divided into pages; a phase that differs between sensors shifts the
boundaries. No episode crosses a page, so the episodes of any range of readings follow from its pages alone.

`ShareLayout` (the default) meets the configured share of anomalous readings. `OnsetLayout` begins an episode at each
healthy reading with a configured probability; the share results from it.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil, floor
from operator import mul
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from worker.readings.anomaly_type import Draws, sum_in_order
from worker.readings.random_streams import StreamPurpose
from worker.schedule import IntArray

EPISODES_PER_STREAM = 16
"""Consecutive episodes of a page whose draws come from one stream."""


class EpisodePage(NamedTuple):
    """The episodes of a page in order. `starts` count from the page's first reading, `kinds` index the specs."""

    starts: IntArray
    kinds: npt.NDArray[np.uint8]


class PlacedEpisode(NamedTuple):
    """One episode. `kind` indexes the specs, the sequence numbers are inclusive."""

    kind: int
    first_seq: int
    last_seq: int
    draws: Draws


class Streams(Protocol):
    """The random streams of a sensor, or of one of its layers."""

    def generator(self, purpose: int, page: int, epoch: int = 0) -> Generator:
        """Return the stream at (purpose, epoch, page), valid until the next call."""


class EpisodeLayout(Protocol):
    """A rule that places episodes. `size` is the length of a page in readings."""

    size: int

    def lay_out(self, streams: Streams, epoch: int, page: int) -> EpisodePage:
        """Place the episodes of a page. `epoch` is the first sequence number of the epoch."""


class ShareLayout:
    """A layout in which each kind covers its share of the readings.

    The number of episodes of a kind in a page comes from systematic rounding (Madow 1949): the cumulative expectation
    plus a random start, rounded down, so that counts never drift from the expectation. The densest kind fills the rest
    of the page's anomalous readings, so that the total is exact to within one of its episodes. The order is shuffled,
    and each episode has a section of the page in proportion to its length, so that the share holds within the page too.
    """

    def __init__(self, shares: tuple[float, ...], lengths: tuple[int, ...]) -> None:
        self._shares, self._lengths = shares, np.array(lengths, dtype=np.int64)
        self._share = sum_in_order(shares)
        self._densest = max(range(len(shares)), key=lambda kind: shares[kind] / lengths[kind])
        others = sum_in_order(length for kind, length in enumerate(lengths) if kind != self._densest)
        longest = max(lengths)
        # Room for a few of the longest episodes, and for the densest kind to compensate one more of every other kind.
        needed = max(16 * longest, 4 * longest / self._share, others / shares[self._densest], 1024)
        self.size = ceil(needed)
        self._starts: tuple[tuple[Streams, int] | None, list[float]] = (None, [])
        self._counted: tuple[int, list[int]] = (-1, [])

    def lay_out(self, streams: Streams, epoch: int, page: int) -> EpisodePage:
        if self._starts[0] != (streams, epoch):
            draws = streams.generator(StreamPurpose.LAYOUT, 1 << 62, epoch).random(len(self._shares))
            self._starts, self._counted = ((streams, epoch), draws.tolist()), (-1, [])
        before = self._counted[1] if self._counted[0] == page else self._cumulative_counts(page)
        after = self._cumulative_counts(page + 1)
        self._counted = page + 1, after
        counts = [max(0, after[kind] - before[kind]) for kind in range(len(before))]
        kinds = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
        if not len(kinds):
            return EpisodePage(np.empty(0, dtype=np.int64), kinds)
        stream = streams.generator(StreamPurpose.EPISODES, page, epoch)
        kinds = kinds[np.argsort(stream.random(len(kinds)), kind="stable")]
        lengths = self._lengths[kinds]
        # Each episode has a section of the page in proportion to its length, and lies anywhere in it.
        scale = self.size / int(lengths.sum())
        ends = np.minimum((np.cumsum(lengths) * scale).astype(np.int64), self.size)
        begins = np.concatenate((ends[:1] * 0, ends[:-1]))
        free = np.maximum(ends - begins - lengths + 1, 0)
        return EpisodePage(begins + (stream.random(len(kinds)) * free).astype(np.int64), kinds)

    def _cumulative_counts(self, page: int) -> list[int]:
        """Return the number of episodes of each kind in the pages before `page`."""
        readings, starts = page * self.size, self._starts[1]
        lengths = self._lengths.tolist()
        counts = [
            floor(readings * share / length + start)
            for share, length, start in zip(self._shares, lengths, starts, strict=True)
        ]
        kind, length = self._densest, lengths[self._densest]
        others = sum(map(mul, counts, lengths)) - counts[kind] * length
        counts[kind] = floor((readings * self._share - others) / length + starts[kind])
        return counts


class OnsetLayout:
    """A layout in which each healthy reading begins an episode of a kind with that kind's probability."""

    def __init__(self, probabilities: tuple[float, ...], lengths: tuple[int, ...]) -> None:
        self._probabilities, self._lengths = probabilities, lengths
        self.size = max(16 * max(lengths), 1024)

    def lay_out(self, streams: Streams, epoch: int, page: int) -> EpisodePage:
        draws = streams.generator(StreamPurpose.EPISODES, page, epoch).random(self.size)
        bounds = np.cumsum(self._probabilities)
        candidates = np.flatnonzero(draws < bounds[-1])
        chosen = np.searchsorted(bounds, draws[candidates], side="right")
        starts, kinds, position = [], [], 0
        while position < len(candidates):
            start, kind = int(candidates[position]), int(chosen[position])
            end = start + self._lengths[kind]
            if end <= self.size:
                starts.append(start)
                kinds.append(kind)
            position = int(np.searchsorted(candidates, end))
        return EpisodePage(np.array(starts, dtype=np.int64), np.array(kinds, dtype=np.uint8))


class NaturalEpisodes:
    """The episodes of one sensor in one epoch, other than injections. `lengths` are readings per kind of `layout`."""

    def __init__(self, streams: Streams, epoch_first_seq: int, layout: EpisodeLayout, lengths: tuple[int, ...]) -> None:
        self._streams, self._epoch, self._layout, self._lengths = streams, epoch_first_seq, layout, lengths
        self._phase = int(streams.generator(StreamPurpose.LAYOUT, 0, epoch_first_seq).random() * layout.size)
        self._pages: OrderedDict[int, EpisodePage] = OrderedDict()
        self._group: tuple[tuple[int, int], list[list[float]]] = ((-1, -1), [])

    def between(self, first: int, end: int) -> list[PlacedEpisode]:
        """Return the episodes that have a reading in `first` .. `end - 1`, in order.

        The first may have begun before the epoch: otherwise long episodes would be too rare at its beginning.
        """
        size = self._layout.size
        shift = self._phase - self._epoch
        result = []
        for number in range((first + shift) // size, (end - 1 + shift) // size + 1):
            page = self._page(number)
            origin = number * size - shift
            # Episodes do not overlap: besides those that start in the range, only the one before can reach into it.
            low = max(int(np.searchsorted(page.starts, first - origin)) - 1, 0)
            high = int(np.searchsorted(page.starts, end - origin))
            places = zip(page.starts[low:high].tolist(), page.kinds[low:high].tolist(), strict=True)
            for index, (offset, kind) in enumerate(places, low):
                start = origin + offset
                last = start + self._lengths[kind] - 1
                if last >= first:
                    result.append(PlacedEpisode(kind, start, last, self._draws(number, index)))
        return result

    def _page(self, number: int) -> EpisodePage:
        if number not in self._pages:
            self._pages[number] = self._layout.lay_out(self._streams, self._epoch, number)
            if len(self._pages) > 2:
                self._pages.popitem(last=False)
        return self._pages[number]

    def _draws(self, page: int, index: int) -> Draws:
        """Return the draws of an episode from its address: only the groups that are needed are drawn."""
        group, position = divmod(index, EPISODES_PER_STREAM)
        if self._group[0] != (page, group):
            stream = self._streams.generator(StreamPurpose.DRAWS + (group << 8), page, self._epoch)
            self._group = (page, group), stream.random((EPISODES_PER_STREAM, 4)).tolist()
        return Draws(*self._group[1][position])

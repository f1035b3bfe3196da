"""The part of an anomaly's episode that lies in a block of readings, as its type sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from worker.readings.healthy import HealthyReadings
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray


class SegmentSource(Protocol):
    """The generator of the readings that an episode changes."""

    def anomaly_noise(self, first: int, count: int) -> Callable[[int], FloatArray] | None:
        """Return the noise of a segment of `count` readings from number `first` on."""

    def healthy_reading(self, seq: int) -> HealthyReadings:
        """Return one healthy reading."""


class EpisodeSegment:
    """The part of an episode that lies in a block. The arrays have shape (channels, readings).

    `base` is the healthy mean (with the daily pattern), `deviation` the healthy noise around it, `values` the
    healthy values, to be changed in place; `offset` counts readings from the episode's first, `length` is the
    episode's, `rate` readings per second. `noise` returns standard normals for the readings of a channel by its index, which
    are independent of the healthy noise; it is None by the rules of version 1. `times`, shape (readings,), are the times that
    the readings record, microseconds since 1970, to be changed in place.

    What an anomaly does not ask for is not computed: most episodes are short.
    """

    __slots__ = (
        "_count",
        "_cut",
        "_episode_first",
        "_first",
        "_healthy",
        "_source",
        "_start",
        "_times",
        "length",
        "rate",
    )

    def __init__(
        self,
        source: SegmentSource,
        healthy: HealthyReadings,
        times: IntArray,
        start: int,
        cut: slice,
        episode: tuple[int, int, int],
        rate: float,
    ) -> None:
        """`healthy` and `times` are those of the readings from number `start` on, of which `cut` are in the episode. `episode` has
        the numbers of its first reading, which may be before the epoch, of the first in the epoch, and of the last."""
        self._source, self._healthy, self._times, self._cut = source, healthy, times, cut
        self._first, self._count = start + cut.start, cut.stop - cut.start
        self._start, self._episode_first, last = episode
        self.length, self.rate = last - self._start + 1, rate

    @property
    def base(self) -> FloatArray:
        return self._healthy.base[:, self._cut]

    @property
    def deviation(self) -> FloatArray:
        return self._healthy.deviation[:, self._cut]

    @property
    def values(self) -> FloatArray:
        return self._healthy.values[:, self._cut]

    @property
    def times(self) -> IntArray:
        return self._times[self._cut]

    @property
    def offset(self) -> FloatArray:
        begin = self._first - self._start
        return np.arange(begin, begin + self._count, dtype=np.float64)

    @property
    def noise(self) -> Callable[[int], FloatArray] | None:
        return self._source.anomaly_noise(self._first, self._count)

    def first_value(self, channel: int) -> float:
        """The healthy value of a channel at the episode's first reading. Valid as long as its values are unchanged."""
        if self._first == self._start:
            return float(self.values[channel, 0])
        return float(self._source.healthy_reading(self._episode_first).values[channel, 0])

    def normals(self, channel: int, std_dev: float) -> FloatArray:
        """Standard normals for the readings of a channel that has that standard deviation."""
        if (noise := self.noise) is not None:
            return noise(channel)
        normals: FloatArray = self.deviation[channel] / (std_dev or 1.0)
        return normals

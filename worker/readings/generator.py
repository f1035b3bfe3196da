"""The signal generator: a reading is a pure function of seed, identity, settings and sequence number.

`SignalGenerator.block(first, count)` computes any range of readings; adjacent blocks of any sizes join bit for bit. It
uses no clock and no I/O. Live readings, backfill and verification share this code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.readings.anomalies import ANOMALY_TYPES, MissingData
from worker.readings.anomaly_type import Parameters
from worker.readings.attributes import AttributeColumn, AttributeColumns, joined
from worker.readings.episode_segment import EpisodeSegment
from worker.readings.healthy import HealthyReadings, column_vector, healthy_signal
from worker.readings.placement import AnomalyPlacement, PlacedAnomaly
from worker.readings.random_streams import FloatArray, RandomStreams
from worker.schedule import SECOND_US, IntArray, Schedule
from worker.spec import Channel, Identity, Settings

HEALTHY_INDEX = -1
MISSING_DATA_INDEX = ANOMALY_TYPES.index(MissingData.name)


@dataclass(frozen=True, slots=True)
class Episode:
    """The record of an anomaly. The sequence numbers are inclusive; `channels` are names, in column order."""

    kind: str
    channels: tuple[str, ...]
    first_seq: int
    last_seq: int
    parameters: Parameters


class Block(NamedTuple):
    """Consecutive scheduled readings `first` .. `first + count - 1`.

    `times` are those that the readings record (microseconds since 1970, UTC): with jitter or a wrong clock not the due
    times. They and `kinds` (index into `worker.readings.anomalies.ANOMALY_TYPES`, HEALTHY_INDEX for none) have shape
    (count,), `values` (channels, count). Missing readings are included, marked by their kind. `episodes` are the ones that
    begin in the block. `attributes` has, for each of the settings' attributes, the column of its `count` values.
    """

    first: int
    times: IntArray
    kinds: npt.NDArray[np.int8]
    values: FloatArray
    episodes: tuple[Episode, ...]
    attributes: tuple[AttributeColumn, ...] = ()

    @property
    def size(self) -> int:
        """The number of scheduled readings."""
        return len(self.times)

    @property
    def end(self) -> int:
        """The sequence number after the last reading."""
        return self.first + len(self.times)

    def between(self, first: int, end: int) -> Block:
        """Return the part `first` .. `end - 1`, which must lie in the block; its arrays are views."""
        cut = slice(first - self.first, end - self.first)
        episodes = tuple(episode for episode in self.episodes if first <= episode.first_seq < end)
        attributes = tuple(values[cut] for values in self.attributes)
        return Block(first, self.times[cut], self.kinds[cut], self.values[:, cut], episodes, attributes)


CHUNK_READINGS = 4096
"""Readings that are computed at once: their arrays stay in the processor's cache."""


class SignalGenerator:
    """The readings of one sensor in one epoch, which begins with reading `first_seq` at `start_us`."""

    def __init__(self, seed: int, identity: Identity, settings: Settings, first_seq: int, start_us: int) -> None:
        self.settings = settings
        self.schedule = Schedule(first_seq, start_us, settings.exact_rate)
        self._streams = RandomStreams(seed, identity.sensor_id)
        self._rate = float(settings.exact_rate)
        self._anomalies = AnomalyPlacement(self._streams, self.schedule, settings, identity.timezone)
        self._healthy = healthy_signal(seed, self._streams, identity, settings)
        self._attributes = AttributeColumns(self._streams, settings.channels, settings.attributes)
        self._lowest, self._highest, self._scales = shown_values(settings.channels)
        self._warm_ups = [
            (index, channel.instrument)
            for index, channel in enumerate(settings.channels)
            if channel.instrument.warm_up and channel.instrument.warm_up_seconds and not first_seq
        ]
        self._steps = [
            (index, channel.instrument.resolution)
            for index, channel in enumerate(settings.channels)
            if channel.instrument.resolution > 10.0**-channel.decimals
        ]

    def block(self, first: int, count: int) -> Block:
        """Compute readings `first` .. `first + count - 1`. `first` must be in the epoch, `count` at least 1."""
        times = self._measuring_times(first, count)
        prepared = self._healthy.prepare(times)
        values = np.empty((len(self.settings.channels), count))
        kinds = np.full(count, HEALTHY_INDEX, dtype=np.int8)
        begun: list[Episode] = []
        columns: list[tuple[AttributeColumn, ...]] = []
        for begin in range(0, count, CHUNK_READINGS):
            cut = slice(begin, min(begin + CHUNK_READINGS, count))
            healthy = self._healthy.readings(prepared, first + begin, begin, times[cut])
            self._add_warm_up(healthy.values, times[cut])
            begun += self._add_anomalies(first + begin, healthy, kinds[cut], times[cut])
            self._measure(healthy.values, values[:, cut])
            columns.append(self._attributes.values(first + begin, kinds[cut] >= 0, values[:, cut], healthy.events))
        attributes = tuple(joined(parts) for parts in zip(*columns, strict=True))
        return Block(first, times, kinds, values, tuple(begun), attributes)

    def _measuring_times(self, first: int, count: int) -> IntArray:
        """Return the times at which readings are measured: when they are due or, with jitter, earlier. They increase strictly,
        as no reading is a whole interval early. The first of the epoch has no jitter."""
        times = self.schedule.times(first, count)
        if self.settings.jitter:
            rate = self.settings.exact_rate
            interval = SECOND_US * rate.denominator // rate.numerator
            early = np.floor(self._streams.uniforms("jitter", first, count) * self.settings.jitter * interval)
            if first == self.schedule.first_seq:
                early[0] = 0
            times -= early.astype(np.int64)
        return times

    def _add_anomalies(
        self, first: int, healthy: HealthyReadings, kinds: npt.NDArray[np.int8], times: IntArray
    ) -> list[Episode]:
        """Change healthy values, their kinds and the recorded times by the episodes. Returns the episodes that begin."""
        begun: list[Episode] = []
        count = len(kinds)
        for placed in self._anomalies.between(first, first + count):
            cut = slice(max(placed.first_seq - first, 0), min(placed.last_seq + 1 - first, count))
            episode_first = max(placed.first_seq, self.schedule.first_seq)
            episode = placed.first_seq, episode_first, placed.last_seq
            segment = EpisodeSegment(self, healthy, times, first, cut, episode, self._rate)
            placed.kind.apply(segment, placed.channels, placed.parameters, placed.eligible)
            if self._anomalies.overlapping and placed.kind.channels != "none":
                kinds[cut][kinds[cut] == HEALTHY_INDEX] = placed.number  # a reading has the type that began first
            else:
                kinds[cut] = placed.number
            if first + cut.start == episode_first:
                begun.append(self._record(placed))
        return begun

    def anomaly_noise(self, first: int, count: int) -> Callable[[int], FloatArray] | None:
        """Return a function of the index of a channel: standard normals for an anomaly of some of its readings, independent of
        its healthy noise. None by the rules of version 1."""
        if self.settings.version == 1:
            return None
        names = self.settings.channels
        return lambda channel: self._streams.normals(f"{names[channel].name}/anomaly", first, count)

    def healthy_reading(self, seq: int) -> HealthyReadings:
        """Return one healthy reading."""
        times = self._measuring_times(seq, 1)
        healthy = self._healthy.readings(self._healthy.prepare(times), seq, 0, times)
        self._add_warm_up(healthy.values, times)
        return healthy

    def _add_warm_up(self, values: FloatArray, times: IntArray) -> None:
        """Add the errors of instruments that have been switched on with the first reading of all."""
        for index, instrument in self._warm_ups:
            warm_us = instrument.warm_up_seconds * SECOND_US
            if times[0] < self.schedule.start_us + warm_us:
                left = np.maximum(1.0 - (times - self.schedule.start_us) / warm_us, 0.0)
                values[index] += instrument.warm_up * left * left

    def _measure(self, values: FloatArray, out: FloatArray) -> None:
        """Write values as the instrument shows them: within its physical limits, with its resolution and decimals."""
        np.maximum(values, self._lowest, out=values)
        np.minimum(values, self._highest, out=values)
        for index, step in self._steps:
            steps = np.rint(values[index] / step) * step
            values[index] = np.minimum(np.maximum(steps, self._lowest[index]), self._highest[index])
        values *= self._scales
        np.rint(values, out=values)
        np.divide(values, self._scales, out=out)

    def episodes(self, first: int, end: int) -> list[Episode]:
        """Return the episodes that have a reading in `first` .. `end - 1`."""
        return [self._record(placed) for placed in self._anomalies.between(first, end)]

    def _record(self, placed: PlacedAnomaly) -> Episode:
        names = tuple(self.settings.channels[index].name for index in placed.channels)
        first = max(placed.first_seq, self.schedule.first_seq)
        return Episode(placed.kind.name, names, first, placed.last_seq, placed.parameters)


@lru_cache(maxsize=256)
def shown_values(channels: tuple[Channel, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the lowest and the highest values that the channels can show, and the steps in a unit by their decimals, shape
    (channels, 1) each, to be left unchanged."""
    lowest, highest = ([limits(channel)[side] for channel in channels] for side in (0, 1))
    return column_vector(lowest), column_vector(highest), column_vector([10.0**each.decimals for each in channels])


def limits(channel: Channel) -> tuple[float, float]:
    """Return the lowest and the highest value that a channel can show: by its physics and its instrument."""
    low, high = channel.instrument.lowest, channel.instrument.highest
    return (
        channel.lowest if low is None else max(low, channel.lowest),
        channel.highest if high is None else min(high, channel.highest),
    )

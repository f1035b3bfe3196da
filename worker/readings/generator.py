"""The signal generator: a reading is a pure function of seed, identity, settings and sequence number.

`SignalGenerator.block(first, count)` computes any range of readings; adjacent blocks of any sizes join bit for bit. It
uses no clock and no I/O. Live readings, backfill and verification share this code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.readings.anomalies import (
    ANOMALY_TYPES,
    AnomalyType,
    Draws,
    EligibleChannels,
    EpisodeSegment,
    MissingData,
    Parameters,
    build_anomaly,
    eligible_channels,
)
from worker.readings.attributes import AttributeColumns
from worker.readings.episodes import (
    MAX_EPISODE_READINGS,
    EpisodeLayout,
    NaturalEpisodes,
    OnsetLayout,
    PlacedEpisode,
    ShareLayout,
)
from worker.readings.healthy import HealthyReadings, column_vector, healthy_signal
from worker.readings.random_streams import FloatArray, RandomStreams, StreamPurpose
from worker.schedule import SECOND_US, IntArray, Schedule
from worker.spec import AnomalySpec, AttributeValue, Identity, Injection, Settings

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

    `times` (microseconds since 1970, UTC) and `kinds` (index into `worker.readings.anomalies.ANOMALY_TYPES`,
    HEALTHY_INDEX for none) have shape (count,), `values` (channels, count). Missing readings are included, marked by
    their kind. `episodes` are the ones that begin in the block. `attributes` has, for each of the settings' attributes, a
    list of `count` values.
    """

    first: int
    times: IntArray
    kinds: npt.NDArray[np.int8]
    values: FloatArray
    episodes: tuple[Episode, ...]
    attributes: tuple[list[AttributeValue], ...] = ()

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
        specs = tuple(spec for spec in settings.anomalies if spec.share > 0)
        self._kinds = tuple(
            (ANOMALY_TYPES.index(spec.kind), build_anomaly(spec), eligible_channels(spec, settings.channels))
            for spec in specs
        )
        self._episodes = self._lay_out(specs) if specs else None
        self._injected = self._inject(settings.injection) if settings.injection else None
        self._healthy = healthy_signal(seed, self._streams, identity, settings)
        self._attributes = AttributeColumns(self._streams, settings.channels, settings.attributes)
        self._physical = (
            column_vector([c.lowest for c in settings.channels]),
            column_vector([c.highest for c in settings.channels]),
        )
        self._scales = column_vector([10.0**c.decimals for c in settings.channels])
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
        times = self.schedule.times(first, count)
        prepared = self._healthy.prepare(times)
        values = np.empty((len(self.settings.channels), count))
        kinds = np.full(count, HEALTHY_INDEX, dtype=np.int8)
        begun: list[Episode] = []
        attributes: tuple[list[AttributeValue], ...] = tuple([] for _ in self.settings.attributes)
        for begin in range(0, count, CHUNK_READINGS):
            cut = slice(begin, min(begin + CHUNK_READINGS, count))
            healthy = self._healthy.readings(prepared, first + begin, begin, times[cut])
            begun += self._add_anomalies(first + begin, healthy, kinds[cut])
            self._measure(healthy.values, times[cut], values[:, cut])
            if attributes:
                columns = self._attributes.values(first + begin, kinds[cut] >= 0, values[:, cut], healthy.events)
                for column, more in zip(attributes, columns, strict=True):
                    column.extend(more)
        return Block(first, times, kinds, values, tuple(begun), attributes)

    def _add_anomalies(self, first: int, healthy: HealthyReadings, kinds: npt.NDArray[np.int8]) -> list[Episode]:
        """Change healthy values, and their kinds, by the episodes. Returns the episodes that begin."""
        begun: list[Episode] = []
        count = len(kinds)
        for placed, kind, number, eligible in self._placed(first, first + count):
            channels, parameters = kind.draw(placed.draws, eligible)
            low, high = max(placed.first_seq, first), min(placed.last_seq + 1, first + count)
            cut = slice(low - first, high - first)
            offset = np.arange(low - placed.first_seq, high - placed.first_seq, dtype=np.float64)
            length = placed.last_seq - placed.first_seq + 1
            episode_first = max(placed.first_seq, self.schedule.first_seq)
            segment = EpisodeSegment(
                healthy.base[:, cut],
                healthy.deviation[:, cut],
                healthy.values[:, cut],
                offset,
                length,
                self._rate,
                partial(self._noise_of_its_own, low, high - low) if self.settings.version > 1 else None,
                partial(self._healthy_reading, episode_first),
            )
            kind.apply(segment, channels, parameters, eligible)
            kinds[cut] = number
            episode = self._record(placed, kind.name, channels, parameters)
            if low == episode.first_seq:
                begun.append(episode)
        return begun

    def _noise_of_its_own(self, first: int, count: int, channel: int) -> FloatArray:
        """Return standard normals for an anomaly of some readings of a channel, independent of its healthy noise."""
        return self._streams.normals(f"{self.settings.channels[channel].name}/anomaly", first, count)

    def _healthy_reading(self, seq: int) -> HealthyReadings:
        """Return one healthy reading."""
        times = self.schedule.times(seq, 1)
        return self._healthy.readings(self._healthy.prepare(times), seq, 0, times)

    def _measure(self, values: FloatArray, times: IntArray, out: FloatArray) -> None:
        """Write values as the instrument shows them: within its physical limits, with its resolution and decimals."""
        for index, instrument in self._warm_ups:
            warm_us = instrument.warm_up_seconds * SECOND_US
            if times[0] < self.schedule.start_us + warm_us:
                left = np.maximum(1.0 - (times - self.schedule.start_us) / warm_us, 0.0)
                values[index] += instrument.warm_up * left * left
        np.maximum(values, self._physical[0], out=values)
        np.minimum(values, self._physical[1], out=values)
        for index, step in self._steps:
            values[index] = np.rint(values[index] / step) * step
        values *= self._scales
        np.rint(values, out=values)
        np.divide(values, self._scales, out=out)

    def episodes(self, first: int, end: int) -> list[Episode]:
        """Return the episodes that have a reading in `first` .. `end - 1`."""
        result = []
        for placed, kind, _, eligible in self._placed(first, end):
            channels, parameters = kind.draw(placed.draws, eligible)
            result.append(self._record(placed, kind.name, channels, parameters))
        return result

    def _record(self, placed: PlacedEpisode, kind: str, channels: tuple[int, ...], parameters: Parameters) -> Episode:
        names = tuple(self.settings.channels[index].name for index in channels)
        return Episode(kind, names, max(placed.first_seq, self.schedule.first_seq), placed.last_seq, parameters)

    def _placed(self, first: int, end: int) -> Iterator[tuple[PlacedEpisode, AnomalyType, int, EligibleChannels]]:
        if self._injected:
            placed = self._injected[0]
            if placed.first_seq < end and first <= placed.last_seq:
                yield self._injected
        elif self._episodes:
            for placed in self._episodes.between(first, end):
                number, kind, eligible = self._kinds[placed.kind]
                # The first reading of an epoch is never missing, so that the start of a sensor is visible.
                if not (number == MISSING_DATA_INDEX and placed.first_seq <= self.schedule.first_seq):
                    yield placed, kind, number, eligible

    def _inject(self, injection: Injection) -> tuple[PlacedEpisode, AnomalyType, int, EligibleChannels]:
        """Return the episode of an injection. One that began before the epoch continues with the same draws."""
        first = self.schedule.seq_after(injection.from_us - 1)
        last = self.schedule.seq_after(injection.until_us - 1) - 1
        draws = Draws(*self._streams.generator(StreamPurpose.INJECTION, injection.from_us).random(4).tolist())
        if injection.sized:
            draws = draws._replace(size=1.0, sign=0.0)
        eligible = eligible_channels(injection.anomaly, self.settings.channels)
        if injection.channel is not None:
            names = [channel.name for channel in self.settings.channels]
            eligible = eligible._replace(only=names.index(injection.channel))
        kind = ANOMALY_TYPES.index(injection.anomaly.kind)
        return PlacedEpisode(kind, first, last, draws), build_anomaly(injection.anomaly), kind, eligible

    def _lay_out(self, specs: tuple[AnomalySpec, ...]) -> NaturalEpisodes:
        lengths = tuple(episode_readings(spec, self._rate) for spec in specs)
        shares = tuple(spec.share for spec in specs)
        layout: EpisodeLayout = (
            ShareLayout(shares, lengths) if self.settings.mode == "share" else OnsetLayout(shares, lengths)
        )
        return NaturalEpisodes(self._streams, self.schedule.first_seq, layout, lengths)


def episode_readings(spec: AnomalySpec, rate: float) -> int:
    """Return the number of readings of an episode of a kind."""
    length = spec.duration * rate if spec.unit == "seconds" else spec.duration
    return max(1, min(round(length), MAX_EPISODE_READINGS))

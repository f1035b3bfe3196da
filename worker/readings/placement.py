"""The anomalies of one sensor in one epoch: which episode affects which readings and channels.

An injection excludes all others. Without one, episodes come from `worker.readings.random_episodes`, or from the layouts of
`worker.readings.episodes` if they are placed evenly. Usually a sensor has one layout, and episodes do not overlap. With `overlap` "channels" each channel has a layout of its own for the types that affect one
channel, and a further layout has the types that affect several or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from worker.readings.anomalies import ANOMALY_TYPES, MissingData, build_anomaly, eligible_channels
from worker.readings.anomaly_type import (
    MAX_EPISODE_READINGS,
    AnomalyType,
    Draws,
    EligibleChannels,
    Parameters,
    sum_in_order,
)
from worker.readings.clock_errors import ClockError
from worker.readings.episodes import (
    EpisodeLayout,
    NaturalEpisodes,
    OnsetLayout,
    PlacedEpisode,
    ShareLayout,
)
from worker.readings.random_episodes import OnsetProcess, OnsetRule, RandomEpisodes, cells_of_span
from worker.readings.random_streams import RandomStreams, StreamPurpose
from worker.readings.seasonality import utc_offsets
from worker.schedule import SECOND_US, Schedule
from worker.spec import AnomalySpec, Injection, Settings

LAYER_SHIFT = 40
"""The bits by which the purposes of streams differ between layers. Purposes of channels are larger than those."""

MIN_HEALTHY_SHARE = 0.01
"""The share of healthy readings by which placement at random computes at least; a config leaves a tenth."""

LENGTHS = 16
"""The lengths of episodes that vary."""

EXPONENTIAL_QUANTILES = (
    0.032446,
    0.100603,
    0.173632,
    0.252284,
    0.337497,
    0.430468,
    0.532750,
    0.646419,
    0.774332,
    0.920577,
    1.091302,
    1.296381,
    1.553217,
    1.897082,
    2.419130,
    3.541880,
)
"""The quantiles (2 i + 1) / 32 of the exponential distribution, divided by their mean: -ln(1 - q) / 0.97850, as numbers,
because the last bit of a logarithm depends on the library."""


class LayerStreams:
    """The streams of one layer of a sensor, independent of those of its other layers."""

    def __init__(self, streams: RandomStreams, layer: int) -> None:
        self._streams, self._offset = streams, layer << LAYER_SHIFT

    def generator(self, purpose: int, page: int, epoch: int = 0) -> Generator:
        return self._streams.generator(purpose + self._offset, page, epoch)


class PlacedAnomaly(NamedTuple):
    """An episode with its type: an index into ANOMALY_TYPES and an object. The sequence numbers are inclusive; `first_seq` may be
    before the epoch."""

    number: int
    kind: AnomalyType
    eligible: EligibleChannels
    first_seq: int
    last_seq: int
    channels: tuple[int, ...]
    parameters: Parameters


class Candidate(NamedTuple):
    """A type as a layout places it. `eligible` may confine it to one channel. `complete` adds to the parameters of an episode
    with that first and last reading what follows from its place."""

    number: int
    kind: AnomalyType
    eligible: EligibleChannels
    complete: Callable[[Parameters, int, int], Parameters] | None = None

    def placed(self, episode: PlacedEpisode) -> PlacedAnomaly:
        first, last = episode.first_seq, episode.last_seq
        channels, parameters = self.kind.draw(episode.draws, self.eligible)
        if self.complete is not None:
            parameters = self.complete(parameters, first, last)
        return PlacedAnomaly(self.number, self.kind, self.eligible, first, last, channels, parameters)


class AnomalyLayer:
    """One layout of a sensor, and its types."""

    def __init__(
        self,
        streams: RandomStreams,
        schedule: Schedule,
        settings: Settings,
        timezone: str,
        specs: tuple[AnomalySpec, ...],
        channel: int | None = None,
    ) -> None:
        own_streams = LayerStreams(streams, 0 if channel is None else channel + 1)
        place = random_episodes if settings.placement == "random" else even_episodes
        self._episodes = place(own_streams, schedule.first_seq, settings, specs)
        self._candidates = [candidate(spec, schedule, settings, timezone, channel) for spec in specs]
        self._first = schedule.first_seq

    def between(self, first: int, end: int) -> Iterator[PlacedAnomaly]:
        for episode in self._episodes.between(first, end):
            chosen = self._candidates[episode.kind]
            # The first reading of an epoch is never missing, so that the start of a sensor is visible.
            if not (isinstance(chosen.kind, MissingData) and episode.first_seq <= self._first):
                yield chosen.placed(episode)


def even_episodes(
    streams: LayerStreams, epoch: int, settings: Settings, specs: tuple[AnomalySpec, ...]
) -> NaturalEpisodes:
    rate = float(settings.exact_rate)
    lengths = tuple(episode_readings(spec, rate) for spec in specs)
    shares = tuple(spec.share for spec in specs)
    layout: EpisodeLayout = ShareLayout(shares, lengths) if settings.mode == "share" else OnsetLayout(shares, lengths)
    return NaturalEpisodes(streams, epoch, layout, lengths)


def random_episodes(
    streams: LayerStreams, epoch: int, settings: Settings, specs: tuple[AnomalySpec, ...]
) -> RandomEpisodes:
    """Return the episodes of a sensor at random places, with a process for each length of the episodes of each type.

    In mode `share` a type with a share s of all readings, episodes of n readings on average, and a share h of healthy readings
    begins s / (n h) episodes per healthy reading.
    """
    healthy = max(1.0 - sum_in_order(spec.share for spec in specs), MIN_HEALTHY_SHARE)
    rules = []
    for kind, spec in enumerate(specs):
        lengths = episode_lengths(spec, float(settings.exact_rate))
        mean = sum(lengths) / len(lengths)
        onsets = spec.share if settings.mode == "onset" else spec.share / (mean * healthy)
        cells = cells_of_span(mean, len(lengths))
        for number, length in enumerate(lengths):
            name = spec.kind if len(lengths) == 1 else f"{spec.kind}/{number}"
            rules.append(OnsetRule(name, kind, onsets / len(lengths), length, cells))
    origin = streams.generator(StreamPurpose.LAYOUT, 0, epoch).random()
    processes = [OnsetProcess(streams, epoch, rule, origin) for rule in rules]
    return RandomEpisodes(epoch, processes, sum_in_order(rule.rate for rule in rules))


class AnomalyPlacement:
    """The anomalies of one sensor, in that time zone, in one epoch."""

    def __init__(self, streams: RandomStreams, schedule: Schedule, settings: Settings, timezone: str) -> None:
        self._first = schedule.first_seq
        self._injected = placed_injection(streams, schedule, settings, timezone) if settings.injection else None
        self._layers: list[AnomalyLayer] = []
        specs = tuple(spec for spec in settings.anomalies if spec.share > 0)
        if settings.injection or not specs:
            return
        if settings.overlap == "none":
            self._layers.append(AnomalyLayer(streams, schedule, settings, timezone, specs))
            return
        for channel in (None, *range(len(settings.channels))):
            chosen = specs_of_layer(specs, settings, channel)
            if chosen:
                self._layers.append(AnomalyLayer(streams, schedule, settings, timezone, chosen, channel))

    @property
    def overlapping(self) -> bool:
        return len(self._layers) > 1

    def between(self, first: int, end: int) -> list[PlacedAnomaly]:
        """Return the anomalies that have a reading in `first` .. `end - 1`, in the order of their first readings."""
        if self._injected:
            touched = self._injected.first_seq < end and first <= self._injected.last_seq
            return [self._injected] if touched else []
        if not self.overlapping:
            return [placed for layer in self._layers for placed in layer.between(first, end)]
        found = [
            kept
            for number, layer in enumerate(self._layers)
            for placed in layer.between(first, end)
            if (kept := self._without_conflicts(number, placed)) is not None
        ]
        return sorted(found, key=lambda placed: max(placed.first_seq, self._first))

    def _without_conflicts(self, number: int, placed: PlacedAnomaly) -> PlacedAnomaly | None:
        """Return an anomaly of the layer of that number as it takes place beside the others. None if another begins with the same
        reading, because a record is known by its sensor and its first reading, or if no channel is left for it."""
        begin = max(placed.first_seq, self._first)
        for layer in self._layers[:number]:
            if any(max(other.first_seq, self._first) == begin for other in layer.between(begin, begin + 1)):
                return None
        if len(placed.channels) < 2:
            return placed
        others = (
            other.channels
            for layer in self._layers
            for other in layer.between(begin, placed.last_seq + 1)
            if layer is not self._layers[number]
        )
        taken = {channel for channels in others for channel in channels}
        left = tuple(channel for channel in placed.channels if channel not in taken)
        return placed._replace(channels=left) if left else None


def specs_of_layer(specs: tuple[AnomalySpec, ...], settings: Settings, channel: int | None) -> tuple[AnomalySpec, ...]:
    """Return the types of the layer of a channel with their shares there; those that affect several channels or none if
    `channel` is None."""
    chosen = []
    for spec in specs:
        kind = build_anomaly(spec)
        if channel is None:
            if kind.channels != "one":
                chosen.append(spec)
        elif kind.channels == "one":
            odds = eligible_channels(spec, settings.channels).odds_where(kind.suits)
            share = spec.share * odds[channel] / sum_in_order(odds) if any(odds) else 0.0
            if share > 0:
                chosen.append(replace(spec, share=share))
    return tuple(chosen)


def candidate(
    spec: AnomalySpec, schedule: Schedule, settings: Settings, timezone: str, channel: int | None
) -> Candidate:
    eligible, kind = eligible_channels(spec, settings.channels)._replace(only=channel), build_anomaly(spec)
    complete = partial(clock_parameters, kind, schedule, timezone) if isinstance(kind, ClockError) else None
    return Candidate(ANOMALY_TYPES.index(spec.kind), kind, eligible, complete)


def clock_parameters(
    kind: ClockError, schedule: Schedule, timezone: str, parameters: Parameters, first: int, last: int
) -> Parameters:
    """Return the parameters of an episode of a wrong clock that are recorded."""
    begin = max(first, schedule.first_seq)
    time = np.array([schedule.time(begin)], dtype=np.int64)
    offset = int(utc_offsets(time, timezone)[0]) / SECOND_US
    return kind.complete(parameters, last - first + 1, begin - first, offset)


def placed_injection(streams: RandomStreams, schedule: Schedule, settings: Settings, timezone: str) -> PlacedAnomaly:
    """Return the episode of an injection. One that began before the epoch continues with the same draws."""
    injection = settings.injection
    assert injection is not None
    first = schedule.seq_after(injection.from_us - 1)
    last = schedule.seq_after(injection.until_us - 1) - 1
    draws = Draws(*streams.generator(StreamPurpose.INJECTION, injection.from_us).random(4).tolist())
    if injection.sized:
        draws = draws._replace(size=1.0, sign=0.0)
    chosen = candidate(injection.anomaly, schedule, settings, timezone, injected_channel(injection, settings))
    return chosen.placed(PlacedEpisode(0, first, last, draws))


def injected_channel(injection: Injection, settings: Settings) -> int | None:
    if injection.channel is None:
        return None
    return [channel.name for channel in settings.channels].index(injection.channel)


def episode_readings(spec: AnomalySpec, rate: float) -> int:
    """Return the number of readings of an episode of a kind."""
    return bounded_length(spec.duration, spec, rate)


def episode_lengths(spec: AnomalySpec, rate: float) -> tuple[int, ...]:
    """Return the lengths of episodes of a kind in readings, which are equally frequent: one, or LENGTHS quantiles."""
    match spec.lengths:
        case "fixed":
            durations = [spec.duration]
        case "uniform":
            width = spec.longest - spec.duration
            durations = [spec.duration + width * (2 * number + 1) / (2 * LENGTHS) for number in range(LENGTHS)]
        case "exponential":
            durations = [spec.duration * quantile for quantile in EXPONENTIAL_QUANTILES]
    return tuple(bounded_length(duration, spec, rate) for duration in durations)


def bounded_length(duration: float, spec: AnomalySpec, rate: float) -> int:
    length = duration * rate if spec.unit == "seconds" else duration
    return max(1, min(round(length), MAX_EPISODE_READINGS))

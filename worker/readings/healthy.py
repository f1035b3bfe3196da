"""The healthy signal of a sensor, before anomalies: one class for each version of the rules.

`WhiteNoise` is version 1: the mean with its rhythms, and white noise. `ComposedSignal` is version 2: the movements of
`worker.readings.movement`, events of the weather, walks, and white noise for the rest. A version never changes: epochs of
older databases are computed by their own.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from worker.readings.movement import Interpolation, Movement
from worker.readings.random_streams import FloatArray, RandomStreams
from worker.readings.seasonality import daily_pattern, working_hours_level, yearly_pattern
from worker.readings.signals import WEATHER_EVENTS, Uniform, Walk, WeatherEvents, build_signal, noise_share
from worker.readings.weather import NO_EVENT, EventCalendar, place_of
from worker.schedule import IntArray
from worker.spec import Channel, Identity, Settings


class HealthyReadings(NamedTuple):
    """Healthy readings: the mean with all slow movement, the noise around it, and the values, clipped to the bounds; all have
    shape (channels, readings). `events` has the weather event of each reading, NO_EVENT or an index into WEATHER_EVENTS; None
    if the sensor knows no events."""

    base: FloatArray
    deviation: FloatArray
    values: FloatArray
    events: npt.NDArray[np.int8] | None = None


class HealthySignal(Protocol):
    """The healthy signal of one sensor in one epoch."""

    def prepare(self, times: IntArray) -> Interpolation | None:
        """Compute the slow part of consecutive readings due at `times`, which are then asked for in portions."""

    def readings(self, prepared: Interpolation | None, first_seq: int, offset: int, times: IntArray) -> HealthyReadings:
        """Compute the readings from `first_seq` on, due at `times`; `offset` is the number of the first among the prepared."""


class WhiteNoise:
    """Version 1: mean, daily pattern, working hours and season, with Gaussian noise drawn for each reading."""

    def __init__(self, streams: RandomStreams, identity: Identity, settings: Settings) -> None:
        self._streams, self._timezone, self._settings = streams, identity.timezone, settings
        self._bounds = bounds(settings.channels)
        self._yearly = yearly_amplitudes(settings.channels)

    def prepare(self, times: IntArray) -> None:
        """Do nothing: there is no slow part."""

    def readings(self, prepared: Interpolation | None, first_seq: int, offset: int, times: IntArray) -> HealthyReadings:
        base, deviation = self._base_and_noise(first_seq, times)
        values = np.minimum(np.maximum(base + deviation, self._bounds[0]), self._bounds[1])
        if self._yearly is not None:  # after clipping: the bounds move with the season
            season = self._yearly * yearly_pattern(times)
            base, values = base + season, values + season
        return HealthyReadings(base, deviation, values)

    def _base_and_noise(self, first: int, times: IntArray) -> tuple[FloatArray, FloatArray]:
        channels = self._settings.channels
        base = np.repeat(column_vector([c.mean for c in channels]), len(times), axis=1)
        deviation = np.empty_like(base)
        daily = daily_pattern(times, self._timezone) if any(c.daily_amplitude for c in channels) else None
        hours = self._settings.working_hours
        work = working_hours_level(times, self._timezone, hours) if any(c.working_hours for c in channels) else None
        for index, channel in enumerate(channels):
            deviation[index] = self._streams.normals(channel.name, first, len(times)) * channel.std_dev
            if daily is not None and channel.daily_amplitude:
                base[index] += daily * channel.daily_amplitude
            if work is not None and channel.working_hours:
                base[index] += work * channel.working_hours
        return base, deviation


class ComposedSignal:
    """Version 2: slow movements at knots, walks and weather events, and white noise for the rest of the variance."""

    def __init__(self, seed: int, streams: RandomStreams, identity: Identity, settings: Settings) -> None:
        self._streams, self._channels = streams, settings.channels
        place = place_of(seed, identity)
        self._movement = Movement(streams, place, identity, settings)
        self._bounds = bounds(settings.channels)
        self._yearly = yearly_amplitudes(settings.channels)
        self._noise = [channel.std_dev * sqrt(noise_share(channel)) for channel in settings.channels]
        self._walks: list[tuple[int, BoundedWalk]] = []
        self._uniforms: list[tuple[int, str, float]] = []
        self._events: list[tuple[int, EventCalendar, FloatArray]] = []
        calendars: dict[tuple[float, ...], EventCalendar] = {}
        for index, channel in enumerate(settings.channels):
            for signal in (build_signal(spec) for spec in channel.signals):
                deviation = channel.std_dev * sqrt(signal.share)
                if isinstance(signal, Walk) and deviation:
                    self._walks.append((index, BoundedWalk(streams, channel, signal.number("step"), deviation)))
                elif isinstance(signal, Uniform) and deviation:
                    self._uniforms.append((index, f"{channel.name}/uniform", deviation))
                elif isinstance(signal, WeatherEvents):
                    key = tuple(signal.number(name) for name in ("interval", "shortest", "longest"))
                    calendar = calendars.setdefault(key, EventCalendar(streams, place, signal))
                    effects = np.array([*(signal.number(event) for event in WEATHER_EVENTS), 0.0])
                    self._events.append((index, calendar, effects))

    def prepare(self, times: IntArray) -> Interpolation:
        return self._movement.at(times)

    def readings(self, prepared: Interpolation | None, first_seq: int, offset: int, times: IntArray) -> HealthyReadings:
        assert prepared is not None
        base, count = prepared.values(offset, times), len(times)
        deviation = np.empty_like(base)
        for index, (channel, noise) in enumerate(zip(self._channels, self._noise, strict=True)):
            if noise:
                np.multiply(self._streams.normals(channel.name, first_seq, count), noise, out=deviation[index])
            else:
                deviation[index] = 0.0
        for index, stream, scale in self._uniforms:
            deviation[index] += (self._streams.uniforms(stream, first_seq, count) - 0.5) * (scale * sqrt(12.0))
        events = self._add_events(base, times)
        for index, walk in self._walks:
            base[index] = walk.reflected(base[index] + walk.steps(first_seq, count))
        values = base + deviation
        np.maximum(values, self._bounds[0], out=values)
        np.minimum(values, self._bounds[1], out=values)
        if self._yearly is not None:  # after clipping: the bounds move with the season
            season = self._yearly * yearly_pattern(times)
            base += season
            values += season
        return HealthyReadings(base, deviation, values, events)

    def _add_events(self, base: FloatArray, times: IntArray) -> npt.NDArray[np.int8] | None:
        """Add the effects of weather events to the base. Returns the events of the first channel that knows any."""
        known: dict[int, tuple[npt.NDArray[np.int8], FloatArray]] = {}
        first = None
        for index, calendar, effects in self._events:
            if id(calendar) not in known:
                known[id(calendar)] = calendar.at(times)
            kinds, strength = known[id(calendar)]
            if first is None:
                first = kinds
            if (kinds != NO_EVENT).any():
                base[index] += effects[kinds] * strength
        return first


class BoundedWalk:
    """A random walk without history. Position `seq` is the sum of the last `memory` increments, integers drawn uniformly, so a
    step is the newest minus the one that drops out: at most `step`. The deviation is step / 2 x sqrt(memory / 3)."""

    HALF = 1 << 20

    def __init__(self, streams: RandomStreams, channel: Channel, step: float, deviation: float) -> None:
        self._streams, self._stream = streams, f"{channel.name}/walk"
        self._low, self._high = channel.minimum, channel.maximum
        self._memory = min(max(round(12.0 * (deviation / step) * (deviation / step)), 1), 1 << 16)
        self._unit = step / (2 * self.HALF)

    def steps(self, first: int, count: int) -> FloatArray:
        """Return positions `first` .. `first + count - 1`, around 0, in the channel's unit."""
        draws = self._streams.uniforms(self._stream, first - self._memory, count + self._memory)
        increments = np.floor(draws * (2 * self.HALF + 1)).astype(np.int64) - self.HALF
        sums = np.cumsum(increments)
        return (sums[self._memory :] - sums[: -self._memory]).astype(np.float64) * self._unit

    def reflected(self, values: FloatArray) -> FloatArray:
        """Return values reflected at the channel's bounds, which keeps the size of steps."""
        values = np.where(values > self._high, 2.0 * self._high - values, values)
        return np.where(values < self._low, 2.0 * self._low - values, values)


def healthy_signal(seed: int, streams: RandomStreams, identity: Identity, settings: Settings) -> HealthySignal:
    """Return the healthy signal of a sensor by the version of its settings."""
    if settings.version == 1:
        return WhiteNoise(streams, identity, settings)
    return ComposedSignal(seed, streams, identity, settings)


@lru_cache(maxsize=256)
def bounds(channels: tuple[Channel, ...]) -> tuple[FloatArray, FloatArray]:
    """Return the least and the greatest healthy values of the channels, shape (channels, 1) each, to be left unchanged."""
    return column_vector([c.minimum for c in channels]), column_vector([c.maximum for c in channels])


def yearly_amplitudes(channels: tuple[Channel, ...]) -> FloatArray | None:
    """Return the yearly amplitudes of the channels, shape (channels, 1); None if all are 0."""
    amplitudes = [channel.yearly_amplitude for channel in channels]
    return column_vector(amplitudes) if any(amplitudes) else None


def column_vector(numbers: list[float]) -> FloatArray:
    """Return numbers as an array of shape (len(numbers), 1)."""
    return np.array(numbers, dtype=np.float64).reshape(-1, 1)

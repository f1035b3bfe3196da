"""The slow part of a healthy signal: the mean of each channel, its rhythms and its movements.

All of it is a function of time that is computed at knots, KNOT_US apart, and interpolated linearly between them. So any range of
readings can be computed from its times alone, and adjacent ranges join bit for bit.

A movement is a sum of octaves. An octave is a grid of nodes in time, each with an addressed normal; between two nodes their
values are blended by smoothstep weights, divided by the root of the sum of their squares, so that the variance is the same
everywhere. The period of each octave is a quarter of that before, and so is its variance (the spectrum of a random walk).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache, lru_cache, partial
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from worker.readings.random_streams import NODES_PER_PAGE, FloatArray, RandomStreams, StreamPurpose, stream_purpose
from worker.readings.seasonality import (
    DAY_US,
    HOUR_US,
    WEEKDAY_OF_1970_01_01,
    YEAR_US,
    sine,
    utc_offsets,
    working_hours_level,
)
from worker.readings.signals import (
    QUANTITIES,
    Drift,
    Follows,
    Machine,
    Signal,
    Slow,
    Weather,
    Weekly,
    build_signal,
    dependence_order,
)
from worker.readings.weather import Place
from worker.schedule import SECOND_US, IntArray
from worker.spec import Channel, Identity, Settings

KNOT_US = 30 * SECOND_US
"""The distance of knots. Nothing moves faster than this: what does is noise."""
KNOTS_PER_PAGE = 64
CACHED_OCTAVES = 8
"""Octaves that are kept, 8 KB each: those that the sensors of one kind need at the same time."""
CACHED_RANGES = 16
"""Octaves of long ranges that are kept while many readings are computed at once: sensors that take turns share them."""
NODE_MASK = NODES_PER_PAGE - 1
NODE_BITS = NODE_MASK.bit_length()
OCTAVES, OCTAVE_RATIO = 4, 4
MIN_OCTAVE_US = 2 * KNOT_US
RESPONSE_STEPS = 8
"""Steps in which a level follows a change of the machine's state."""
WORKDAYS = 5
WEEKEND_RAMP_US = 3 * HOUR_US

Nodes = Callable[[int, list[int]], FloatArray]
"""Returns the normals of the nodes of some pages of an octave: (octave, pages)."""


class Octave(NamedTuple):
    """The nodes before and after a number of times: their `pages`, their positions in these, and their weights."""

    pages: list[int]
    left: IntArray
    right: IntArray
    left_weight: FloatArray
    right_weight: FloatArray


class Octaves:
    """The octaves of a correlation time at given times, shared by all movements with that correlation time."""

    def __init__(self, correlation_us: int, times: IntArray) -> None:
        periods = [max(correlation_us // OCTAVE_RATIO**number, 1) for number in range(OCTAVES)]
        self._octaves = [
            self._octave(period, times) for period in periods if period >= MIN_OCTAVE_US or period == periods[0]
        ]
        variances = [1 / OCTAVE_RATIO**number for number in range(len(self._octaves))]
        total = sum(variances)  # exact: powers of two
        self._amplitudes = [sqrt(variance / total) for variance in variances]

    def movement(self, nodes: Nodes) -> FloatArray:
        """Return a movement of mean 0 and variance 1 at the times, from its nodes."""
        result = np.zeros(len(self._octaves[0].left))
        for number, (octave, amplitude) in enumerate(zip(self._octaves, self._amplitudes, strict=True)):
            normals = nodes(number, octave.pages) * amplitude
            result += normals[octave.left] * octave.left_weight
            result += normals[octave.right] * octave.right_weight
        return result

    def _octave(self, period: int, times: IntArray) -> Octave:
        node = times // period
        position = (times - node * period).astype(np.float64) / period
        right = position * position * (3.0 - 2.0 * position)
        left = 1.0 - right
        norm = np.sqrt(left * left + right * right)
        page, next_page = node >> NODE_BITS, node + 1 >> NODE_BITS
        pages = np.concatenate((distinct(page), distinct(next_page)))
        pages.sort()
        pages = distinct(pages)
        return Octave(
            pages.tolist(),
            pages.searchsorted(page) * NODES_PER_PAGE + (node & NODE_MASK),
            pages.searchsorted(next_page) * NODES_PER_PAGE + (node + 1 & NODE_MASK),
            left / norm,
            right / norm,
        )


def distinct(increasing: IntArray) -> IntArray:
    """Return the distinct numbers of an increasing array."""
    is_first = np.empty(len(increasing), dtype=np.bool_)
    is_first[0] = True
    np.not_equal(increasing[1:], increasing[:-1], out=is_first[1:])
    return increasing[is_first]


OctavesAt = Callable[[int, int], Octaves]
"""Returns the octaves of a correlation time at certain times, delayed: (correlation, delay)."""


def page_times(page: int) -> IntArray:
    """Return the times of the knots of a page, with the first one of the next."""
    begin = page * KNOTS_PER_PAGE
    return knot_times(begin, begin + KNOTS_PER_PAGE + 1)


@lru_cache(maxsize=CACHED_OCTAVES)
def page_octaves(page: int, correlation: int, delay: int) -> Octaves:
    """Return the octaves at the knots of a page: the sensors of a process share them."""
    return Octaves(correlation, page_times(page) - delay)


@lru_cache(maxsize=CACHED_RANGES)
def range_octaves(first: int, end: int, step: int, correlation: int, delay: int) -> Octaves:
    """Return the octaves at each `step`-th of the knots `first` .. `end - 1`."""
    return Octaves(correlation, knot_times(first, end, step) - delay)


def knot_times(first: int, end: int, step: int = 1) -> IntArray:
    return np.arange(first, end, step, dtype=np.int64) * KNOT_US


def step_of_knots(times: IntArray) -> int:
    """Return how many knots lie between two of the times if all are on knots at equal distances, else 0."""
    if len(times) < 2 or times[0] % KNOT_US or (times[1] - times[0]) % KNOT_US:
        return 0
    distances = np.diff(times)
    return int(distances[0]) // KNOT_US if (distances == distances[0]).all() else 0


class Movement:
    """The slow part of the healthy signals of a sensor. `channels` are those of the settings."""

    def __init__(self, streams: RandomStreams, place: Place, identity: Identity, settings: Settings) -> None:
        self._streams, self._place = streams, place
        self._timezone, self._hours = identity.timezone, settings.working_hours
        self._made_us = made_us(identity)
        self._channels = settings.channels
        self._order = dependence_order(settings.channels)
        self._signals = [tuple(build_signal(spec) for spec in channel.signals) for channel in settings.channels]
        self._instruments = [unit_errors(streams, channel) for channel in settings.channels]
        self._page: tuple[int, FloatArray] = (-1, np.empty((0, 0)))

    def at(self, times: IntArray) -> Interpolation:
        """Prepare the values at increasing times."""
        first, last = int(times[0]) // KNOT_US, int(times[-1]) // KNOT_US
        step = step_of_knots(times) if last // KNOTS_PER_PAGE != first // KNOTS_PER_PAGE else 0
        if step:  # the knots between and behind would be multiplied by 0
            left = self._at_knots(times, partial(range_octaves, first, last + 1, step))
            return Interpolation(left + 0.0, np.zeros((1, len(times))), None)
        if last - first > 2 * len(times):  # sparse: most knots would not be used
            before = times // KNOT_US
            left = self._at_knots(before * KNOT_US)
            right = self._at_knots((before + 1) * KNOT_US)
            return Interpolation(left, right - left, None)
        page = first // KNOTS_PER_PAGE
        if last // KNOTS_PER_PAGE == page:
            if self._page[0] != page:
                range_octaves.cache_clear()  # readings are computed as they become due
                self._page = page, self._at_knots(page_times(page), partial(page_octaves, page))
            offset = first - page * KNOTS_PER_PAGE
            values = self._page[1][:, offset : offset + last - first + 2]
        else:
            values = self._at_knots(knot_times(first, last + 2), partial(range_octaves, first, last + 2, 1))
        return Interpolation(values[:, :-1], values[:, 1:] - values[:, :-1], first)

    def _at_knots(self, times: IntArray, octaves: OctavesAt | None = None) -> FloatArray:
        """Compute the values of all channels at increasing times, shape (channels, times). `octaves` are those of the times, if
        they are known."""
        context = KnotContext(self._streams, self._place, times, octaves)
        values = np.empty((len(self._channels), len(times)))
        movements: dict[str, FloatArray] = {}
        for index in self._order:
            channel, (offset, gain) = self._channels[index], self._instruments[index]
            delay = round(channel.instrument.response * SECOND_US)
            movement = self._deviation(context, channel.name, self._signals[index], movements, delay)
            movements[channel.name] = movement
            value = channel.mean + channel.std_dev * movement
            value += self._rhythms(context.times(delay), channel, self._signals[index])
            values[index] = value * (1.0 + gain) + offset
        return values

    def _deviation(
        self, context: KnotContext, name: str, signals: tuple[Signal, ...], movements: dict[str, FloatArray], delay: int
    ) -> FloatArray:
        """Compute the movement of a channel in standard deviations."""
        result = np.zeros(context.count)
        for signal in signals:
            if isinstance(signal, Slow):
                result += sqrt(signal.share) * context.slow(f"{name}/slow", seconds(signal, "correlation"), delay)
            elif isinstance(signal, Weather):
                correlation = seconds(signal, "correlation")
                result += sqrt(signal.share) * context.weather(str(signal.values["quantity"]), correlation, delay)
            elif isinstance(signal, Machine):
                result += sqrt(signal.share) * machine_level(signal, context, delay)
            elif isinstance(signal, Follows) and signal.values["channel"] in movements:
                leader = movements[str(signal.values["channel"])]
                result += signal.number("correlation") / self._scale(str(signal.values["channel"])) * leader
        return result

    def _scale(self, name: str) -> float:
        """Return the standard deviation of the movement of a channel, in standard deviations of the channel; 1 if it has none."""
        index = [channel.name for channel in self._channels].index(name)
        moving = 0.0
        for signal in self._signals[index]:
            moving += signal.share if isinstance(signal, Slow | Weather | Machine | Follows) else 0.0
        return sqrt(moving) or 1.0

    def _rhythms(self, times: IntArray, channel: Channel, signals: tuple[Signal, ...]) -> FloatArray | float:
        """Compute what comes on top of the movement: the time of day and of the week, working hours, age."""
        result: FloatArray | float = 0.0
        if channel.daily_amplitude:
            result = result + channel.daily_amplitude * daily_rhythm(times, self._timezone, channel)
        if channel.working_hours:
            result = result + channel.working_hours * working_hours_level(times, self._timezone, self._hours)
        for signal in signals:
            if isinstance(signal, Weekly):
                amplitude = signal.number("amplitude") * channel.std_dev
                result = result + amplitude * weekly_rhythm(times, self._timezone)
            elif isinstance(signal, Drift):
                generator = self._streams.generator(stream_purpose(f"{channel.name}/drift"), 0)
                rate = (2.0 * float(generator.random()) - 1.0) * signal.number("per_year")
                result = result + rate * ((times - self._made_us).astype(np.float64) / YEAR_US)
        return result


class Interpolation(NamedTuple):
    """The values of channels at knots: `left` and the difference to the next, shape (channels, knots). `first_knot` is the
    number of the first knot; None if each reading has a knot of its own."""

    left: FloatArray
    difference: FloatArray
    first_knot: int | None

    def values(self, first: int, times: IntArray) -> FloatArray:
        """Return the values of the readings from number `first` of the prepared ones at their `times`, shape (channels, times)."""
        knot = times // KNOT_US
        position = (times - knot * KNOT_US).astype(np.float64) / KNOT_US
        if self.first_knot is None:
            cut = slice(first, first + len(times))
            return self.left[:, cut] + self.difference[:, cut] * position
        knot -= self.first_knot
        result = self.difference.take(knot, axis=1)
        result *= position
        result += self.left.take(knot, axis=1)
        return result


class KnotContext:
    """What the channels of a sensor share at given times, computed once."""

    def __init__(self, streams: RandomStreams, place: Place, times: IntArray, octaves: OctavesAt | None = None) -> None:
        self._streams, self._place, self._times = streams, place, times
        self.octaves = octaves or cache(lambda correlation, delay: Octaves(correlation, self.times(delay)))
        self._known: dict[tuple[str, int, int], FloatArray] = {}
        self.count = len(times)

    def times(self, delay: int) -> IntArray:
        return self._times - delay if delay else self._times

    def slow(self, stream: str, correlation: int, delay: int) -> FloatArray:
        """Return a movement of the sensor itself."""
        return self._once(stream, correlation, delay, self._sensor_nodes(stream))

    def weather(self, quantity: str, correlation: int, delay: int) -> FloatArray:
        """Return a movement of the place."""
        return self._once(f"weather/{quantity}", correlation, delay, self._place_nodes(quantity))

    def _once(self, stream: str, correlation: int, delay: int, nodes: Nodes) -> FloatArray:
        key = stream, correlation, delay
        if key not in self._known:
            self._known[key] = self.octaves(correlation, delay).movement(nodes)
        return self._known[key]

    def _sensor_nodes(self, stream: str) -> Nodes:
        purpose = stream_purpose(stream)
        return lambda octave, pages: self._streams.nodes(purpose, octave, pages)

    def _place_nodes(self, quantity: str) -> Nodes:
        series = OCTAVES * QUANTITIES.index(quantity)

        def mixed(octave: int, pages: list[int]) -> FloatArray:
            result = np.zeros(len(pages) * NODES_PER_PAGE)
            for key, weight in zip(self._place.keys, self._place.weights, strict=True):
                result += weight * self._streams.nodes(StreamPurpose.WEATHER, series + octave, pages, key)
            return result

        return mixed


def machine_level(signal: Machine, context: KnotContext, delay: int) -> FloatArray:
    """Compute the level of a machine's state, with mean 0 and variance 1.

    The state follows a slow movement: below one threshold it is maintenance, above another running, between them idle. The
    level is the mean of the states within the response time, so it changes gradually.
    """
    running, maintenance = signal.number("running_part"), signal.number("maintenance_part")
    levels = [signal.number(name) for name in ("maintenance", "idle", "running")]
    parts = [maintenance, 1.0 - running - maintenance, running]
    mean = parts[0] * levels[0] + parts[1] * levels[1] + parts[2] * levels[2]
    squares = [part * (level - mean) * (level - mean) for part, level in zip(parts, levels, strict=True)]
    deviation = sqrt(squares[0] + squares[1] + squares[2])
    if deviation == 0:
        return np.zeros(context.count)
    thresholds, scaled = [quantile(maintenance), quantile(1.0 - running)], (np.array(levels) - mean) / deviation
    response = round(signal.number("response") * SECOND_US)
    steps = max(1, min(RESPONSE_STEPS, response // KNOT_US))
    result = np.zeros(context.count)
    for step in range(steps):
        lag = response * step // steps if steps > 1 else response
        movement = context.slow(f"machine/{running:g}/{maintenance:g}", seconds(signal, "dwell"), delay + lag)
        result += scaled[np.searchsorted(thresholds, movement)]
    return result / steps


def quantile(part: float) -> float:
    """Return the standard normal's quantile, rounded so that it has the same bits on every machine."""
    return round(NormalDist().inv_cdf(part), 9) if part > 0 else -1e9


def seconds(signal: Signal, name: str) -> int:
    """Return a duration of a signal in microseconds."""
    return round(signal.number(name) * SECOND_US)


def unit_errors(streams: RandomStreams, channel: Channel) -> tuple[float, float]:
    """Return the offset and the gain error of the instrument of one channel of one sensor."""
    instrument = channel.instrument
    if not instrument.offset and not instrument.gain:
        return 0.0, 0.0
    offset, gain = streams.generator(stream_purpose(f"{channel.name}/instrument"), 0).random(2).tolist()
    return (2.0 * offset - 1.0) * instrument.offset, (2.0 * gain - 1.0) * instrument.gain


def daily_rhythm(times: IntArray, timezone: str, channel: Channel) -> FloatArray:
    """Return the rhythm of the day at each time: +1 at the channel's peak hour, -1 at its trough, half a cosine between."""
    peak = round(channel.daily_peak * HOUR_US)
    trough = (peak + DAY_US // 2) % DAY_US if channel.daily_trough is None else round(channel.daily_trough * HOUR_US)
    rise = (peak - trough) % DAY_US
    since_trough = (times + utc_offsets(times, timezone) - trough) % DAY_US
    rising = since_trough < rise
    turns = np.where(rising, since_trough / (2.0 * rise), 0.5 + (since_trough - rise) / (2.0 * (DAY_US - rise)))
    return sine(turns - 0.25)


def weekly_rhythm(times: IntArray, timezone: str) -> FloatArray:
    """Return the rhythm of the week at each time: 2/7 on working days, -5/7 at the weekend, with a ramp after midnight."""
    local = times + utc_offsets(times, timezone)
    day, clock = local // DAY_US, (local % DAY_US).astype(np.float64)
    works = [((day - before + WEEKDAY_OF_1970_01_01) % 7 < WORKDAYS).astype(np.float64) for before in (0, 1)]
    progress = np.minimum(clock / WEEKEND_RAMP_US, 1.0)
    return works[1] + (works[0] - works[1]) * progress - WORKDAYS / 7


def made_us(identity: Identity) -> int:
    """Return when a sensor was made, or installed if that is not known, or 2020 if neither is."""
    for text in (identity.manufacture_date, identity.installation_date):
        try:
            return (date.fromisoformat(text or "") - date(1970, 1, 1)).days * DAY_US
        except ValueError:
            continue
    return (date(2020, 1, 1) - date(1970, 1, 1)).days * DAY_US

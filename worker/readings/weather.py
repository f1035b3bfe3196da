"""The weather of a place: its slow movement and its events, the same for all sensors of the place.

Each node of a grid over the globe has movements of its own. A place has the mix of its four nearest nodes, weighted by
distance and scaled to a variance of 1: sensors of a city have the same weather, cities nearby similar weather, and other
continents independent weather. The place is the sensor's coordinates; without these it is its location, else the sensor alone.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from math import floor, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.readings.random_streams import FloatArray, RandomStreams, StreamPurpose, UintArray, philox_key
from worker.readings.signals import WEATHER_EVENTS, WeatherEvents
from worker.schedule import SECOND_US, IntArray
from worker.spec import Identity

GRID_DEGREES = 5.0
NODES_AROUND = round(360 / GRID_DEGREES)
NO_EVENT = -1
RAMP_US = 60 * SECOND_US
"""The time in which an event reaches its full effect, a quarter of the event at most."""
CACHED_EVENTS = 64


class Place(NamedTuple):
    """The keys of the grid nodes around a sensor with their weights, the squares of which add up to 1. The first has the largest
    weight."""

    keys: tuple[UintArray, ...]
    weights: tuple[float, ...]


def place_of(seed: int, identity: Identity) -> Place:
    """Return the place of a sensor."""
    if identity.latitude is None or identity.longitude is None:
        return Place((node_key(seed, identity.location or identity.sensor_id),), (1.0,))
    north, east = (identity.latitude + 90) / GRID_DEGREES, (identity.longitude % 360) / GRID_DEGREES
    row, column = floor(north), floor(east)
    up, over = north - row, east - column
    corners = [
        ((1 - up) * (1 - over), row, column),
        ((1 - up) * over, row, column + 1),
        (up * (1 - over), row + 1, column),
        (up * over, row + 1, column + 1),
    ]
    near = sorted((corner for corner in corners if corner[0] > 0), reverse=True)
    norm = sqrt(sum_of_squares([weight for weight, _, _ in near]))
    keys = tuple(node_key(seed, f"{row}/{column % NODES_AROUND}") for _, row, column in near)
    return Place(keys, tuple(weight / norm for weight, _, _ in near))


def sum_of_squares(numbers: list[float]) -> float:
    """Add up squares from left to right: `sum` compensates since Python 3.12, and the last bit would depend on the version."""
    total = 0.0
    for number in numbers:
        total += number * number
    return total


def node_key(seed: int, name: str) -> UintArray:
    return philox_key(blake2b(f"{seed}/{name}".encode(), digest_size=16, person=b"fleet-weather").digest())


class Event(NamedTuple):
    """A weather event. `kind` is an index into WEATHER_EVENTS; the end is excluded."""

    from_us: int
    until_us: int
    kind: int


class EventCalendar:
    """The weather events of a place with the given times: one begins in each interval."""

    def __init__(self, streams: RandomStreams, place: Place, declaration: WeatherEvents) -> None:
        self._streams, self._key = streams, place.keys[0]
        self._interval = round(declaration.number("interval") * SECOND_US)
        if self._interval < SECOND_US:
            raise ValueError("weather events less than a second apart")  # no valid kind has them; computing takes hours
        longest = min(round(declaration.number("longest") * SECOND_US), self._interval)
        self._shortest = min(round(declaration.number("shortest") * SECOND_US), longest)
        self._spread = longest - self._shortest
        self._cache: OrderedDict[int, Event] = OrderedDict()

    def events(self, first_us: int, last_us: int) -> list[Event]:
        """Return the events of the intervals from that of `first_us` to that of `last_us`, in order."""
        return [self._event(number) for number in range(first_us // self._interval, last_us // self._interval + 1)]

    def at(self, times: IntArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
        """Return the event at each time, NO_EVENT or an index into WEATHER_EVENTS, and its strength from 0 to 1."""
        kinds = np.full(len(times), NO_EVENT, dtype=np.int8)
        strength = np.zeros(len(times))
        for event in self.events(int(times[0]), int(times[-1])):
            begin, end = np.searchsorted(times, (event.from_us, event.until_us)).tolist()
            if begin < end:
                inside = times[begin:end]
                ramp = min(RAMP_US, (event.until_us - event.from_us) // 4) or 1
                nearest = np.minimum(inside - event.from_us, event.until_us - inside)
                kinds[begin:end] = event.kind
                strength[begin:end] = np.minimum(nearest / ramp, 1.0)
        return kinds, strength

    def _event(self, number: int) -> Event:
        if number not in self._cache:
            stream = self._streams.generator(StreamPurpose.WEATHER_EVENTS, number, key=self._key)
            length, start, kind = stream.random(3).tolist()
            duration = self._shortest + floor(length * (self._spread + 1))
            begin = number * self._interval + floor(start * (self._interval - duration + 1))
            self._cache[number] = Event(begin, begin + duration, floor(kind * len(WEATHER_EVENTS)))
            if len(self._cache) > CACHED_EVENTS:
                self._cache.popitem(last=False)
        return self._cache[number]

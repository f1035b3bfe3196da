"""Addressed randomness: any random number of a sensor can be computed from its address, without those before it.

The generator is Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the key
comes from the fleet's seed and the sensor's id, the counter from a purpose, an epoch and a page. A sensor's numbers
depend on its seed and its id alone: not on other sensors, the process, or earlier draws.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Generator, Philox  # imported before the fork: each worker would import 3 MB of its own

FloatArray = npt.NDArray[np.float64]
UintArray = npt.NDArray[np.uint64]

NODES_PER_PAGE = 256
"""Nodes per page of a slow movement (`RandomStreams.nodes`)."""

NORMALS_PER_PAGE = 256
"""Readings per page of normals. A page takes 10 us to draw, so a worker that needs ten readings wastes little."""

PAGES_BEFORE_THE_FIRST = 1 << 32
"""Pages of uniforms before that of the first reading: a random walk begins with steps from before it."""


LAST_PAGE = (1 << 64) - 1
"""Pages are counted modulo 2**64: those of times before 1970, which a slow instrument may still show, are the last."""


class StreamPurpose(IntEnum):
    """The purpose of a stream.

    The stream of a channel is addressed by the channel's name, so that removing a channel does not change the others.
    """

    LAYOUT = 1
    EPISODES = 2
    DRAWS = 3
    INJECTION = 4
    WEATHER = 5
    WEATHER_EVENTS = 6


class RandomStreams:
    """The random streams of one sensor. `phase` is its `page_phase`."""

    def __init__(self, seed: int, sensor_id: str) -> None:
        digest = sensor_digest(seed, sensor_id)
        self._counter = np.zeros(4, dtype=np.uint64)
        self._key = philox_key(digest)
        self._philox = Philox(0)  # any key: it is replaced before each use
        self._generator = Generator(self._philox)
        self._state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": self._counter, "key": self._key},
            "buffer": np.zeros(4, dtype=np.uint64),
            "buffer_pos": 4,  # empty
            "has_uint32": 0,
            "uinteger": 0,
        }
        self.phase = page_phase(seed, sensor_id)

    def generator(self, purpose: int, page: int, epoch: int = 0, key: UintArray | None = None) -> Generator:
        """Return the stream at (purpose, epoch, page), valid until the next call. `key` is that of another subject than the
        sensor, such as its place.

        A stream has 2**64 numbers, so streams never overlap. One generator is moved to the address: a new one would cost
        20 us, most of it for entropy that is not used.
        """
        self._counter[1:] = page & LAST_PAGE, epoch, purpose
        self._state["state"]["key"] = self._key if key is None else key
        self._philox.state = self._state
        return self._generator

    def normals(self, channel: str, first: int, count: int) -> FloatArray:
        """Return the standard normals number `first` .. `first + count - 1` of a channel, shape (count,).

        Pages begin at a phase that differs between sensors, so that a fleet does not draw all its pages at once.
        """
        purpose = stream_purpose(channel)
        return self._by_reading(lambda page, until: self.generator(purpose, page).standard_normal(until), first, count)

    def uniforms(self, stream: str, first: int, count: int) -> FloatArray:
        """Return the uniforms in [0, 1) number `first` .. `first + count - 1` of a stream, shape (count,). `first` is at least
        -2**40."""
        purpose = stream_purpose(stream)
        return self._by_reading(
            lambda page, until: self.generator(purpose, page + PAGES_BEFORE_THE_FIRST).random(until), first, count
        )

    def nodes(self, purpose: int, series: int, pages: list[int], key: UintArray | None = None) -> FloatArray:
        """Return the standard normals of some pages of a series of nodes, one page after the other. `series` distinguishes the
        series of one purpose."""
        draws = [self.generator(purpose, page, series, key).standard_normal(NODES_PER_PAGE) for page in pages]
        return draws[0] if len(draws) == 1 else np.concatenate(draws)

    def _by_reading(self, draw: Callable[[int, int], FloatArray], first: int, count: int) -> FloatArray:
        """Join pages; `draw` takes the number of a page, and how many of its numbers are needed from its beginning on."""
        begin, end = first + self.phase, first + self.phase + count
        page, offset = divmod(begin, NORMALS_PER_PAGE)
        if offset + count <= NORMALS_PER_PAGE:
            return draw(page, offset + count)[offset:]
        last = (end - 1) // NORMALS_PER_PAGE
        draws = [draw(number, NORMALS_PER_PAGE) for number in range(page, last)]
        draws.append(draw(last, end - last * NORMALS_PER_PAGE))
        return np.concatenate(draws)[offset:]


@lru_cache(maxsize=1024)
def stream_purpose(name: str) -> int:
    """Return the purpose of the stream of that name: of a channel, or `channel/part`."""
    digest = blake2b(name.encode(), digest_size=7, person=b"fleet-channel").digest()
    return (1 << 56) | int.from_bytes(digest, "little")


def sensor_digest(seed: int, sensor_id: str) -> bytes:
    """Return the 24 bytes of a sensor: 16 for its key, 2 for its phase, 6 unused."""
    return blake2b(f"{seed}/{sensor_id}".encode(), digest_size=24, person=b"fleet-sensor").digest()


def philox_key(digest: bytes) -> UintArray:
    """Return the key of a generator from the first 16 bytes of a digest."""
    return np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)


def page_phase(seed: int, sensor_id: str) -> int:
    """Return the position of the sensor's first reading in its page, in 0 .. NORMALS_PER_PAGE - 1."""
    return int.from_bytes(sensor_digest(seed, sensor_id)[16:18], "little") % NORMALS_PER_PAGE

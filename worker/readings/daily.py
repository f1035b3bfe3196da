"""The daily pattern: a sinusoid over the sensor's local day, highest at 15:00, lowest at 03:00.

Everything here is built from + - * and comparisons, so that it comes out the same on every processor; time zones
come from the pinned `tzdata` package, never from the system.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from math import pi
from zoneinfo import ZoneInfo

import numpy as np

from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US, IntArray

DAY_US = 86_400 * SECOND_US
DAILY_PEAK_US = 15 * 3600 * SECOND_US
OFFSET_BIN_US = 900 * SECOND_US
"""Offsets from UTC change only at multiples of a quarter of an hour (but for Liberia's of 1972)."""

# Taylor coefficients of sin(2 pi x) around 0; the error on [0, 1/4] is below 1e-9.
_TERMS = [
    (-1) ** k * (2 * pi) ** (2 * k + 1) / f for k, f in enumerate((1, 6, 120, 5040, 362880, 39916800, 6227020800))
]


def sine(turns: FloatArray) -> FloatArray:
    """sin(2 pi turns), to 1e-9, with the same bits on every machine."""
    x = turns - np.rint(turns)
    magnitude = np.abs(x)
    folded = np.minimum(magnitude, 0.5 - magnitude)
    square = folded * folded
    result = np.full_like(folded, _TERMS[-1])
    for term in reversed(_TERMS[:-1]):
        result = result * square + term
    return np.where(x < 0, -result * folded, result * folded)


def daily_pattern(times: IntArray, timezone: str) -> FloatArray:
    """The pattern at each time, from -1 (03:00 local) to +1 (15:00 local)."""
    local = (times + utc_offsets(times, timezone) - DAILY_PEAK_US) % DAY_US
    return sine(local.astype(np.float64) / DAY_US + 0.25)


def utc_offsets(times: IntArray, timezone: str) -> IntArray:
    """Local time minus UTC at each time, microseconds."""
    bins = times // OFFSET_BIN_US
    if bins[0] == bins[-1]:
        return np.full(len(times), _utc_offset(timezone, int(bins[0])), dtype=np.int64)
    distinct, inverse = np.unique(bins, return_inverse=True)
    return np.array([_utc_offset(timezone, int(b)) for b in distinct], dtype=np.int64)[inverse]


@lru_cache(maxsize=4096)
def _utc_offset(timezone: str, quarter: int) -> int:
    moment = datetime.fromtimestamp(quarter * 900, UTC)
    offset = moment.astimezone(load_timezone(timezone)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) * SECOND_US


@lru_cache(maxsize=512)
def load_timezone(name: str) -> ZoneInfo:
    """The time zone of that name from the `tzdata` package; raises ValueError for an unknown one."""
    parts = name.split("/")
    if not all(part and part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        raise ValueError(f"{name!r} is not a time zone")
    try:
        with files("tzdata").joinpath("zoneinfo", *parts).open("rb") as data:
            return ZoneInfo.from_file(data, key=name)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ValueError(f"{name!r} is not a time zone") from error

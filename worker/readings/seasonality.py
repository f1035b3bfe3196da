"""Periodic parts of the healthy signal: time of day, time of year, working hours.

The formulas use + - * and comparisons only, so that results have the same bits on every processor. Time zones come from
the pinned `tzdata` package, never from the system.
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
from worker.spec import WorkingHours

HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
DAILY_PEAK_US = 15 * HOUR_US
YEAR_US = 31_556_952 * SECOND_US
"""The mean Gregorian year of 365.2425 days."""
YEARLY_PEAK_US = 963_705_600 * SECOND_US
"""2000-07-16T00:00:00Z, the middle of a 400-year cycle: leap years shift the phase by at most two days."""
WEEKDAY_OF_1970_01_01 = 3
"""1970 began on a Thursday; Monday is 0."""
OFFSET_BIN_US = 900 * SECOND_US
"""UTC offsets change only at multiples of a quarter of an hour (except Liberia's in 1972)."""

BINS_PER_DAY = DAY_US // OFFSET_BIN_US

# Taylor coefficients of sin(2 pi x) around 0; the error on [0, 1/4] is below 1e-9.
_TERMS = [
    (-1) ** k * (2 * pi) ** (2 * k + 1) / f for k, f in enumerate((1, 6, 120, 5040, 362880, 39916800, 6227020800))
]


def sine(turns: FloatArray) -> FloatArray:
    """Compute sin(2 pi turns) to 1e-9, with the same bits on every machine."""
    x = turns - np.rint(turns)
    magnitude = np.abs(x)
    folded = np.minimum(magnitude, 0.5 - magnitude)
    square = folded * folded
    result = np.full_like(folded, _TERMS[-1])
    for term in reversed(_TERMS[:-1]):
        result = result * square + term
    return np.where(x < 0, -result * folded, result * folded)


def daily_pattern(times: IntArray, timezone: str) -> FloatArray:
    """Return the daily sinusoid at each time: +1 at 15:00 local time, -1 at 03:00."""
    local = (times + utc_offsets(times, timezone) - DAILY_PEAK_US) % DAY_US
    return sine(local.astype(np.float64) / DAY_US + 0.25)


def yearly_pattern(times: IntArray) -> FloatArray:
    """Return the yearly sinusoid at each time (microseconds since 1970, UTC): +1 in mid-July, -1 in mid-January."""
    return sine(((times - YEARLY_PEAK_US) % YEAR_US).astype(np.float64) / YEAR_US + 0.25)


def working_hours_level(times: IntArray, timezone: str, hours: WorkingHours) -> FloatArray:
    """Return the effect of work at each time, from 0 to 1.

    It rises linearly through the first hour of work and falls in the hour after the last. Days are local days, clock
    changes included.
    """
    local = times + utc_offsets(times, timezone)
    clock = (local % DAY_US).astype(np.float64) / HOUR_US
    level = np.minimum(np.clip(clock - hours.begin, 0.0, 1.0), np.clip(hours.end + 1 - clock, 0.0, 1.0))
    weekday = (local // DAY_US + WEEKDAY_OF_1970_01_01) % 7
    return np.where(weekday < hours.days, level, 0.0)


def utc_offsets(times: IntArray, timezone: str) -> IntArray:
    """Return local time minus UTC at each increasing time, in microseconds."""
    first, last = int(times[0]) // OFFSET_BIN_US, int(times[-1]) // OFFSET_BIN_US
    if first == last:
        return np.full(len(times), _utc_offset(timezone, first), dtype=np.int64)
    changes, offsets = utc_offset_changes(timezone, first, last)
    if not changes:
        return np.full(len(times), offsets[0], dtype=np.int64)
    return np.array(offsets, dtype=np.int64)[np.searchsorted(np.array(changes) * OFFSET_BIN_US, times, side="right")]


@lru_cache(maxsize=64)
def utc_offset_changes(timezone: str, first: int, last: int) -> tuple[list[int], list[int]]:
    """Return the bins from `first` to `last` at which the UTC offset changes, and the offsets before, between and after.

    Only days at whose ends the offset differs are searched: no zone changes it and back within a day.
    """
    changes: list[int] = []
    offsets = [_utc_offset(timezone, first)]
    while first < last:
        until = min(first + BINS_PER_DAY, last)
        if _utc_offset(timezone, until) != offsets[-1]:
            for quarter in range(first + 1, until + 1):
                offset = _utc_offset(timezone, quarter)
                if offset != offsets[-1]:
                    changes.append(quarter)
                    offsets.append(offset)
        first = until
    return changes, offsets


@lru_cache(maxsize=4096)
def _utc_offset(timezone: str, quarter: int) -> int:
    moment = datetime.fromtimestamp(quarter * 900, UTC)
    offset = moment.astimezone(load_timezone(timezone)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) * SECOND_US


@lru_cache(maxsize=512)
def load_timezone(name: str) -> ZoneInfo:
    """Load a time zone by its name from the `tzdata` package. Raises ValueError if the name is unknown."""
    parts = name.split("/")
    if not all(part and part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        raise ValueError(f"{name!r} is not a time zone")
    try:
        with files("tzdata").joinpath("zoneinfo", *parts).open("rb") as data:
            return ZoneInfo.from_file(data, key=name)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ValueError(f"{name!r} is not a time zone") from error

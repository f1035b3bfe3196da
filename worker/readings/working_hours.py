"""Working hours: when machines and people warm a place, by the sensor's own clock."""

from __future__ import annotations

import numpy as np

from worker.readings.daily import DAY_US, utc_offsets
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US, IntArray
from worker.spec import WorkingHours

HOUR_US = 3600 * SECOND_US
WEEKDAY_OF_1970_01_01 = 3
"""The day of the week on which 1970 began, Monday being 0."""


def working_hours_level(times: IntArray, timezone: str, hours: WorkingHours) -> FloatArray:
    """How much of the effect of work there is at each time, from 0 to 1: it grows evenly through the first hour of
    work and goes in the hour after the last. Days are local ones, clock changes included."""
    local = times + utc_offsets(times, timezone)
    clock = (local % DAY_US).astype(np.float64) / HOUR_US
    level = np.minimum(np.clip(clock - hours.begin, 0.0, 1.0), np.clip(hours.end + 1 - clock, 0.0, 1.0))
    weekday = (local // DAY_US + WEEKDAY_OF_1970_01_01) % 7
    return np.where(weekday < hours.days, level, 0.0)

"""The seasons: a sinusoid over the year, highest in the middle of July, lowest in the middle of January.

Like the daily pattern it is built from + - * and comparisons, so that it comes out the same on every processor.
"""

from __future__ import annotations

import numpy as np

from worker.readings.daily import sine
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US, IntArray

YEAR_US = 31_556_952 * SECOND_US
"""The mean Gregorian year of 365.2425 days."""
YEARLY_PEAK_US = 963_705_600 * SECOND_US
"""2000-07-16T00:00:00Z: half of July in a year that begins 400 of them, so the phase moves by a day or two at most."""


def yearly_pattern(times: IntArray) -> FloatArray:
    """The pattern at each time (microseconds since 1970, UTC), from -1 (mid-January) to +1 (mid-July)."""
    return sine(((times - YEARLY_PEAK_US) % YEAR_US).astype(np.float64) / YEAR_US + 0.25)

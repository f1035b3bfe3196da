"""The seasons: a sinusoid over the year, highest in the middle of July, lowest in the middle of January.

Like the daily pattern it is built from + - * and comparisons, so that it comes out the same on every processor.
"""

from __future__ import annotations

import numpy as np

from worker.daily import sine
from worker.schedule import SECOND, Ints
from worker.streams import Floats

YEAR = 31_556_952 * SECOND
"""The mean Gregorian year of 365.2425 days."""
PEAK = 963_705_600 * SECOND
"""2000-07-16T00:00:00Z: half of July in a year that begins 400 of them, so the phase moves by a day or two at most."""


def yearly_pattern(times: Ints) -> Floats:
    """The pattern at each time (microseconds since 1970, UTC), from -1 (mid-January) to +1 (mid-July)."""
    return sine(((times - PEAK) % YEAR).astype(np.float64) / YEAR + 0.25)

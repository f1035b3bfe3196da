"""The schedule of readings: exact integer arithmetic between sequence numbers and simulated time.

Reading `seq` of an epoch is due at `start + round((seq - first_seq) * 10**6 / rate)` microseconds, halves rounded
up. Times are microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

SECOND_US = 1_000_000
GOLDEN_RATIO_CONJUGATE = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly, however many of them there are."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The due times of one epoch. `rate` is readings per second."""

    first_seq: int
    start_us: int
    rate: Fraction

    def time(self, seq: int) -> int:
        """Return the time at which `seq` is due."""
        p, q = self.rate.numerator, self.rate.denominator
        return self.start_us + (2 * (seq - self.first_seq) * SECOND_US * q + p) // (2 * p)

    def times(self, first: int, count: int) -> IntArray:
        """Return the times at which `first` .. `first + count - 1` are due, int64, shape (count,)."""
        p, q = self.rate.numerator, self.rate.denominator
        # The large part is computed with Python's integers, so that int64 holds the rest: 2e6 * q * count < 2**63.
        quotient, remainder = divmod(2 * (first - self.first_seq) * SECOND_US * q + p, 2 * p)
        steps = np.arange(count, dtype=np.int64) * (2 * SECOND_US * q) + remainder
        return steps // (2 * p) + (self.start_us + quotient)

    def due(self, now_us: int) -> int:
        """Return the sequence number after the last one that is due at `now_us` (`first_seq` if none is)."""
        return max(self.first_seq, self.seq_after(now_us))

    def seq_after(self, now_us: int) -> int:
        """Return the first sequence number due after `now_us`, as if the schedule extended before `first_seq`."""
        p, q = self.rate.numerator, self.rate.denominator
        # time(seq) <= now  <=>  2 k SECOND_US q + p < 2 p (elapsed + 1)
        return self.first_seq + -((p - 2 * p * (now_us - self.start_us + 1)) // (2 * SECOND_US * q))

    def count(self, duration_us: int) -> int:
        """Return the number of readings of a run of that length: ceil(duration * rate)."""
        return -(-duration_us * self.rate.numerator // (self.rate.denominator * SECOND_US))

    def end_seq(self, end_us: int) -> int:
        """Return the sequence number after the last reading of a run that ends at `end_us`.

        The start of an epoch that follows another was rounded, by half a microsecond at most. Without that half it would
        depend on the rounding whether a reading that is due exactly at the end belongs to the run.
        """
        p, q = self.rate.numerator, self.rate.denominator
        halves = 2 * (end_us - self.start_us) - (self.first_seq > 0)
        return self.first_seq + max(0, -(-halves * p // (2 * q * SECOND_US)))


def format_times(times: IntArray) -> list[str]:
    """Format times as `2026-01-01T00:00:00.000000+00:00`: fixed width, so text order is time order."""
    plain: list[str] = np.datetime_as_string(times.view("datetime64[us]")).tolist()
    return [text + "+00:00" for text in plain]


def format_time(time_us: int) -> str:
    """Format one time like `format_times`."""
    return format_times(np.array([time_us], dtype=np.int64))[0]

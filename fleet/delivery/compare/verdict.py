"""The verdict of a comparison, and the histogram of latencies in it.

The histogram has bins of one per cent: it takes a few kilobytes for any number of readings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fleet.delivery.compare.fault_outcomes import FaultOutcome
from fleet.verify.findings import Finding


@dataclass(frozen=True, slots=True)
class DeliveryVerdict:
    """The verdict of a comparison.

    `generated` counts the readings of the databases. Each of them has arrived, is pending (not marked as delivered), or
    is missing, or is `not_taken` because of a fault on its way. `faults` are the outcomes of such faults. `strangers` counts readings of other sources and other sensors, which are not judged. `alarms` counts the
    conflicts that the target has recorded. `notes` say how readings were matched that have no key. `counts` and `findings` are as in a Verdict.
    """

    target: str
    generated: int
    arrived: int
    pending: int
    episodes: int
    epochs: int
    strangers: int
    alarms: int
    latency: Latency | None
    counts: Mapping[str, int]
    findings: tuple[Finding, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    not_taken: int = 0
    faults: tuple[FaultOutcome, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.counts


BIN_RATIO = 1.01
MIN_LATENCY_SECONDS = 1e-3
BIN_COUNT = 2500
"""The number of bins, which end at MIN_LATENCY_SECONDS * BIN_RATIO ** BIN_COUNT seconds: two years."""

EARLIEST_LATENCY_SECONDS = -1.0
"""The smallest plausible latency: two clocks may differ by one second."""

MAX_EARLY_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles, to one per cent, and maximum of the seconds from a reading's time to its arrival."""

    p50: float
    p95: float
    p99: float
    max: float


class LatencyHistogram:
    """Counts latencies. `shift_us` is wall time minus simulated time, None if that is not known: then it counts nothing."""

    def __init__(self, shift_us: int | None = 0) -> None:
        self._shift = None if shift_us is None else np.timedelta64(shift_us, "us")
        self._bins = np.zeros(BIN_COUNT + 1, dtype=np.int64)
        self._count = self._early = 0
        self._max = 0.0

    def add(self, timestamps: Sequence[str], received_us: Sequence[int]) -> None:
        """Add readings by their timestamps, as the fleet writes them, and times of arrival in microseconds since 1970."""
        if self._shift is None:
            return
        sent = np.array([text[:26] for text in timestamps], dtype="datetime64[us]") + self._shift
        seconds = (np.array(received_us, dtype=np.int64) - sent.astype(np.int64)) / 1e6
        self._count += len(seconds)
        self._early += int((seconds < EARLIEST_LATENCY_SECONDS).sum())
        self._max = max(self._max, float(seconds.max()))
        bins = np.log(np.maximum(seconds, MIN_LATENCY_SECONDS) / MIN_LATENCY_SECONDS) / np.log(BIN_RATIO)
        self._bins += np.bincount(np.minimum(bins, BIN_COUNT).astype(np.int64), minlength=BIN_COUNT + 1)

    def latency(self) -> Latency | None:
        """The latency; None without readings, or if too many arrived before their own time (simulated in the future)."""
        if not self._count or self._early > MAX_EARLY_SHARE * self._count:
            return None
        reached = np.cumsum(self._bins) / self._count
        p50, p95, p99 = (self._upper_edge(int(np.searchsorted(reached, share))) for share in (0.5, 0.95, 0.99))
        return Latency(p50, p95, p99, round(self._max, 3))

    def _upper_edge(self, index: int) -> float:
        return round(min(MIN_LATENCY_SECONDS * BIN_RATIO ** (index + 1), max(self._max, MIN_LATENCY_SECONDS)), 3)

"""How a delivery is judged as a whole, and the small reckonings on the way there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fleet.verify.findings import Finding


@dataclass(frozen=True, slots=True)
class DeliveryVerdict:
    """What was compared and what was found. `generated` are the readings of the databases, each of which has arrived, or is
    pending (nobody claims that it was delivered), or is missing. `strangers` are readings of sources that are none of
    these databases and of none of their sensors, which are not judged. `alarms` are refusals that the target has on
    record. `counts` and `findings` as in a Verdict."""

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

    @property
    def ok(self) -> bool:
        return not self.counts


BIN_RATIO = 1.01
MIN_LATENCY_SECONDS = 1e-3
BIN_COUNT = 2500
"""Up to MIN_LATENCY_SECONDS * BIN_RATIO ** BIN_COUNT seconds: two years."""

EARLIEST_LATENCY_SECONDS = -1.0
"""Seconds by which two clocks may differ."""

MAX_EARLY_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from a reading's time to its arrival: by then so many per cent had arrived, within one per cent of it."""

    p50: float
    p95: float
    p99: float
    max: float


class LatencyHistogram:
    """Counts latencies. `shift_us` is what wall time was ahead of simulated time."""

    def __init__(self, shift_us: int = 0) -> None:
        self._shift = np.timedelta64(shift_us, "us")
        self._bins = np.zeros(BIN_COUNT + 1, dtype=np.int64)
        self._count = self._early = 0
        self._most = 0.0

    def add(self, timestamps: Sequence[str], received_us: Sequence[int]) -> None:
        """Times as the fleet writes them, and microseconds since 1970."""
        sent = np.array([text[:26] for text in timestamps], dtype="datetime64[us]") + self._shift
        seconds = (np.array(received_us, dtype=np.int64) - sent.astype(np.int64)) / 1e6
        self._count += len(seconds)
        self._early += int((seconds < EARLIEST_LATENCY_SECONDS).sum())
        self._most = max(self._most, float(seconds.max()))
        places = np.log(np.maximum(seconds, MIN_LATENCY_SECONDS) / MIN_LATENCY_SECONDS) / np.log(BIN_RATIO)
        self._bins += np.bincount(np.minimum(places, BIN_COUNT).astype(np.int64), minlength=BIN_COUNT + 1)

    def latency(self) -> Latency | None:
        """None if there were none, or the readings are of other times than those they were made at (from the future)."""
        if not self._count or self._early > MAX_EARLY_SHARE * self._count:
            return None
        reached = np.cumsum(self._bins) / self._count
        p50, p95, p99 = (self._at(int(np.searchsorted(reached, share))) for share in (0.5, 0.95, 0.99))
        return Latency(p50, p95, p99, round(self._most, 3))

    def _at(self, place: int) -> float:
        return round(min(MIN_LATENCY_SECONDS * BIN_RATIO ** (place + 1), max(self._most, MIN_LATENCY_SECONDS)), 3)

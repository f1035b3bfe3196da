"""How a delivery is judged as a whole, and the small reckonings on the way there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleet.delivery.compare.latency import Latency
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


class GapMerger:
    """Missing readings, sensor by sensor, put together where they are consecutive."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, int]] = {}

    def add(self, sensor: str, seq: int) -> Iterator[tuple[str, int, int]]:
        """Gives what is complete now: sensor, first and last seq."""
        first, last = self._open.get(sensor, (seq, seq - 1))
        if seq != last + 1:
            yield sensor, first, last
            first = seq
        self._open[sensor] = first, seq

    def flush(self) -> Iterator[tuple[str, int, int]]:
        for sensor, (first, last) in self._open.items():
            yield sensor, first, last

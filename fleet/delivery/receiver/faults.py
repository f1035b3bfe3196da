"""Injected faults: a receiver that fails, delays or does not answer, for testing senders."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from fleet.durations import parse_duration
from fleet.errors import UserError

MAX_DELAY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DelayRange:
    """The delay of a request, uniformly distributed from `min_seconds` to `max_seconds`."""

    min_seconds: float = 0.0
    max_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FaultConfig:
    """The faults to inject. `fail_rate` and `drop_ack` are shares of the requests, from 0 to 1.

    With the same `seed` the n-th request has the same fault; None differs in every run.
    """

    fail_rate: float = 0.0
    drop_ack: float = 0.0
    delay: DelayRange = DelayRange()
    seed: int | None = None

    @property
    def enabled(self) -> bool:
        return bool(self.fail_rate or self.drop_ack or self.delay.max_seconds)


@dataclass(frozen=True, slots=True)
class RequestFault:
    """The fault of one request: it waits `delay` seconds, then `fails` before anything is stored, or is stored but
    `unanswered`."""

    delay: float
    fails: bool
    unanswered: bool


class RequestFaultGenerator:
    """Draws the fault of each request. Thread-safe."""

    def __init__(self, faults: FaultConfig) -> None:
        self._config = faults
        self._random = random.Random(faults.seed)
        self._lock = threading.Lock()

    def draw(self) -> RequestFault:
        # Always three numbers, so that one option does not change the effect of another.
        with self._lock:
            first, second, third = (self._random.random() for _ in range(3))
        delay = self._config.delay
        return RequestFault(
            delay.min_seconds + first * (delay.max_seconds - delay.min_seconds),
            fails=second < self._config.fail_rate,
            unanswered=third < self._config.drop_ack,
        )


def parse_delay(text: str, origin: str) -> DelayRange:
    """Parse `200ms`, or `0-200ms` for a range. UserError that names `origin` for anything else."""
    low, dash, high = text.strip().partition("-")
    max_seconds = parse_duration(high if dash else low, origin)
    min_seconds = max_seconds if not dash else 0.0 if low.strip() in {"0", "0s", "0ms"} else parse_duration(low, origin)
    if not min_seconds <= max_seconds <= MAX_DELAY_SECONDS:
        raise UserError(f"{origin}: {text!r} is no delay such as 200ms or 0-200ms, of at most {MAX_DELAY_SECONDS:.0f}s")
    return DelayRange(min_seconds, max_seconds)

"""Misbehaviour on purpose: a receiver that fails, dawdles and forgets to answer, so that people can test their senders."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from fleet.durations import seconds
from fleet.errors import UserError

LONGEST_DELAY = 60.0


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds that a request is kept waiting: evenly from `least` to `most`."""

    least: float = 0.0
    most: float = 0.0


@dataclass(frozen=True, slots=True)
class Manners:
    """`fail_rate` and `drop_ack` are shares of the requests, from 0 to 1. The same `seed` gives the n-th request the same
    lot; None draws another one each time."""

    fail_rate: float = 0.0
    drop_ack: float = 0.0
    delay: Delay = Delay()
    seed: int | None = None

    @property
    def bad(self) -> bool:
        return bool(self.fail_rate or self.drop_ack or self.delay.most)


@dataclass(frozen=True, slots=True)
class Lot:
    """What befalls one request: it waits `delay` seconds; then it `fails` before anything is taken; or all is taken, but
    `unanswered`."""

    delay: float
    fails: bool
    unanswered: bool


class Lots:
    """Draws for each request, from several threads."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._random = random.Random(manners.seed)
        self._lock = threading.Lock()

    def draw(self) -> Lot:
        # Always three numbers, so that one option does not change what another does.
        with self._lock:
            first, second, third = (self._random.random() for _ in range(3))
        delay = self._manners.delay
        return Lot(
            delay.least + first * (delay.most - delay.least),
            fails=second < self._manners.fail_rate,
            unanswered=third < self._manners.drop_ack,
        )


def delay_of(text: str, origin: str) -> Delay:
    """`200ms`, or `0-200ms` for anything between. UserError, naming `origin`, for what is neither."""
    low, dash, high = text.strip().partition("-")
    most = seconds(high if dash else low, origin)
    least = most if not dash else 0.0 if low.strip() in {"0", "0s", "0ms"} else seconds(low, origin)
    if not least <= most <= LONGEST_DELAY:
        raise UserError(f"{origin}: {text!r} is no delay such as 200ms or 0-200ms, of at most {LONGEST_DELAY:.0f}s")
    return Delay(least, most)

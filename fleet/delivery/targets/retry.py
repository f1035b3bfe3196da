"""How long, and how often, something is tried again that may go well the next time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from fleet.delivery.target import TargetUnavailable

T = TypeVar("T")

BACKOFF = wait_random_exponential(multiplier=0.2, max=10.0)


class RetryableFailure(TargetUnavailable):
    """It did not go well this time. `retry_after`: the seconds that the other side asked to be left alone."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """At most so many attempts; none begins more than `seconds` after the first, nor, but for the first, once `stop` is
    set. Between them is an exponential pause with jitter, or a longer one if that was asked for."""

    seconds: float = 30.0
    attempts: int = 8
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] | None = None
    """Seconds; None waits for `stop`."""

    def call(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns. TargetUnavailable, once patience is over, with what its last RetryableFailure said."""
        begin, last, tried = self.clock(), RetryableFailure(""), 0

        def once() -> T:
            nonlocal last, tried
            if tried and self.stop.is_set():
                raise last
            tried += 1
            try:
                return attempt()
            except RetryableFailure as again:
                last = again
                raise

        def left() -> float:
            return begin + self.seconds - self.clock()

        def over(_: RetryCallState) -> bool:
            return tried >= self.attempts or left() <= 0 or self.stop.is_set()

        def pause(state: RetryCallState) -> float:
            return max(0.0, min(left(), max(last.retry_after, BACKOFF(state))))

        retrying = Retrying(
            retry=retry_if_exception_type(RetryableFailure),
            stop=over,
            wait=pause,
            sleep=self.sleep or self.stop.wait,  # type: ignore[arg-type]  # what it returns is nobody's business
            reraise=True,
        )
        try:
            return retrying(once)
        except RetryableFailure as again:
            times = "once" if tried == 1 else f"{tried} times in {self.clock() - begin:.0f} s"
            raise TargetUnavailable(f"{again} (tried {times})") from again

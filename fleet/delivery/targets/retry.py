"""Retries with exponential backoff, for failures that may pass."""

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
    """A failure that may pass. `retry_after` is the pause in seconds that the target asked for."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """Limits of the attempts at one operation.

    There are at most `attempts`, and none begins later than `seconds` after the first. Once `stop` is set there is no
    further attempt. Between attempts is an exponential pause with jitter, or the pause that the target asked for if that
    is longer.
    """

    seconds: float = 30.0
    attempts: int = 8
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] | None = None
    """Sleeps for a number of seconds; None waits for `stop`."""

    on_retry: Callable[[], object] = lambda: None
    """Called after each failure that is followed by another attempt."""

    def call(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it returns. TargetUnavailable with the message of the last failure if the limits are reached."""
        begin, last, attempts_made = self.clock(), RetryableFailure(""), 0

        def once() -> T:
            nonlocal last, attempts_made
            if attempts_made and self.stop.is_set():
                raise last
            attempts_made += 1
            try:
                return attempt()
            except RetryableFailure as failure:
                last = failure
                raise

        def remaining() -> float:
            return begin + self.seconds - self.clock()

        def is_last(_: RetryCallState) -> bool:
            return attempts_made >= self.attempts or remaining() <= 0 or self.stop.is_set()

        def pause(state: RetryCallState) -> float:
            self.on_retry()
            return max(0.0, min(remaining(), max(last.retry_after, BACKOFF(state))))

        retrying = Retrying(
            retry=retry_if_exception_type(RetryableFailure),
            stop=is_last,
            wait=pause,
            sleep=self.sleep or self.stop.wait,  # type: ignore[arg-type]  # the returned value is ignored
            reraise=True,
        )
        try:
            return retrying(once)
        except RetryableFailure as failure:
            times = "once" if attempts_made == 1 else f"{attempts_made} times in {self.clock() - begin:.0f} s"
            raise TargetUnavailable(f"{failure} (tried {times})") from failure

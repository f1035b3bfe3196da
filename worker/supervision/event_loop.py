"""What one thread waits for: sockets, and times that come again and again."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_WAIT_SECONDS = 1.0

MAX_TURN_SECONDS = 2.0
"""Seconds that a turn counts for at most. One that took longer has not waited, this process stood still (a laptop lid, a
container that was paused), and all others most likely with it."""


@dataclass(slots=True)
class Timer:
    """An action and when it is due."""

    due: float
    seconds: float
    action: Callable[[], None]


class EventLoop:
    """Turns of waiting and calling back. `now` is in seconds on a clock that moves between two turns only, and stands
    still while this process does: nobody is late for what went by while nobody was awake to see it. A timer that came due
    meanwhile waits for another moment, until all others have woken as well."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = self.now = clock()
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._slept = False

    def watch(self, source: socket.socket, ready: Callable[[], None], *, writable: bool = False) -> None:
        """Call `ready` whenever `source` can be read, or `writable`, also when it can be written. The last word holds."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        if source in self._selector.get_map():
            self._selector.modify(source, events, ready)
        else:
            self._selector.register(source, events, ready)

    def unwatch(self, source: socket.socket) -> None:
        self._selector.unregister(source)

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(Timer(self.now + seconds, seconds, action))

    def run_once(self, until: float) -> None:
        """Wait until `until`, a second at most, or until something comes up, and call back whom it concerns."""
        soonest = min(until, *(timer.due for timer in self._timers), self.now + MAX_WAIT_SECONDS)
        begun = self._clock()
        ready = self._selector.select(max(0.0, soonest - self.now - (begun - self._seen)))
        seen = self._clock()
        long = seen - begun > MAX_TURN_SECONDS
        woken, self._slept = long and not self._slept, long
        self.now += min(seen - self._seen, MAX_TURN_SECONDS)
        self._seen = seen
        for key, _ in ready:
            key.data()
        for timer in self._timers:
            if woken:
                timer.due = max(timer.due, self.now + min(timer.seconds, MAX_WAIT_SECONDS))
            elif self.now >= timer.due:
                timer.due = self.now + timer.seconds
                timer.action()

"""A single-threaded event loop over sockets and repeating timers."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_WAIT_SECONDS = 1.0

MAX_TURN_SECONDS = 2.0
"""The longest time that one turn may count for. A turn that took longer did not wait: this process was suspended (a laptop
lid, a paused container), and all the others most likely with it."""


@dataclass(slots=True)
class Timer:
    """An action that repeats every `seconds`, and the time at which it is due next."""

    due: float
    seconds: float
    action: Callable[[], None]


class EventLoop:
    """Turns of waiting and calling back.

    `now` is in seconds. It advances between turns only, and stands still while this process is suspended, so that no
    deadline passes while no process could act. After a suspension, timers that came due meanwhile wait a moment longer,
    until the other processes have resumed as well.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_read = self.now = clock()
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._was_suspended = False

    def watch(self, source: socket.socket, ready: Callable[[], None], *, writable: bool = False) -> None:
        """Call `ready` whenever `source` is readable, with `writable` also when it is writable. Replaces an earlier watch."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        if source in self._selector.get_map():
            self._selector.modify(source, events, ready)
        else:
            self._selector.register(source, events, ready)

    def unwatch(self, source: socket.socket) -> None:
        """Stop watching `source`. Raises KeyError if it is not watched."""
        self._selector.unregister(source)

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` every `seconds`, for the first time `seconds` from now."""
        self._timers.append(Timer(self.now + seconds, seconds, action))

    def run_once(self, until: float) -> None:
        """Wait until `until`, a timer, a watched socket, or MAX_WAIT_SECONDS, then call back what is ready or due."""
        soonest = min(until, *(timer.due for timer in self._timers), self.now + MAX_WAIT_SECONDS)
        begun = self._clock()
        ready = self._selector.select(max(0.0, soonest - self.now - (begun - self._last_read)))
        ended = self._clock()
        suspended = ended - begun > MAX_TURN_SECONDS
        resumed, self._was_suspended = suspended and not self._was_suspended, suspended
        self.now += min(ended - self._last_read, MAX_TURN_SECONDS)
        self._last_read = ended
        for key, _ in ready:
            key.data()
        for timer in self._timers:
            if resumed:
                timer.due = max(timer.due, self.now + min(timer.seconds, MAX_WAIT_SECONDS))
            elif self.now >= timer.due:
                timer.due = self.now + timer.seconds
                timer.action()

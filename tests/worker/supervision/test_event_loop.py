"""Turns of waiting: sockets, timers, and a clock that stands still while the process does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from worker.supervision.event_loop import MAX_TURN_SECONDS, MAX_WAIT_SECONDS, EventLoop

FOREVER = float("inf")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_whoever_has_something_to_say_is_heard(pair: tuple[socket.socket, socket.socket]) -> None:
    """At once, and again and again until it is taken; not any more when it is not watched."""
    loop, calls = EventLoop(), []
    loop.watch(pair[0], lambda: calls.append(pair[0].recv(1)))
    pair[1].send(b"ab")
    begun = time.monotonic()
    loop.run_once(FOREVER)
    loop.run_once(FOREVER)
    assert time.monotonic() - begun < MAX_WAIT_SECONDS
    loop.unwatch(pair[0])
    pair[1].send(b"c")
    loop.run_once(loop.now)

    assert [b"a", b"b"] == calls


def test_room_is_told_where_it_is_asked_for(pair: tuple[socket.socket, socket.socket]) -> None:
    loop, calls = EventLoop(), []
    loop.watch(pair[0], lambda: calls.append("read"))
    loop.run_once(loop.now)
    loop.watch(pair[0], lambda: calls.append("room"), writable=True)
    loop.run_once(loop.now)
    loop.watch(pair[0], lambda: calls.append("read"))
    loop.run_once(loop.now)

    assert ["room"] == calls


def test_timers_come_again() -> None:
    """As often as they are due, and no wait is longer than until the next one."""
    loop, calls = EventLoop(), []
    loop.every(0.05, lambda: calls.append(loop.now))
    begun = time.monotonic()
    while len(calls) < 3:
        loop.run_once(FOREVER)

    assert 0.15 <= time.monotonic() - begun
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(calls))


def test_the_clock_stands_still_while_the_process_does() -> None:
    """An hour between two turns counts for MAX_TURN_SECONDS seconds; ten turns that are slow, but no slower than that, count in full."""
    moments = [100.0]
    loop = EventLoop(lambda: moments[-1])
    moments.append(moments[-1] + 3600.0)
    assert 100.0 == loop.now
    loop.run_once(loop.now)
    assert 100.0 + MAX_TURN_SECONDS == loop.now
    for _ in range(10):
        moments.append(moments[-1] + MAX_TURN_SECONDS)
        loop.run_once(loop.now)

    assert 100.0 + 11 * MAX_TURN_SECONDS == loop.now


def sleepy(*asleep: float) -> tuple[EventLoop, list[float]]:
    """A loop whose turns wait that long, one after the other, and the moments of its clock."""
    waits, moments = iter(asleep), [100.0]

    def clock() -> float:
        # It is read when the loop is made, and before and after each wait.
        moments.append(moments[-1] + (next(waits) if len(moments) > 1 and len(moments) % 2 else 0.0))
        return moments[-1]

    return EventLoop(clock), moments


def test_timers_wait_for_others_after_the_process_stood_still() -> None:
    """Whoever a timer would look at has just woken as well; but where each turn is a nap, it is not put off for ever."""
    loop, moments = sleepy(0.5, 3600.0, 0.5, 0.5, 3600.0, 3600.0)
    calls: list[float] = []
    loop.every(1.0, lambda: calls.append(moments[-1]))
    for _ in range(6):
        loop.run_once(loop.now)

    assert [3701.5, 10901.5] == calls


def test_rare_timers_are_put_off_for_a_moment_only() -> None:
    loop, moments = sleepy(*(10 * (3600.0, *(10 * (0.5,)))))
    calls: list[float] = []
    loop.every(15.0, lambda: calls.append(moments[-1]))
    for _ in range(110):
        loop.run_once(loop.now)

    assert len(calls) >= 3  # 70 seconds by the loop's clock


def test_long_calls_are_no_sleep() -> None:
    now, calls = [100.0], 0

    def count() -> None:
        nonlocal calls
        calls += 1
        now[0] += 2.5

    loop = EventLoop(lambda: now[0])
    loop.every(1.0, count)
    now[0] += 1.0
    for _ in range(10):
        loop.run_once(loop.now)

    assert 10 == calls

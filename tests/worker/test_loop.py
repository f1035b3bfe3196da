"""Turns of waiting: sockets, timers, and a clock that stands still while the process does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from worker.loop import LONGEST_WAIT, NAP, Loop

FOREVER = float("inf")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_whoever_has_something_to_say_is_heard(pair: tuple[socket.socket, socket.socket]) -> None:
    """At once, and again and again until it is taken; not any more when it is not watched."""
    loop, calls = Loop(), []
    loop.watch(pair[0], lambda: calls.append(pair[0].recv(1)))
    pair[1].send(b"ab")
    begun = time.monotonic()
    loop.turn(FOREVER)
    loop.turn(FOREVER)
    assert time.monotonic() - begun < LONGEST_WAIT
    loop.unwatch(pair[0])
    pair[1].send(b"c")
    loop.turn(loop.now)

    assert [b"a", b"b"] == calls


def test_room_is_told_where_it_is_asked_for(pair: tuple[socket.socket, socket.socket]) -> None:
    loop, calls = Loop(), []
    loop.watch(pair[0], lambda: calls.append("read"))
    loop.turn(loop.now)
    loop.watch(pair[0], lambda: calls.append("room"), writable=True)
    loop.turn(loop.now)
    loop.watch(pair[0], lambda: calls.append("read"))
    loop.turn(loop.now)

    assert ["room"] == calls


def test_timers_come_again() -> None:
    """As often as they are due, and no wait is longer than until the next one."""
    loop, calls = Loop(), []
    loop.every(0.05, lambda: calls.append(loop.now))
    begun = time.monotonic()
    while len(calls) < 3:
        loop.turn(FOREVER)

    assert 0.15 <= time.monotonic() - begun
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(calls))


def test_the_clock_stands_still_while_the_process_does() -> None:
    """An hour between two turns counts for NAP seconds; ten turns that are slow, but no slower than that, count in full."""
    moments = [100.0]
    loop = Loop(lambda: moments[-1])
    moments.append(moments[-1] + 3600.0)
    assert 100.0 == loop.now
    loop.turn(loop.now)
    assert 100.0 + NAP == loop.now
    for _ in range(10):
        moments.append(moments[-1] + NAP)
        loop.turn(loop.now)

    assert 100.0 + 11 * NAP == loop.now


def test_timers_wait_once_more_after_the_process_stood_still() -> None:
    """Whoever a timer would look at has just woken as well. If all turns take that long, timers go on nevertheless."""
    moments, calls = [100.0], []
    loop = Loop(lambda: moments[-1])
    loop.every(1.0, lambda: calls.append(moments[-1]))
    for step in (3600.0, 0.5, 0.5, 3600.0, 3600.0):
        moments.append(moments[-1] + step)
        loop.turn(loop.now)

    assert [3701.0, 10901.0] == calls

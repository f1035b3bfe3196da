"""A wall clock that can be set: `time.time` and `time.time_ns` of every process of a fleet, by the seconds in a file."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

SECOND_NS = 1_000_000_000


def install(file: Path) -> None:
    """From now on this process's wall clock is off by what the file says at that moment, 0 without one."""
    seconds, nanoseconds = time.time, time.time_ns
    last = 0

    def offset() -> int:
        nonlocal last
        with contextlib.suppress(OSError):  # there is none, or no descriptor is left to read it with
            last = int(file.read_text() or 0)
        return last

    time.time = lambda: seconds() + offset()
    time.time_ns = lambda: nanoseconds() + offset() * SECOND_NS

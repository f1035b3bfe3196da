"""A wall clock that can be set: `time.time` and `time.time_ns` of every process of a fleet, by the seconds in a file."""

from __future__ import annotations

import time
from pathlib import Path

SECOND_NS = 1_000_000_000


def install(file: Path) -> None:
    """From now on this process's wall clock is off by what the file says at that moment, 0 without one."""
    seconds, nanoseconds = time.time, time.time_ns

    def offset() -> int:
        try:
            return int(file.read_text() or 0)
        except FileNotFoundError:
            return 0

    time.time = lambda: seconds() + offset()
    time.time_ns = lambda: nanoseconds() + offset() * SECOND_NS

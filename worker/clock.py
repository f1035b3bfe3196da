"""The clock that simulated time runs by: nobody can set it, and it goes on while the machine sleeps.

Linux stops its monotonic clock in a suspended machine; a laptop that was closed for ten minutes would be ten minutes
late from then on. macOS's CLOCK_MONOTONIC goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

CLOCK_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_ns() -> int:
    """Nanoseconds since some moment before any process of this machine."""
    return time.clock_gettime_ns(CLOCK_ID)


def boot_id() -> str:
    """Since when `elapsed_ns` counts: the same text as long as the machine runs, empty where there is none to be had."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""

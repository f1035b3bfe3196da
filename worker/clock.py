"""The clock of simulated time: it cannot be set, and it advances while the machine sleeps.

CLOCK_MONOTONIC of Linux stops while the machine is suspended: after ten minutes of sleep simulated time would be ten
minutes late. CLOCK_MONOTONIC of macOS advances.
"""

from __future__ import annotations

import time
from pathlib import Path

CLOCK_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_ns() -> int:
    """Return the nanoseconds since a fixed moment before this process, the same moment for all processes of a boot."""
    return time.clock_gettime_ns(CLOCK_ID)


def boot_id() -> str:
    """Return a text that identifies the boot which `elapsed_ns` counts from, empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""

"""Checks that the machine has room for a fleet: memory and open files.

A fleet that does not fit is better refused at the start than swapped or killed an hour later.
"""

from __future__ import annotations

import resource
from pathlib import Path

from fleet.errors import UserError

MB = 1_000_000
BYTES_PER_WORKER, BYTES_PER_SENSOR, BYTES_BESIDES_WORKERS = 5 * MB, 65_000, 120 * MB
"""Measured with 100 and 1,000 workers of one sensor each, and 20 workers of 500 sensors each. Besides workers there are
the supervisor, the fork server and the HTTP server."""

CGROUP_MEMORY_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""The memory limit and usage of the container, in both versions of control groups."""

FILES_PER_WORKER = 3
FILES_BESIDES_WORKERS = 256


def check_memory(workers: int, sensors: int, free: int | None = None) -> None:
    """Raise UserError if that many workers and sensors do not fit into `free` bytes, by default what is available."""
    needed = BYTES_PER_WORKER * workers + BYTES_PER_SENSOR * sensors + BYTES_BESIDES_WORKERS
    free = available_memory() if free is None else free
    if needed > free:
        most = max(0, (free - BYTES_BESIDES_WORKERS) // (BYTES_PER_WORKER + BYTES_PER_SENSOR))
        raise UserError(
            f"{workers} workers with {sensors} sensors need about {format_bytes(needed)} of memory, {format_bytes(free)} is free "
            f"(enough for {most} workers of one sensor): ask for fewer, or pack more sensors into a worker "
            "(--sensors-per-worker)"
        )


def available_memory() -> int:
    """Return the bytes that can be allocated without swapping."""
    import psutil  # 8 ms that `fleet --help` can do without

    free = psutil.virtual_memory().available
    for limit_file, usage_file in CGROUP_MEMORY_FILES:
        limit, used = read_number(Path(limit_file)), read_number(Path(usage_file))
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used))
    return int(free)


def read_number(path: Path) -> int | None:
    """Return the number in the file, None if there is none ("max" is no limit)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def format_bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def raise_open_file_limit(workers: int) -> None:
    """Raise this process's limit of open files as far as that many workers need. Raises UserError if the system does
    not allow it."""
    needed = FILES_PER_WORKER * workers + FILES_BESIDES_WORKERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        most = max(0, (hard - FILES_BESIDES_WORKERS) // FILES_PER_WORKER)
        raise UserError(
            f"{workers} workers need {needed} open files, the limit is {hard} (enough for {most}): "
            "raise it with `ulimit -n`, or pack more sensors into a worker (--sensors-per-worker)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

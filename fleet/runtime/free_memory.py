"""How much memory a fleet takes, and how much there is: better refused than swapped or killed an hour later."""

from __future__ import annotations

from pathlib import Path

from fleet.errors import UserError

MB = 1_000_000
BYTES_PER_WORKER, BYTES_PER_SENSOR, BYTES_BESIDES_WORKERS = 5 * MB, 65_000, 120 * MB
"""Measured: 100 and 1,000 workers of one sensor each, 20 workers of 500 sensors each; supervisor, template, HTTP."""

CGROUP_MEMORY_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""What the container this runs in may use and what it uses, in both versions of control groups."""


def check_memory(workers: int, sensors: int, free: int | None = None) -> None:
    """UserError if so many workers and sensors do not fit into the memory that is `free`, bytes."""
    needed = BYTES_PER_WORKER * workers + BYTES_PER_SENSOR * sensors + BYTES_BESIDES_WORKERS
    free = available_memory() if free is None else free
    if needed > free:
        most = max(0, (free - BYTES_BESIDES_WORKERS) // (BYTES_PER_WORKER + BYTES_PER_SENSOR))
        raise UserError(
            f"{workers} workers with {sensors} sensors need about {format_bytes(needed)} of memory, {format_bytes(free)} is free "
            f"(enough for {most} workers of one sensor): ask for fewer, or pack more sensors into a worker "
            "(replicas.sensors_per_worker)"
        )


def available_memory() -> int:
    """Bytes that can be taken without swapping."""
    import psutil  # 8 ms that `fleet --help` can do without

    free = psutil.virtual_memory().available
    for limit, usage in CGROUP_MEMORY_FILES:
        most, used = read_number(Path(limit)), read_number(Path(usage))
        if most is not None and used is not None:
            free = min(free, max(0, most - used))
    return int(free)


def read_number(path: Path) -> int | None:
    """The number in the file, None if there is none ("max" is no limit)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def format_bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"

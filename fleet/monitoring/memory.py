"""The memory use of a fleet, estimated from a sample of its processes: measuring a thousand takes a second."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fleet.monitoring.observation import Observation

MAX_SAMPLED_PROCESSES = 16
MAX_AGE_NS = 10_000_000_000


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """The `bytes` of all `processes` together. The `method` "pss" divides memory that processes share among them, "rss"
    counts it once for each. Processes beyond the `measured` ones count as the average."""

    bytes: int
    method: str
    processes: int
    measured: int


class MemoryGauge:
    """Measures the memory of a fleet at most every ten seconds, for any number of callers."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[int, MemoryUsage] | None = None
        self._measuring: threading.Thread | None = None

    def read(self, observation: Observation) -> MemoryUsage:
        """Return the memory of the supervisor, its workers and this process."""
        with self._lock:
            now_ns = self._clock()
            if self._last is None or now_ns - self._last[0] > MAX_AGE_NS:
                # A set, because numpy.unique imports numpy.ma, which takes 7 MB.
                pids = {pid for pid in observation.rows["pid"].tolist() if pid > 0}
                self._last = now_ns, measure_memory(sorted(pids), observation.roster.pid)
            return self._last[1]

    def latest(self, observation: Observation) -> MemoryUsage:
        """Return the last measurement, waiting only for the first one. An old measurement is renewed in the background
        for the next caller: sixteen processes take a fifth of a second, and a scrape must not."""
        last = self._last
        if last is None:
            return self.read(observation)
        if self._clock() - last[0] > MAX_AGE_NS and not (self._measuring and self._measuring.is_alive()):
            self._measuring = threading.Thread(target=self.read, args=(observation,), name="memory", daemon=True)
            with suppress(RuntimeError):  # no thread can be started: the old measurement serves on
                self._measuring.start()
        return last[1]


def measure_memory(workers: Sequence[int], supervisor: int) -> MemoryUsage:
    step = max(len(workers) // MAX_SAMPLED_PROCESSES, 1)
    sample = [taken for pid in workers[::step][:MAX_SAMPLED_PROCESSES] if (taken := process_bytes(pid))]
    others = [taken for pid in {supervisor, os.getpid()} if (taken := process_bytes(pid))]
    average = sum(taken for taken, _ in sample) / len(sample) if sample else 0.0
    methods = {method for _, method in (*sample, *others)}
    return MemoryUsage(
        bytes=int(average * len(workers)) + sum(taken for taken, _ in others),
        method="pss" if methods == {"pss"} else "rss",
        processes=len(workers) + len(others),
        measured=len(sample) + len(others),
    )


def process_bytes(pid: int) -> tuple[int, str] | None:
    """Return the memory of a process and the method, None if it is gone or belongs to another user."""
    import psutil  # slow to import, and needed only here

    try:
        process = psutil.Process(pid)
        full = process.memory_full_info()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return resident_bytes(pid)
    share = getattr(full, "pss", None)  # only Linux has it
    return (int(share), "pss") if share else (int(full.rss), "rss")


def resident_bytes(pid: int) -> tuple[int, str] | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss), "rss"
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None

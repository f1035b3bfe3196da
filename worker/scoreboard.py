"""The scoreboard: one fixed row of metrics per sensor in a file that all processes of a fleet map into memory.

The file has no header: it is `capacity` rows of `ROW_DTYPE.itemsize` bytes, indexed by `SensorSpec.row`. The supervisor
creates it and reserves its full size on disk before it is mapped (a write into a sparse or truncated mapping is a SIGBUS).
Each row has one writer at a time. All fields except the text `reason` are aligned 8-byte words. `version` is a sequence
lock: it is odd while the row is being written.

To add a metric: one field in `ROW_DTYPE`, one store where it is counted (`worker.metrics`, for a worker's own counts in
`MetricsWriter`), and one family in `fleet.web.prometheus.metrics` that publishes it.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from worker.readings.anomalies import ANOMALY_TYPES

MAX_CHANNELS = 32
"""The most channels that a sensor can have."""

STATES = (
    "absent",  # no sensor has the row
    "pending",  # waits for its process to be started
    "starting",  # its process exists, its first commit is not done
    "healthy",  # commits on schedule
    "unready",  # its store does not take data; `reason` says why
    "restarting",  # its process died, its restart waits for the backoff
    "done",  # every scheduled reading of the run is written
    "stopped",  # drained on request
    "failed",  # its restart budget is used up; `reason` says why
    "paused",  # on request: no reading is due until it is resumed
    "backfilling",  # writes the history before the start of the fleet
)
STATE_INDEX = {name: number for number, name in enumerate(STATES)}

COMMIT_BOUNDS_US = (500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000)
"""Upper bounds of the duration buckets of transactions, in microseconds; one more bucket has the longer ones."""

LAG_BOUNDS_US = tuple(int(seconds * 1_000_000) for seconds in (0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 30, 60, 300))
"""Upper bounds of the lag buckets of commits, in microseconds; commits are usually a second apart."""

ROW_DTYPE = np.dtype(
    [
        ("version", "<i8"),
        ("state", "<i8"),  # index into STATES
        ("pid", "<i8"),  # 0: no process
        ("incarnation", "<i8"),
        ("heartbeat_ns", "<i8"),  # monotonic clock, from the loop that commits
        ("started_ns", "<i8"),  # monotonic clock, start of this incarnation
        ("waiting_ns", "<i8"),  # monotonic clock, since when it waits for a commit, over all attempts
        ("leads", "<i8"),  # 1: the first sensor of its process; only its counts of the process are added up
        ("next_seq", "<i8"),  # scheduled readings committed so far (the checkpoint)
        ("readings", "<i8"),  # rows written in this run, all incarnations
        ("anomalies", "<i8", (len(ANOMALY_TYPES),)),  # anomalous readings of this run by type, missing ones included
        ("commits", "<i8"),
        ("retries", "<i8"),  # transactions tried again
        ("errors", "<i8"),  # transactions given up for now, and deaths
        ("restarts", "<i8"),
        ("lag_us", "<i8"),  # age of the oldest reading of the last commit when it was committed
        ("commit_total_us", "<i8"),  # duration of all transactions together
        ("commit_buckets", "<i8", (len(COMMIT_BOUNDS_US) + 1,)),  # transactions by duration
        ("lag_total_us", "<i8"),  # lag of all commits together
        ("lag_buckets", "<i8", (len(LAG_BOUNDS_US) + 1,)),  # commits by lag
        ("committed_at_us", "<i8"),  # wall clock of the last commit, microseconds since 1970
        ("first_commit_ns", "<i8"),  # monotonic clock of the first commit of the run
        ("timestamp_us", "<i8"),  # simulated time at which the last reading written was due
        ("anomaly", "<i8"),  # type of the last scheduled reading: index into ANOMALY_TYPES, -1 healthy
        ("values", "<f8", (MAX_CHANNELS,)),  # last values in the order of the channels, NaN where none
        ("renewals", "<i8"),  # times that its database was damaged, deleted or replaced, and a new one begun
        ("incomplete", "<i8"),  # 1: after a renewal, readings are only in the database that was put aside
        ("reason", "S192"),  # why it is unready, restarting or failed, UTF-8
    ],
    align=True,
)

Rows = npt.NDArray[np.void]


class Scoreboard:
    """A mapped scoreboard. `rows` is a structured array on the mapping: `scoreboard.rows[7]["readings"] += 3` writes."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        flags = os.O_RDWR if writable else os.O_RDONLY
        descriptor = os.open(path, flags)
        try:
            size = os.fstat(descriptor).st_size
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._mapping = mmap.mmap(descriptor, size, access=access)
        finally:
            os.close(descriptor)
        self.rows: Rows = np.frombuffer(self._mapping, dtype=ROW_DTYPE)

    @classmethod
    def create(cls, path: Path, capacity: int) -> Scoreboard:
        """Create a zeroed scoreboard at `path`, replacing an old one, and map it for writing. Raises OSError."""
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            reserve_disk_space(descriptor, capacity * ROW_DTYPE.itemsize)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        return cls(path, writable=True)

    @property
    def capacity(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def snapshot(self) -> Rows:
        """Return a copy of all rows in which no row is torn.

        A row that is being written is read again, up to 100 times. If its writer was suspended or killed in the middle,
        the copy has an odd version.
        """
        # Read before the rest: a copy of whole rows may be made from the end.
        versions = self.rows["version"].copy()
        copy = self.rows.copy()
        torn = np.flatnonzero((versions & 1 == 1) | (versions != self.rows["version"]))
        for attempt in range(100):
            if not len(torn):
                break
            if attempt >= 10:
                time.sleep(0.0001)  # the writer may be waiting for this processor
            versions = self.rows["version"][torn]
            copy[torn] = self.rows[torn]
            torn = torn[(versions & 1 == 1) | (versions != self.rows["version"][torn])]
        copy["version"][torn] |= 1
        return copy

    def row(self, index: int) -> RowWriter:
        """Return a writer for one row."""
        return RowWriter(self.rows, index)


class RowWriter:
    """The only writer of one row: `with writer as row: row["readings"] += 1`."""

    def __init__(self, rows: Rows, index: int) -> None:
        self._row: np.void = rows[index]

    def __enter__(self) -> np.void:
        # A writer that was killed halfway has left the version odd; the next one continues from there.
        self._row["version"] |= 1
        return self._row

    def __exit__(self, *_: object) -> None:
        self._row["version"] += 1

    def reason(self, text: str) -> None:
        """Set the reason, cut to the size of its field."""
        self._row["reason"] = text.encode()[:192]


def reserve_disk_space(descriptor: int, size: int) -> None:
    """Reserve `size` bytes of disk space for an empty file. Raises OSError (ENOSPC) if there is no space."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS
        os.pwrite(descriptor, bytes(size), 0)

"""The metrics scoreboard: one fixed row per sensor in a file-backed shared mapping.

The file is `capacity` rows of `ROW_DTYPE.itemsize` bytes, little to say about it: no header, the row index is the
sensor's `SensorSpec.row`. The supervisor creates it, full size reserved on disk, before it is mapped (a sparse or
truncated mapping is a SIGBUS). Each row has one writer at a time; all fields are 8-byte aligned stores except the
two texts. `version` is a sequence lock: odd while the row is being written.

To add a metric: one field in `ROW_DTYPE`, one store where it is counted (`worker.process`).
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.readings.anomalies import ANOMALY_TYPES

MAX_CHANNELS = 8

STATES = (
    "absent",  # the row belongs to nobody
    "pending",  # waiting for its process
    "starting",  # process exists, first commit not done
    "healthy",  # commits on schedule
    "unready",  # the store does not take data; `reason` says why
    "restarting",  # its process died; waiting for the backoff to end
    "done",  # every scheduled reading of the run is written
    "stopped",  # drained on request
    "failed",  # restart budget used up, or refused for good; `reason` says why
    "paused",  # on request: no readings are due until it is resumed
)
STATE_INDEX = {name: number for number, name in enumerate(STATES)}

SCOREBOARD_ANOMALIES = ANOMALY_TYPES

COMMIT_BOUNDS_US = (500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000)
"""Upper bounds of the buckets that transactions are counted in by duration; one more bucket has the longer ones."""

LAG_BOUNDS_US = tuple(int(seconds * 1_000_000) for seconds in (0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 30, 60, 300))
"""The same for the lag of each commit of each sensor: commits are usually a second apart."""

ROW_DTYPE = np.dtype(
    [
        ("version", "<i8"),
        ("state", "<i8"),  # index into STATES
        ("pid", "<i8"),  # 0: no process
        ("incarnation", "<i8"),
        ("heartbeat_ns", "<i8"),  # monotonic clock, from the loop that commits
        ("started_ns", "<i8"),  # monotonic clock, when this incarnation began
        ("waiting_ns", "<i8"),  # monotonic clock, since when it waits for a first commit, over all attempts
        ("leads", "<i8"),  # 1: the first sensor of its process, whose counts of that process are the ones to add up
        ("next_seq", "<i8"),  # scheduled readings settled so far (the checkpoint)
        ("readings", "<i8"),  # rows written in this run, all incarnations
        (
            "anomalies",
            "<i8",
            (len(SCOREBOARD_ANOMALIES),),
        ),  # anomalous readings of this run by kind, missing ones included
        ("commits", "<i8"),
        ("retries", "<i8"),  # transactions tried again
        ("errors", "<i8"),  # transactions given up on for now, crashes
        ("restarts", "<i8"),
        ("lag_us", "<i8"),  # age of the oldest reading of the last commit when it was committed
        ("commit_us", "<i8"),  # duration of the last transaction
        ("commit_total_us", "<i8"),  # all transactions together
        ("commit_buckets", "<i8", (len(COMMIT_BOUNDS_US) + 1,)),  # transactions by duration
        ("lag_total_us", "<i8"),  # the lags of all commits together
        ("lag_buckets", "<i8", (len(LAG_BOUNDS_US) + 1,)),  # commits by lag
        ("committed_at_us", "<i8"),  # wall clock of the last commit, microseconds since 1970
        ("first_commit_ns", "<i8"),  # monotonic clock of the first commit of the run
        ("timestamp_us", "<i8"),  # simulated time of the last reading written
        ("anomaly", "<i8"),  # kind of the last scheduled reading: index into SCOREBOARD_ANOMALIES, -1 healthy
        ("values", "<f8", (MAX_CHANNELS,)),  # last values in the order of the channels, NaN where none
        ("database_bytes", "<i8"),
        ("renewals", "<i8"),  # its database was damaged, deleted or replaced, and begun anew
        ("reason", "S192"),  # why it is unready or failed, UTF-8
        ("reserved", "S16"),
    ],
    align=True,
)

Rows = npt.NDArray[np.void]


class Scoreboard:
    """A mapped scoreboard. `rows` is a structured array view: `scoreboard.rows[7]["readings"] += 3` writes through."""

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
        """A new zeroed scoreboard under a temporary name, moved into place, mapped for writing."""
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
        return len(self.rows)

    def snapshot(self) -> Rows:
        """A copy of all rows in which no row is torn. A row under write is read again, up to 100 times; one that
        still is then (its writer was stopped or killed in the middle) has an odd version."""
        # Read before the rest: a copy of whole rows may well be made from the end.
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
        return RowWriter(self.rows, index)


class RowWriter:
    """The one writer of one row: `with writer as row: row["readings"] += 1`."""

    def __init__(self, rows: Rows, index: int) -> None:
        self._row: Any = rows[index]

    def __enter__(self) -> Any:
        # A writer that was killed halfway left the version odd; the next one continues from there.
        self._row["version"] |= 1
        return self._row

    def __exit__(self, *_: object) -> None:
        self._row["version"] += 1

    @property
    def fields(self) -> Any:
        """The row for single stores and for reading one's own values, without the sequence lock."""
        return self._row

    def reason(self, text: str) -> None:
        self._row["reason"] = text.encode()[:192]


def reserve_disk_space(descriptor: int, size: int) -> None:
    """Reserve `size` bytes of real disk space for an empty file; raises OSError (ENOSPC) if there is none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS
        os.pwrite(descriptor, bytes(size), 0)

"""The writers of scoreboard rows: a worker for its sensors, the supervisor for sensors without a process."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import MISSING_DATA_INDEX
from worker.scoreboard import COMMIT_BOUNDS_US, LAG_BOUNDS_US, STATE_INDEX, STATES, Scoreboard
from worker.spec import WorkerSpec
from worker.storage.sinks import Portion

WAITING_STATES = ("pending", "starting", "restarting")
UNREADY_STATES = (*WAITING_STATES, "unready")
"""States of a sensor that still waits for a commit."""


class MetricsWriter:
    """Writes the rows of one worker's sensors; `rows` are their indices, in the order of the sensors."""

    def __init__(self, scoreboard: Scoreboard, rows: Sequence[int]) -> None:
        self._rows = scoreboard.rows
        self._indices = np.array(rows, dtype=np.intp)
        self._writers = [scoreboard.row(row) for row in rows]

    def heartbeat(self) -> None:
        """Record that the commit loop is alive."""
        self._rows["heartbeat_ns"][self._indices] = time.monotonic_ns()

    def set_started(self) -> None:
        """Record this process as the worker of the sensors."""
        self._rows["pid"][self._indices] = os.getpid()
        self.heartbeat()

    def set_state(self, name: str, reason: str = "") -> None:
        """Set the state and the reason of all sensors."""
        self._set(name, range(len(self._writers)), reason)

    def set_ready(self, activities: Sequence[str]) -> None:
        """Record that the worker has its database and that all that was due is committed, be it nothing so far.
        `activities` are the sensors' states."""
        rows, indices = self._rows, self._indices
        first = rows["first_commit_ns"][indices]
        rows["first_commit_ns"][indices] = np.where(first == 0, time.monotonic_ns(), first)
        for number, (name, state) in enumerate(zip(activities, rows["state"][indices].tolist(), strict=True)):
            if STATE_INDEX[name] != state:
                self._set(name, [number])
        self.heartbeat()

    def _set(self, name: str, indices: Iterable[int], reason: str = "") -> None:
        for index in indices:
            writer = self._writers[index]
            with writer as row:
                row["state"] = STATE_INDEX[name]
                writer.reason(reason)

    def set_lags(self, lags_us: Sequence[int]) -> None:
        """Set the age of each sensor's oldest due reading, in microseconds, while nothing can be committed."""
        self._rows["lag_us"][self._indices] = lags_us

    def count_retry(self, *, given_up: bool) -> None:
        """Count a transaction that is tried again; `given_up` counts it as an error too."""
        self._rows["retries"][self._indices] += 1
        self._rows["errors"][self._indices] += given_up

    def count_recreation(self, *, incomplete: bool) -> None:
        """Count a database that was lost and begun again; `incomplete` if it will not get all readings of the run."""
        self._rows["renewals"][self._indices] += 1
        if incomplete:
            self._rows["incomplete"][self._indices] = 1

    def count_portion(self, index: int, portion: Portion) -> None:
        """Count a portion of sensor number `index` that was committed."""
        block = portion.block
        with self._writers[index] as row:
            row["next_seq"] = portion.end
            if block is None:
                return
            counts = np.bincount(block.kinds + 1, minlength=len(ANOMALY_TYPES) + 1)[1:]
            row["anomalies"] += counts
            row["readings"] += block.size - counts[MISSING_DATA_INDEX]
            row["anomaly"] = block.kinds[-1]
            delivered = np.flatnonzero(block.kinds != MISSING_DATA_INDEX)
            if len(delivered):
                last = delivered[-1]
                row["timestamp_us"] = portion.schedule.time(block.first + int(last))
                row["values"][: len(block.values)] = block.values[:, last]

    def count_commit(self, portions: Sequence[tuple[int, Portion]], took_us: int, age_us: Callable[[int], int]) -> None:
        """Count a commit of (sensor number, portion) pairs that took `took_us`; `age_us` gives the lag of a reading from the
        simulated time at which it was due."""
        rows, indices = self._rows, self._indices
        rows["commits"][indices] += 1
        rows["commit_total_us"][indices] += took_us
        rows["commit_buckets"][indices, bisect_left(COMMIT_BOUNDS_US, took_us)] += 1
        rows["committed_at_us"][indices] = time.time_ns() // 1000
        for index, portion in reversed(portions):  # a sensor's first portion, its oldest, is written last
            if portion.block:
                rows["lag_us"][indices[index]] = age_us(portion.schedule.time(portion.block.first))
        late = indices[sorted({index for index, portion in portions if portion.block})]
        lags = rows["lag_us"][late]
        rows["lag_total_us"][late] += lags
        rows["lag_buckets"][late, np.searchsorted(LAG_BOUNDS_US, lags)] += 1


def record_state(
    scoreboard: Scoreboard, spec: WorkerSpec, incarnation: int, state: str, reason: str = "", *, died: bool = False
) -> None:
    """Write the rows of a worker that has no process; the supervisor is their writer then."""
    for number, sensor in enumerate(spec.sensors):
        writer = scoreboard.row(sensor.row)
        with writer as row:
            # A worker that is restarted again and again without a commit waits since the first attempt.
            if state in WAITING_STATES and STATES[row["state"]] not in UNREADY_STATES:
                row["waiting_ns"] = time.monotonic_ns()
            row["leads"] = number == 0
            row["state"] = STATE_INDEX[state]
            row["pid"] = 0
            if state == "starting":
                row["incarnation"] = incarnation
            row["restarts"] += died
            row["errors"] += died
            if state in ("pending", "starting"):
                row["started_ns"] = row["heartbeat_ns"] = time.monotonic_ns()
            writer.reason(reason)

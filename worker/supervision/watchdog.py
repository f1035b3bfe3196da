"""Detection of hung workers: the process lives, but its commit loop has sent no heartbeat for too long."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from worker.scoreboard import Scoreboard
from worker.supervision.slot import Slot

WATCHDOG_INTERVAL_SECONDS = 1.0
"""Seconds between two checks."""

MIN_MISSED_CHECKS = 2
"""Checks without a sign of life before a process is killed: one alone may fall into the moment when all processes resume."""


class Watchdog:
    """Checks all heartbeats once per WATCHDOG_INTERVAL_SECONDS.

    `limit` is the number of seconds that a commit loop may be silent. It is counted in checks: an hour during which the
    whole machine was suspended counts as one.
    """

    def __init__(self, scoreboard: Scoreboard, limit: float) -> None:
        self._heartbeats = scoreboard.rows["heartbeat_ns"]
        self._previous = self._heartbeats.copy()
        self._missed = np.zeros(scoreboard.capacity, dtype=np.int64)
        self._limit = max(MIN_MISSED_CHECKS, math.ceil(limit / WATCHDOG_INTERVAL_SECONDS))

    def check(self, slots: Iterable[Slot]) -> list[Slot]:
        """Return the slots whose workers hang and have no deadline to be killed at yet."""
        heartbeats = self._heartbeats.copy()
        self._missed = np.where(heartbeats == self._previous, self._missed + 1, 0)
        self._previous = heartbeats
        return [
            slot
            for slot in slots
            if slot.child is not None
            and slot.kill_at is None
            and self._missed[slot.spec.sensors[0].row] >= self._limit
            and not slot.child.spawn_pending
            and not slot.child.lifeline_closed()
        ]

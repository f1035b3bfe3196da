"""Workers that hang: their process lives, but the loop that commits has not beaten for too long."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from worker.scoreboard import Scoreboard
from worker.supervision.slot import Slot

WATCHDOG_INTERVAL_SECONDS = 1.0
"""Seconds between two looks."""

MIN_MISSED_CHECKS = 2
"""In vain, one after the other, before anybody is given up: a single one may fall into the moment in which all wake up."""


class Watchdog:
    """Looks at the heartbeats once a second. `limit` is how many seconds a loop may be silent, counted in looks: if
    everybody stood still for an hour (a laptop lid), that was one."""

    def __init__(self, scoreboard: Scoreboard, limit: float) -> None:
        self._beats = scoreboard.rows["heartbeat_ns"]
        self._seen = self._beats.copy()
        self._silent = np.zeros(scoreboard.capacity, dtype=np.int64)
        self._limit = max(MIN_MISSED_CHECKS, math.ceil(limit / WATCHDOG_INTERVAL_SECONDS))

    def check(self, slots: Iterable[Slot]) -> list[Slot]:
        """Those that hang and were not yet seen to."""
        beats = self._beats.copy()
        self._silent = np.where(beats == self._seen, self._silent + 1, 0)
        self._seen = beats
        return [
            slot
            for slot in slots
            if slot.child is not None
            and slot.kill_at is None
            and self._silent[slot.spec.sensors[0].row] >= self._limit
            and not slot.child.spawn_pending
            and not slot.child.lifeline_closed()
        ]

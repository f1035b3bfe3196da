"""Workers that hang: their process lives, but the loop that commits has not beaten for too long."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from worker.board import Board
from worker.slot import Slot

PERIOD = 1.0
"""Seconds between two looks."""

FEWEST_LOOKS = 2
"""In vain, one after the other, before anybody is given up: a single one may fall into the moment in which all wake up."""


class Hangs:
    """Looks at the heartbeats once a second. `limit` is how many seconds a loop may be silent, counted in looks: if
    everybody stood still for an hour (a laptop lid), that was one."""

    def __init__(self, board: Board, limit: float) -> None:
        self._beats = board.rows["heartbeat_ns"]
        self._seen = self._beats.copy()
        self._silent = np.zeros(board.capacity, dtype=np.int64)
        self._limit = max(FEWEST_LOOKS, math.ceil(limit / PERIOD))

    def look(self, slots: Iterable[Slot]) -> list[Slot]:
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
            and not slot.child.awaited
            and not slot.child.hung_up()
        ]

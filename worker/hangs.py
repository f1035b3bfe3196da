"""Workers that hang: their process lives, but the loop that commits has not beaten for too long."""

from __future__ import annotations

from collections.abc import Iterable

from worker.board import Board
from worker.slot import Slot

PERIOD = 1.0
PAUSE = 5.0
"""Seconds between two looks after which it is clear that this process itself stood still (a laptop lid)."""


class Hangs:
    """Looks at the heartbeats once a second. `limit` is how many seconds a loop may be silent."""

    def __init__(self, board: Board, limit: float, now: float) -> None:
        self._beats, self._limit, self._checked = board.rows["heartbeat_ns"], limit, now

    def find(self, slots: Iterable[Slot], now: float) -> list[Slot]:
        """Those that hang at `now` (monotonic seconds) and were not yet seen to."""
        since = now - self._checked
        if since < PERIOD:
            return []
        self._checked = now
        if since > PAUSE:  # everybody stood still; let the others catch their breath
            return []
        oldest = (now - self._limit) * 1e9
        return [
            slot
            for slot in slots
            if slot.child is not None and slot.kill_at is None and self._beats[slot.spec.sensors[0].row] < oldest
        ]

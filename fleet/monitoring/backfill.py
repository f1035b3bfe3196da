"""The progress of a history that a fleet writes before it is live."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fleet.monitoring.health import FleetState
from worker.scoreboard import STATE_INDEX

OF_WRITTEN_HISTORY = [STATE_INDEX[name] for name in ("healthy", "done", "paused")]
"""The states of sensors that have written their history."""


class BackfillProgress(NamedTuple):
    """The share of the history that is written, and the readings that are not."""

    share: float
    readings_left: int

    def seconds_left(self, rate: float) -> float | None:
        """Return how long the rest takes at `rate` readings a second, None if that is not known."""
        return self.readings_left / rate if rate > 0 else None

    def document(self, rate: float) -> dict[str, Any]:
        """Return it as JSON."""
        seconds = self.seconds_left(rate)
        return {"share": round(self.share, 4), "seconds_left": None if seconds is None else round(seconds, 1)}

    def describe(self, rate: float) -> str:
        """Describe it as `backfilling 43%, 2 min left`."""
        seconds = self.seconds_left(rate)
        left = "" if seconds is None else f", {round_time(seconds)} left"
        return f"backfilling {int(self.share * 100)}%{left}"


def backfill_progress(fleet: FleetState) -> BackfillProgress | None:
    """Return how far the history of a fleet is, None if it has none or has written it."""
    roster = fleet.roster
    if not roster.backfill_us or history_is_written(fleet):
        return None
    left_us = np.clip(roster.live_us - fleet.rows["timestamp_us"], 0, roster.backfill_us)
    rates = np.array([member.rate for member in fleet.members])
    share = 1 - float(left_us.mean()) / roster.backfill_us if len(left_us) else 1.0
    return BackfillProgress(share, int((left_us / 1e6 * rates).sum()))


def history_is_written(fleet: FleetState) -> bool:
    """Whether every sensor has written its history, as far as the run has come."""
    return bool(np.isin(fleet.rows["state"], OF_WRITTEN_HISTORY).all())


def round_time(seconds: float) -> str:
    """Return a time for people: 12 s, 3 min, 2.5 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5700 else f"{seconds / 3600:.1f} h"

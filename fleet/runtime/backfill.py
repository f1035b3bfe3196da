"""The history of a running fleet: the supervisor's loop notes when all of it is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from fleet.durations import duration_text
from fleet.errors import UserError
from fleet.monitoring.backfill import history_is_written
from fleet.monitoring.health import FleetState
from fleet.monitoring.stats import fleet_stats
from fleet.runtime.reconciler import Reconciler
from worker.schedule import SECOND_US


class Backfill:
    """Watches a history until it is written, and records that in the manifest: a later start then skips to now as usual.
    `publish_plan` of the reconciler writes the manifest."""

    def __init__(self, reconciler: Reconciler, observe: Callable[[], FleetState]) -> None:
        self._reconciler, self._observe = reconciler, observe
        self._begun = time.monotonic()

    def __call__(self) -> None:
        """Note the end of the history, once."""
        record = self._reconciler.plan.record
        if not record.owes_history:
            return
        fleet = self._observe()
        if not history_is_written(fleet):
            return
        try:
            self._reconciler.change_record(replace(record, backfilled=True))
        except UserError:  # the disk is full: try again later
            return
        seconds, readings = time.monotonic() - self._begun, fleet_stats(fleet.rows).readings
        length = duration_text(record.backfill_us / SECOND_US)
        self._reconciler.supervisor.record_event(
            "fleet", f"the history of {length} is written: {readings:,} readings in {seconds:,.1f} s", "backfill"
        )

"""Errors by class: what went wrong in this run, as `/metricz`, `/statusz`, `fleet status` and the summary tell it.

To add a class: one entry in `error_classes`, counted from what somebody has on record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.monitoring.stats import FleetStats


def error_classes(sums: FleetStats, reload: Mapping[str, Any], backups: Mapping[str, Any]) -> dict[str, int]:
    """`database`: transactions that failed as often as `retry_attempts` says, each of them written later. `process`:
    workers that died. `configuration`: what cannot be taken of the files that are watched, as of now. `backup`: those
    that failed. `reload` is as of `fleet.datadir.reload_report`, `backups` of `fleet.datadir.backup_status`."""
    return {
        "database": max(0, sums.errors - sums.restarts),  # a death counts as both
        "process": sums.restarts + sums.states.get("failed", 0),
        "configuration": len(reload.get("problems", ())),
        "backup": backups.get("failed", 0),
    }


def format_error_classes(classes: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in classes.items())

"""The statistics of a fleet: sums over the scoreboard rows of its sensors, and its errors by class.

To add a statistic: a field of `FleetStats`, and its sum in `fleet_stats`. To add a class of errors: an entry in
`error_classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fleet.datadir.backups import BackupStatus
from fleet.datadir.reload_report import ReloadReport
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES
from worker.scoreboard import STATE_INDEX, Rows


@dataclass(frozen=True, slots=True)
class FleetStats:
    """Counts of this run. `failed` are the sensors whose restarts have been given up. `lag` is the greatest delay, in
    seconds, between the time of a reading and its commit. `commit_ms` is the mean duration of a transaction."""

    sensors: int
    failed: int
    readings: int
    scheduled: int
    anomalies: dict[str, int]
    errors: int
    retries: int
    restarts: int
    renewals: int
    commits: int
    lag: float
    commit_ms: float


def types_to_show(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of the types of anomaly that are worth a line: those that occur by default, and others that have
    occurred."""
    return {each.name: counts[each.name] for each in ANOMALY_CLASSES if each.enabled_by_default or counts[each.name]}


def fleet_stats(rows: Rows) -> FleetStats:
    """Add up scoreboard rows of members of the roster, in any order."""
    # Sensors that share a process have its counts in each of their rows; an incarnation is one process.
    _, one_each = np.unique(rows["incarnation"], return_index=True)
    commits = int(rows["commits"][one_each].sum())
    return FleetStats(
        sensors=len(rows),
        failed=int((rows["state"] == STATE_INDEX["failed"]).sum()),
        readings=int(rows["readings"].sum()),
        scheduled=int(rows["readings"].sum()) + int(rows["anomalies"][:, ANOMALY_TYPES.index("missing_data")].sum()),
        anomalies={kind: int(count) for kind, count in zip(ANOMALY_TYPES, rows["anomalies"].sum(axis=0), strict=True)},
        errors=int(rows["errors"][one_each].sum()),
        retries=int(rows["retries"][one_each].sum()),
        restarts=int(rows["restarts"][one_each].sum()),
        renewals=int(rows["renewals"][one_each].sum()),
        commits=commits,
        lag=int(rows["lag_us"].max(initial=0)) / 1e6,
        commit_ms=int(rows["commit_total_us"][one_each].sum()) / commits / 1e3 if commits else 0.0,
    )


def error_classes(stats: FleetStats, reload: ReloadReport | None, backups: BackupStatus | None) -> dict[str, int]:
    """Count errors by class. `database`: transactions that failed after all `retry_attempts`, each of them written
    later. `process`: workers that died or were given up. `configuration`: watched files that cannot be taken at
    present. `backup`: backups that failed."""
    return {
        "database": max(0, stats.errors - stats.restarts),  # the death of a worker counts as both
        "process": stats.restarts + stats.failed,
        "configuration": len(reload.problems) if reload else 0,
        "backup": backups.failed if backups else 0,
    }


def format_error_classes(classes: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in classes.items())


SMALL_VALUE = 0.01
"""Three decimals say little about values below this."""


def compact_number(number: float) -> str:
    """A number in at most six characters: 999, 9,999, 12.3k, 123M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            unit = 1e3 if letter == "k" else size
            return f"{number / unit:.{1 if number / unit < 100 else 0}f}{letter}"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


def format_value(number: float | None) -> str:
    """Format a measured value to about four digits, a very small one to three. Values of one channel mostly get the same
    number of decimals."""
    if number is None:
        return "–"
    size = abs(number)
    if 0 < size < SMALL_VALUE:
        return f"{number:#.3g}"
    return f"{number:,.{0 if size >= 1000 else 2 if size >= 10 else 3}f}"

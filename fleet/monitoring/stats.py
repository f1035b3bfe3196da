"""The fleet's figures: what the scoreboard says about all sensors together, added up once and shown everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.scoreboard import SCOREBOARD_ANOMALIES, STATE_INDEX, STATES, Rows

HEALTHY_STATES = ("healthy", "done", "stopped", "paused")


@dataclass(frozen=True, slots=True)
class FleetStats:
    """Counts of this run; `lag` is how late the worst sensor committed its oldest reading, in seconds; `commit_ms` is
    the mean transaction."""

    sensors: int
    states: dict[str, int]
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

    @property
    def healthy(self) -> int:
        return sum(self.states.get(state, 0) for state in HEALTHY_STATES)


def fleet_stats(rows: Rows) -> FleetStats:
    """Add up scoreboard rows (those of the roster's members, any order)."""
    counts = np.bincount(rows["state"], minlength=len(STATES))
    # Sensors that share a process have its counts in each of their rows; an incarnation is one process.
    _, one_each = np.unique(rows["incarnation"], return_index=True)
    commits = int(rows["commits"][one_each].sum())
    return FleetStats(
        sensors=len(rows),
        states={name: int(count) for name, count in zip(STATES, counts, strict=True) if count},
        readings=int(rows["readings"].sum()),
        scheduled=int(rows["readings"].sum() + rows["anomalies"][:, SCOREBOARD_ANOMALIES.index("missing_data")].sum()),
        anomalies={
            kind: int(count) for kind, count in zip(SCOREBOARD_ANOMALIES, rows["anomalies"].sum(axis=0), strict=True)
        },
        errors=int(rows["errors"][one_each].sum()),
        retries=int(rows["retries"][one_each].sum()),
        restarts=int(rows["restarts"][one_each].sum()),
        renewals=int(rows["renewals"][one_each].sum()),
        commits=commits,
        lag=int(rows["lag_us"].max(initial=0)) / 1e6,
        commit_ms=int(rows["commit_total_us"][one_each].sum()) / commits / 1e3 if commits else 0.0,
    )


def unhealthy_sensors(rows: Rows, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(sensor id, state, reason) of the sensors that are unready or failed; `names` in the order of `rows`."""
    bad = np.isin(rows["state"], [STATE_INDEX["unready"], STATE_INDEX["failed"]])
    return [
        (names[int(index)], STATES[rows["state"][index]], rows["reason"][index].decode(errors="replace"))
        for index in np.flatnonzero(bad)
    ]


def compact_number(number: float) -> str:
    """A number in at most six characters: 999, 9,999, 12.3k, 123M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            unit = 1e3 if letter == "k" else size
            return f"{number / unit:.{1 if number / unit < 100 else 0}f}{letter}"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"

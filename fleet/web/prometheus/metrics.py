"""The fleet as Prometheus sees it: `/metrics`, in its text format or as OpenMetrics.

Counters are those of this run: they outlast restarts of workers and of the HTTP process, and sensors that leave the
fleet leave their counts behind. To add a metric: a family in one of the functions that `FAMILIES` lists.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fleet.monitoring.health import (
    DISPLAY_STATES,
    IDLE_STATES,
    count_by_state,
    display_states,
    unhealthy_positions,
)
from fleet.monitoring.memory import MemoryUsage
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import current_anomalies
from fleet.web.documents.reports import version
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import COMMIT_BOUNDS_US, LAG_BOUNDS_US, Rows

Families = Iterator[Metric]


class FleetCollector(Collector):
    """The families of one observation; `data` is the directory whose disk fills up."""

    def __init__(self, observation: Observation, memory: MemoryUsage, data: Path) -> None:
        self._observation, self._memory, self._data = observation, memory, data

    def collect(self) -> Families:
        for families in FAMILIES:
            yield from families(self._observation)
        yield from host_families(self._memory, self._data)


def info_families(observation: Observation) -> Families:
    roster = observation.roster
    info = InfoMetricFamily("fleet_build", "What runs: version of the program and of Python.")
    info.add_metric([], {"version": version(), "python": platform.python_version()})
    yield info
    run = InfoMetricFamily("fleet_run", "Seed, layout of the databases, and number of the run.")
    run.add_metric([], {"seed": str(roster.seed), "layout": str(roster.layout), "run": str(roster.run)})
    yield run
    began = datetime.fromisoformat(roster.started_at).timestamp()
    yield GaugeMetricFamily("fleet_start_time", "When this run began, since 1970.", began, unit="seconds")


def state_families(observation: Observation) -> Families:
    shown = display_states(observation)
    counts = count_by_state(shown)
    family = GaugeMetricFamily("fleet_sensors", "Sensors of the fleet by state.", labels=["state"])
    for state in DISPLAY_STATES:
        family.add_metric([state], counts.get(state, 0))
    yield family
    bad = len(unhealthy_positions(observation, shown))
    yield GaugeMetricFamily("fleet_unhealthy_sensors", "Sensors because of which /healthz answers 503.", bad)
    kinds = current_anomalies(observation)
    inside = np.bincount(kinds[kinds >= 0], minlength=len(ANOMALY_TYPES)).tolist()
    now = GaugeMetricFamily("fleet_anomalous_sensors", "Sensors that are in an anomaly now, by type.", labels=["type"])
    for kind, count in zip(ANOMALY_TYPES, inside, strict=True):
        now.add_metric([kind], count)
    yield now


def reading_families(observation: Observation) -> Families:
    rows = observation.all_rows
    yield counter_family("fleet_readings", "Readings written to databases.", rows["readings"])
    anomalies = rows["anomalies"].sum(axis=0)
    missing = int(anomalies[ANOMALY_TYPES.index("missing_data")])
    scheduled = int(rows["readings"].sum()) + missing
    yield CounterMetricFamily(
        "fleet_scheduled_readings", "Readings settled: written, or missing on purpose.", scheduled
    )
    family = CounterMetricFamily(
        "fleet_anomalous_readings", "Anomalous readings by type, the missing ones included.", labels=["type"]
    )
    for kind, count in zip(ANOMALY_TYPES, anomalies.tolist(), strict=True):
        family.add_metric([kind], count)
    yield family
    running = ~np.isin(display_states(observation), IDLE_STATES)
    asked = float(observation.target_rates[running].sum())
    yield GaugeMetricFamily("fleet_asked_readings_per_second", "Readings that are asked for in a second.", asked)


def process_families(observation: Observation) -> Families:
    rows = worker_rows(observation)
    yield counter_family("fleet_restarts", "Worker processes that died and were to be replaced.", rows["restarts"])
    given_up = rows["errors"] - rows["restarts"]  # a death counts as both
    yield counter_family("fleet_database_errors", "Transactions that failed as often as retry_attempts says.", given_up)
    yield counter_family("fleet_database_retries", "Transactions that were tried again.", rows["retries"])
    yield counter_family(
        "fleet_database_renewals", "Databases that were damaged, deleted or replaced.", rows["renewals"]
    )
    workers = len(np.unique(observation.rows["pid"][observation.rows["pid"] > 0]))
    yield GaugeMetricFamily("fleet_workers", "Worker processes that live.", workers)


def timing_families(observation: Observation) -> Families:
    rows = worker_rows(observation)
    text = "How long transactions took: readings, checkpoint and episodes."
    yield histogram_family("fleet_commit", text, COMMIT_BOUNDS_US, rows["commit_buckets"], rows["commit_total_us"])
    rows = observation.all_rows
    text = "How old a sensor's oldest reading was when it was committed, for each commit."
    yield histogram_family("fleet_lag", text, LAG_BOUNDS_US, rows["lag_buckets"], rows["lag_total_us"])
    worst = int(observation.rows["lag_us"].max(initial=0)) / 1e6
    text = "The lag of the sensor that is furthest behind, as of its last commit or attempt."
    yield GaugeMetricFamily("fleet_worst_lag", text, worst, unit="seconds")


def file_families(observation: Observation) -> Families:
    reload, backups = observation.reload, observation.backups
    count = len(reload.problems) if reload else 0
    yield GaugeMetricFamily("fleet_configuration_problems", "Lines that keep watched files from being taken.", count)
    made, failed = (backups.made, backups.failed) if backups else (0, 0)
    yield CounterMetricFamily("fleet_backups", "Backups of databases that were made.", made)
    yield CounterMetricFamily("fleet_backup_failures", "Backups of databases that were failed.", failed)


def host_families(memory: MemoryUsage, data: Path) -> Families:
    text = "Memory of all processes together; what they share is counted once where the system can tell."
    yield GaugeMetricFamily("fleet_memory", text, memory.bytes, unit="bytes")
    text = "Free space on the disk of the data directory."
    yield GaugeMetricFamily("fleet_disk_free", text, shutil.disk_usage(data).free, unit="bytes")


FAMILIES: tuple[Callable[[Observation], Families], ...] = (
    info_families,
    state_families,
    reading_families,
    process_families,
    timing_families,
    file_families,
)


def worker_rows(observation: Observation) -> Rows:
    """One row for each process: sensors that share one have its counts in each of their rows."""
    rows = observation.all_rows
    leading_ones: Rows = rows[rows["leads"] == 1]
    return leading_ones


def counter_family(name: str, text: str, counts: npt.NDArray[np.int64]) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, int(counts.sum()))


def histogram_family(
    name: str, text: str, bounds_us: tuple[int, ...], buckets: npt.NDArray[np.int64], total_us: npt.NDArray[np.int64]
) -> HistogramMetricFamily:
    """In seconds, from buckets of rows that count each event once; Prometheus wants them cumulative."""
    names = [*(str(bound / 1e6) for bound in bounds_us), "+Inf"]
    counts = accumulate(buckets.sum(axis=0).tolist())
    return HistogramMetricFamily(
        name, text, list(zip(names, counts, strict=True)), sum_value=int(total_us.sum()) / 1e6, unit="seconds"
    )

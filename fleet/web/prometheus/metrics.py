"""The metrics of a fleet and of its sensors, as `/metrics` has them.

To add a metric: count it in a field of the scoreboard's row (`worker/scoreboard.py`) and declare it here, one line in
FLEET_METRICS such as `counter("fleet_tries", "Tries of something.", total("tries"))`, or in SENSOR_METRICS for a series
per sensor. docs/monitoring.md lists the names; a test compares.

Counters cover the current run. They survive restarts of workers and of the HTTP process, and keep the counts of sensors
that have left the fleet.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from fleet.monitoring.health import DISPLAY_STATES, IDLE_STATES, count_by_state, display_states, unhealthy_positions
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document, current_anomalies
from fleet.web.documents.status import delivery_targets, version
from fleet.web.prometheus.exposition import (
    Metric,
    MetricType,
    Number,
    Scrape,
    counter,
    escape_label,
    gauge,
    histogram,
    info,
    labelled,
    sensor_metric,
)
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES
from worker.scoreboard import COMMIT_BOUNDS_US, LAG_BOUNDS_US

IDENTITY_LABELS = ("manufacturer", "model", "firmware_version", "location", "sensor_type")


def total(field: str) -> Callable[[Scrape], int]:
    """The sum of a field that each sensor counts for itself, over all sensors of this run."""
    return lambda scrape: int(scrape.observation.all_rows[field].sum())


def worker_total(field: str) -> Callable[[Scrape], int]:
    """The sum of a field that is counted once per process, over all processes of this run."""
    return lambda scrape: int(scrape.worker_rows[field].sum())


def run_labels(scrape: Scrape) -> dict[str, object]:
    roster = scrape.observation.roster
    return {"layout": roster.layout, "run": roster.run, "seed": roster.seed}


def sensors_by_state(scrape: Scrape) -> dict[str, int]:
    return dict.fromkeys(DISPLAY_STATES, 0) | count_by_state(display_states(scrape.observation))


def unhealthy_sensors(scrape: Scrape) -> int:
    return len(unhealthy_positions(scrape.observation, display_states(scrape.observation)))


def anomalous_sensors(scrape: Scrape) -> dict[str, int]:
    kinds = current_anomalies(scrape.observation)
    counts = np.bincount(kinds[kinds >= 0], minlength=len(ANOMALY_TYPES))
    return dict(zip(ANOMALY_TYPES, counts.tolist(), strict=True))


def anomalous_readings(scrape: Scrape) -> dict[str, int]:
    counts = scrape.observation.all_rows["anomalies"].sum(axis=0)
    return dict(zip(ANOMALY_TYPES, counts.tolist(), strict=True))


def scheduled_readings(scrape: Scrape) -> int:
    return total("readings")(scrape) + anomalous_readings(scrape)["missing_data"]


def asked_readings_per_second(scrape: Scrape) -> float:
    running = ~np.isin(display_states(scrape.observation), IDLE_STATES)
    return float(scrape.observation.target_rates[running].sum())


def database_errors(scrape: Scrape) -> int:
    """Workers count their own death as an error too."""
    return worker_total("errors")(scrape) - worker_total("restarts")(scrape)


def live_workers(scrape: Scrape) -> int:
    return len({pid for pid in scrape.observation.rows["pid"].tolist() if pid > 0})


def worst_lag(scrape: Scrape) -> float:
    return int(scrape.observation.rows["lag_us"].max(initial=0)) / 1e6


def configuration_problems(scrape: Scrape) -> int:
    reload = scrape.observation.reload
    return len(reload.problems) if reload else 0


def backups_made(scrape: Scrape) -> int:
    return scrape.observation.backups.made if scrape.observation.backups else 0


def backups_failed(scrape: Scrape) -> int:
    return scrape.observation.backups.failed if scrape.observation.backups else 0


def target_metric(
    type_: MetricType, name: str, help_: str, value: Callable[[Document], Number | None], unit: str = ""
) -> Metric:
    """A series per target that the readings are delivered to, without those whose value is None."""
    metric_name = f"fleet_delivery_{name}"

    def values(scrape: Scrape) -> dict[str, Number]:
        found = {target["name"]: value(target) for target in delivery_targets(scrape.observation)}
        return {name: number for name, number in found.items() if number is not None}

    return labelled(type_, metric_name, help_, "target", values)._replace(unit=unit)


DELIVERY_METRICS = (
    target_metric(
        "gauge", "healthy", "1, or 0 where the target makes the fleet degraded.", lambda of: int(of["healthy"])
    ),
    target_metric("counter", "readings", "Readings that the target has taken.", lambda of: of["delivered"]),
    target_metric("counter", "duplicates", "Readings among them that it already had.", lambda of: of["duplicates"]),
    target_metric("counter", "refused_readings", "Readings that the target will never take.", lambda of: of["refused"]),
    target_metric("counter", "retries", "Deliveries that failed and were made again.", lambda of: of["retries"]),
    target_metric("gauge", "backlog_readings", "Readings that the target lacks.", lambda of: of["backlog"]),
    target_metric(
        "gauge",
        "backlog_age_seconds",
        "Time for which the oldest reading that the target lacks has been waiting.",
        lambda of: of["backlog_age_seconds"],
        "seconds",
    ),
    target_metric(
        "gauge",
        "last_error_timestamp_seconds",
        "Last error of the target, since 1970.",
        lambda of: of["last_error_at"],
        "seconds",
    ),
)

FLEET_METRICS = (
    info(
        "fleet_build",
        "Version of the program and of Python.",
        lambda _: {"python": platform.python_version(), "version": version()},
    ),
    info("fleet_run", "Seed, layout of the databases, and number of the run.", run_labels),
    gauge(
        "fleet_start_time_seconds",
        "Start of this run, since 1970.",
        lambda scrape: datetime.fromisoformat(scrape.observation.roster.started_at).timestamp(),
        "seconds",
    ),
    labelled("gauge", "fleet_sensors", "Sensors of the fleet by state.", "state", sensors_by_state),
    gauge("fleet_unhealthy_sensors", "Sensors because of which /healthz answers 503.", unhealthy_sensors),
    labelled(
        "gauge", "fleet_anomalous_sensors", "Sensors that are in an anomaly now, by type.", "type", anomalous_sensors
    ),
    counter("fleet_readings", "Readings written to databases.", total("readings")),
    counter("fleet_scheduled_readings", "Readings written, or missing on purpose.", scheduled_readings),
    labelled(
        "counter",
        "fleet_anomalous_readings",
        "Anomalous readings by type, the missing ones included.",
        "type",
        anomalous_readings,
    ),
    gauge("fleet_asked_readings_per_second", "Target rate of all sensors together.", asked_readings_per_second),
    counter("fleet_restarts", "Worker processes that died and were to be replaced.", worker_total("restarts")),
    counter("fleet_database_errors", "Transactions that failed as often as retry_attempts allows.", database_errors),
    counter("fleet_database_retries", "Transactions that were tried again.", worker_total("retries")),
    counter("fleet_database_renewals", "Databases that were damaged, deleted or replaced.", worker_total("renewals")),
    gauge("fleet_workers", "Worker processes that are alive.", live_workers),
    histogram(
        "fleet_commit_seconds",
        "Duration of transactions: readings, checkpoint and episodes.",
        COMMIT_BOUNDS_US,
        lambda scrape: scrape.worker_rows,
        "commit_buckets",
        "commit_total_us",
    ),
    histogram(
        "fleet_lag_seconds",
        "Age of a sensor's oldest reading when it was committed, for each commit.",
        LAG_BOUNDS_US,
        lambda scrape: scrape.observation.all_rows,
        "lag_buckets",
        "lag_total_us",
    ),
    gauge(
        "fleet_worst_lag_seconds",
        "Lag of the sensor that is furthest behind, at its last commit or attempt.",
        worst_lag,
        "seconds",
    ),
    gauge(
        "fleet_configuration_problems",
        "Problems that keep changes of watched files from taking effect.",
        configuration_problems,
    ),
    counter("fleet_backups", "Backups of databases that were made.", backups_made),
    counter("fleet_backup_failures", "Backups of databases that failed.", backups_failed),
    gauge(
        "fleet_memory_bytes",
        "Memory of all processes; shared memory is counted once where the system can tell.",
        lambda scrape: scrape.memory.bytes,
        "bytes",
    ),
    gauge(
        "fleet_disk_free_bytes",
        "Free space on the disk of the data directory.",
        lambda scrape: shutil.disk_usage(scrape.data_directory).free,
        "bytes",
    ),
    *DELIVERY_METRICS,
)


def row_field(field: str) -> Callable[[Observation], Sequence[Number]]:
    return lambda observation: list(observation.rows[field].tolist())


def row_seconds(field: str) -> Callable[[Observation], Sequence[Number]]:
    return lambda observation: list((observation.rows[field] / 1e6).tolist())


def is_healthy(observation: Observation) -> Sequence[Number]:
    healthy = np.ones(len(observation.rows), dtype=np.int64)
    healthy[unhealthy_positions(observation, display_states(observation))] = 0
    return list(healthy.tolist())


def is_in_anomaly(observation: Observation) -> Sequence[Number]:
    return list((current_anomalies(observation) >= 0).astype(int).tolist())


def identity_lines(scrape: Scrape) -> list[str]:
    lines = []
    for label, member in zip(scrape.sensor_labels, scrape.observation.members, strict=True):
        identity = "".join(
            f',{name}="{escape_label(getattr(member.identity, name) or "")}"' for name in IDENTITY_LABELS
        )
        lines.append(f'fleet_sensor_info{label},worker="{escape_label(member.worker)}"{identity}}} 1\n')
    return lines


def anomalous_reading_lines(scrape: Scrape) -> list[str]:
    """A type that is off by default has no series until it occurs in a sensor."""
    by_default = [each.enabled_by_default for each in ANOMALY_CLASSES]
    return [
        f'fleet_sensor_anomalous_readings_total{label},type="{kind}"}} {count}\n'
        for label, counts in zip(scrape.sensor_labels, scrape.observation.rows["anomalies"].tolist(), strict=True)
        for kind, shown, count in zip(ANOMALY_TYPES, by_default, counts, strict=True)
        if shown or count
    ]


def value_lines(scrape: Scrape) -> list[str]:
    """Values that a sensor did not measure have no series."""
    observation = scrape.observation
    lines = []
    has_written = observation.rows["readings"] > 0
    values_by_sensor = np.where(has_written[:, None], observation.rows["values"], np.nan).tolist()
    channel_labels: dict[tuple[tuple[str, str], ...], list[str]] = {}  # most sensors have the same channels
    for label, member, values in zip(scrape.sensor_labels, observation.members, values_by_sensor, strict=True):
        if member.channels not in channel_labels:
            channel_labels[member.channels] = [
                f'channel="{escape_label(channel)}",unit="{escape_label(unit)}"' for channel, unit in member.channels
            ]
        for channel, value in zip(channel_labels[member.channels], values, strict=False):
            if value == value:  # noqa: PLR0124 - false for NaN
                lines.append(f"fleet_sensor_value{label},{channel}}} {value}\n")
    return lines


SENSOR_METRICS = (
    Metric("fleet_sensor", "info", "Identity of a sensor, and the worker that it runs in.", identity_lines),
    sensor_metric("gauge", "fleet_sensor_healthy", "1, or 0 where the sensor makes /healthz answer 503.", is_healthy),
    sensor_metric("gauge", "fleet_sensor_in_anomaly", "1 while the last reading is in an anomaly.", is_in_anomaly),
    sensor_metric(
        "gauge",
        "fleet_sensor_lag_seconds",
        "Age of the sensor's oldest reading at its last commit or attempt.",
        row_seconds("lag_us"),
        "seconds",
    ),
    sensor_metric(
        "gauge",
        "fleet_sensor_last_commit_timestamp_seconds",
        "Last commit of the sensor's worker, since 1970; 0 before the first one.",
        row_seconds("committed_at_us"),
        "seconds",
    ),
    sensor_metric(
        "counter",
        "fleet_sensor_readings",
        "Readings of the sensor written to its database.",
        row_field("readings"),
    ),
    sensor_metric(
        "counter", "fleet_sensor_restarts", "Deaths of the worker that the sensor runs in.", row_field("restarts")
    ),
    Metric(
        "fleet_sensor_anomalous_readings",
        "counter",
        "Anomalous readings of the sensor by type, missing ones included.",
        anomalous_reading_lines,
    ),
    Metric("fleet_sensor_value", "gauge", "The last reading of each channel, in the channel's unit.", value_lines),
)

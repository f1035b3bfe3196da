"""JSON documents read from the sensors' databases and logs: samples, episodes, series, epochs, sizes, log lines."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from fleet.datadir import readings, series
from fleet.datadir.directory import DataDirectory
from fleet.datadir.logs import lines_of_worker, read_log_spec, tail_lines
from fleet.datadir.readings import DatabaseUnreadable, JsonRow
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document, format_timestamp
from fleet.monitoring.stats import fleet_stats
from fleet.web.documents.status import timestamp, write_stats
from worker.storage.sinks import Epoch

MAX_DATABASES = 10
"""Databases that one request opens; a fleet may have thousands."""

MIN_SERIES_EPISODES = 60
"""The newest episodes, which are listed even if they are over before the readings of an answer begin."""

MAX_SERIES_EPISODES = 5000


def fleet_samples(observation: Observation, limit: int) -> Document:
    """Return the newest readings of the sensors that committed last, from at most ten databases. Raises
    DatabaseUnreadable if none of those can be read."""
    newest: list[JsonRow] = []
    errors: list[DatabaseUnreadable] = []
    for path in latest_databases(observation):
        try:
            newest += readings.latest_readings(path, limit)
        except DatabaseUnreadable as error:
            errors.append(error)
    if errors and not newest:
        raise errors[0]
    newest.sort(key=lambda reading: str(reading.get("timestamp")), reverse=True)
    return samples_document(observation, newest[:limit], [str(error) for error in errors])


def samples_document(observation: Observation, newest: list[JsonRow], errors: list[str]) -> Document:
    document: Document = {"timestamp": timestamp(observation.now), "count": len(newest), "samples": newest}
    return {**document, "errors": errors} if errors else document


def latest_databases(observation: Observation) -> list[Path]:
    """Return the databases of the sensors that committed last, most recent first."""
    committed = observation.rows["committed_at_us"]
    order = np.argsort(-committed, kind="stable")
    paths: dict[Path, None] = {}
    for number in order[committed[order] > 0].tolist():
        paths.setdefault(observation.members[number].database)
        if len(paths) == MAX_DATABASES:
            break
    return list(paths)


def sensor_samples(observation: Observation, sensor_id: str, limit: int) -> Document:
    path = observation.members[observation.index[sensor_id]].database
    return samples_document(observation, readings.latest_readings(path, limit, sensor_id), [])


def sensor_episodes(observation: Observation, sensor_id: str, limit: int) -> Document:
    path = observation.members[observation.index[sensor_id]].database
    episodes = readings.latest_episodes(path, sensor_id, limit)
    return {"timestamp": timestamp(observation.now), "count": len(episodes), "episodes": episodes}


def sensor_series(observation: Observation, sensor_id: str, seconds: int, after: int, points: int | None) -> Document:
    """Return the readings of the last `seconds` whose sequence number is above `after`, by column, as at most `points` points
    or one by one, and the episodes among them. `values` has the lowest value of each point, `highest` the highest, None if
    every point is one reading; `healthy` has the values without anomalies; a missing reading is None."""
    member = observation.members[observation.index[sensor_id]]
    sharing = sum(other.database == member.database for other in observation.members)
    recent = series.read_series(member.database, sensor_id, seconds, after, sharing, points)
    names = [name for name, _ in recent.channels]
    return {
        "timestamp": timestamp(observation.now),
        "sensor_id": sensor_id,
        "first_seq": recent.first_seq,
        "next_seq": recent.next_seq,
        "step": recent.step,
        "times_ms": recent.times_ms,
        "channels": [{"name": name, "unit": unit} for name, unit in recent.channels],
        "values": dict(zip(names, recent.lowest, strict=True)),
        "highest": dict(zip(names, recent.highest, strict=True)) if recent.step > 1 else None,
        "healthy": dict(zip(names, recent.healthy, strict=True)),
        "episodes": series_episodes(member.database, sensor_id, recent.first_seq),
    }


def series_episodes(path: Path, sensor_id: str, first_seq: int) -> list[JsonRow]:
    """Return the newest episodes, and all others that reach past the reading `first_seq`."""
    newest = readings.latest_episodes(path, sensor_id, MIN_SERIES_EPISODES)
    since = readings.episodes_from(path, sensor_id, first_seq, MAX_SERIES_EPISODES)
    return since if len(since) > len(newest) else newest


def sensor_epochs(observation: Observation, sensor_id: str) -> Document:
    member = observation.members[observation.index[sensor_id]]
    epochs = series.read_epochs(member.database, sensor_id)
    return {"timestamp": timestamp(observation.now), "epochs": [epoch_entry(epoch) for epoch in reversed(epochs)]}


def epoch_entry(epoch: Epoch) -> Document:
    settings = epoch.settings
    injection = settings.injection
    return {
        "first_seq": epoch.schedule.first_seq,
        "start_time": format_timestamp(epoch.schedule.start_us),
        "reason": epoch.reason,
        "run": epoch.run,
        "readings_per_second": float(settings.exact_rate),
        "anomaly_share": round(sum(anomaly.share for anomaly in settings.anomalies), 6),
        "firmware_version": epoch.identity.firmware_version,
        "injection": None if injection is None else {"id": injection.id, "type": injection.anomaly.kind},
    }


def sensor_log(observation: Observation, sensor_id: str, lines: int, data_directory: Path) -> Document:
    """Return the last lines of the log about the worker of a sensor. Raises UserError."""
    member = observation.members[observation.index[sensor_id]]
    log_format = read_log_spec(DataDirectory(data_directory)).format
    last = tail_lines(member.log, lines_of_worker(member.worker, log_format), lines)
    return {"timestamp": timestamp(observation.now), "worker": member.worker, "lines": last}


def fleet_db_stats(observation: Observation, data_directory: Path) -> Document:
    """Return the sizes of all databases. Records are those of all databases if there are at most ten, else those of this
    run, from the scoreboard."""
    paths = list(dict.fromkeys(member.database for member in observation.members))
    listed: list[Document] = []
    errors: list[str] = []
    for path in filter(readings.path_exists, paths[:MAX_DATABASES]):  # a database that does not exist yet is empty
        try:
            listed.append({"path": str(path), "records": readings.record_count(path), **total_sizes([path])})
        except DatabaseUnreadable as error:
            errors.append(str(error))
    complete = len(paths) <= MAX_DATABASES and not errors
    sums = fleet_stats(observation.rows)
    return {
        "timestamp": timestamp(observation.now),
        "total_records": sum(entry["records"] for entry in listed) if complete else sums.readings,
        "total_records_source": (
            "last row id of every database" if complete else "board: rows written in this run by all sensors"
        ),
        "database_count": len(paths),
        **total_sizes(paths),
        "disk_usage": disk_usage(data_directory),
        "tables": merged_tables(paths[:MAX_DATABASES]),
        "writes": write_stats(sums),
        "databases": listed,
        **({"errors": errors} if errors else {}),
    }


def sensor_db_stats(observation: Observation, sensor_id: str, data_directory: Path) -> Document:
    """Return figures of the database that a sensor writes to, possibly with others. Raises DatabaseUnreadable."""
    number = observation.index[sensor_id]
    path = observation.members[number].database
    return {
        "timestamp": timestamp(observation.now),
        "sensor_id": sensor_id,
        "path": str(path),
        "sensors": sum(member.database == path for member in observation.members),
        "total_records": readings.record_count(path),
        "total_records_source": "last row id of the database",
        "sensor_records_this_run": int(observation.rows["readings"][number]),
        **total_sizes([path]),
        "disk_usage": disk_usage(data_directory),
        "tables": tables(path),
        "writes": write_stats(fleet_stats(observation.rows[[number]])),
    }


def total_sizes(paths: list[Path]) -> Document:
    sizes = [readings.database_sizes(path) for path in paths]
    return {
        "database_size_bytes": sum(size.database for size in sizes),
        "wal_size_bytes": sum(size.wal for size in sizes),
        "shm_size_bytes": sum(size.shm for size in sizes),
    }


def disk_usage(directory: Path) -> Document:
    return {f"{name}_bytes": value for name, value in shutil.disk_usage(directory)._asdict().items()}


def merged_tables(paths: list[Path]) -> list[Document]:
    """Return the tables of the first readable database, with the further columns that others have: all databases of a fleet
    have the same tables, but each kind of sensor may have columns of its own."""
    merged: dict[str, Document] = {}
    for path in filter(readings.path_exists, paths):
        with suppress(DatabaseUnreadable):
            for table in tables(path):
                known = merged.setdefault(table["name"], table)["columns"]
                names = {column["name"] for column in known}
                known += [column for column in table["columns"] if column["name"] not in names]
    return list(merged.values())


def tables(path: Path) -> list[Document]:
    return [
        {
            "name": table.name,
            "columns": [{"name": name, "type": kind} for name, kind in table.columns],
            "last_rowid": table.last_rowid,
        }
        for table in readings.tables(path)
    ]

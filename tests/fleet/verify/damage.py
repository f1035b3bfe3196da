"""Databases as workers write them, made without processes, and functions that damage them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw

from fleet.datadir.manifest import FleetManifest, write_manifest
from fleet.verify.findings import Finding, Verdict
from fleet.verify.verification import verify
from tests.worker.samples import (
    ANOMALIES,
    HUMIDITY,
    IDENTITY,
    NEW_YEAR,
    PRESSURE,
    SECOND_US,
    TEMPERATURE,
    VIBRATION,
    VOLTAGE,
    run,
    settings,
)
from worker.sensor import Sensor
from worker.spec import Identity, RunSpec, SensorSpec, Settings, StoreSpec
from worker.storage.database import Database
from worker.storage.schema import READINGS_KEY

CHANNELS = (replace(TEMPERATURE, daily_amplitude=4.0), HUMIDITY, PRESSURE, VIBRATION, VOLTAGE)
SETTINGS = settings(*ANOMALIES, channels=CHANNELS)
"""One reading a second, 5 % of each kind of anomaly, warmer in the afternoon."""


SCHEDULED_READINGS = 3000
"""Scheduled readings in the database that most tests damage."""


def make_identities(count: int) -> list[Identity]:
    """Return `count` identities with different ids, locations and time zones."""
    zones = ("America/Chicago", "Europe/Berlin", "Asia/Kolkata")
    return [
        replace(IDENTITY, sensor_id=f"S_{n:06d}", latitude=float(n), timezone=zones[n % 3], serial_number=f"SN-{n}")
        for n in range(count)
    ]


def write_database(
    path: Path,
    seconds: float,
    sensor_settings: Settings = SETTINGS,
    run_spec: RunSpec | None = None,
    *,
    sensors: Sequence[Identity] = (IDENTITY,),
    commit_every: float = 97.0,
    final: bool = False,
    wal: bool = True,
) -> None:
    """Write all that is due `seconds` into the run, in commits every `commit_every` seconds; `final` drains the worker.

    If `commit_every` is longer than the run's longest pause, the sensors skip ahead, as they do in a worker.
    """
    run_spec = run_spec or run()
    sink = Database(StoreSpec(path, wal=wal))
    positions = zip(sensors, sink.claim(sensors, run_spec.number), strict=True)
    writers = [
        Sensor(SensorSpec(identity, sensor_settings, row), run_spec, position)
        for row, (identity, position) in enumerate(positions)
    ]
    passed = 0.0
    while passed < seconds:
        passed = min(seconds, passed + commit_every)
        now = run_spec.start_us + round(passed * SECOND_US)
        last = final and passed == seconds
        for sensor in writers:
            if sensor.overdue(now):
                sensor.skip(now)
        pairs = [(sensor, portion) for sensor in writers for portion in sensor.portions(now, 10**6, final=last)]
        sink.deliver([portion for _, portion in pairs])
        for sensor, portion in pairs:
            sensor.commit(portion)
    sink.close()


def write_sample_database(data: Path) -> Path:
    """Write a database of SCHEDULED_READINGS scheduled readings of one sensor, a fifth of them anomalous."""
    path = data / f"{IDENTITY.sensor_id}.db"
    write_database(path, SCHEDULED_READINGS - 1)
    return path


def later_run(number: int, seconds: float, **changes: Any) -> RunSpec:
    """Return a run that starts `seconds` after the first one."""
    return replace(run(number, NEW_YEAR + round(seconds * SECOND_US)), **changes)


def damage(path: Path, *statements: str, **values: Any) -> None:
    """Execute statements on a database, as in one of version 0.1.0: without the index that refuses a second row."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"DROP INDEX IF EXISTS {READINGS_KEY}")
        for statement in statements:
            connection.execute(statement, values or None)


def select(path: Path, query: str, **values: Any) -> list[tuple[Any, ...]]:
    with closing(apsw.Connection(str(path))) as connection:
        return connection.execute(query, values or None).fetchall()


def seq_of(path: Path, row: int) -> int:
    ((seq,),) = select(path, "SELECT seq FROM sensor_readings WHERE id = :row", row=row)
    return int(seq)


def finding_counts(verdict: Verdict) -> Counter[str]:
    return Counter(dict(verdict.counts))


def write_sample_manifest(data: Path, seed: int = 42) -> None:
    """Write a fleet.json as `fleet up` leaves it."""
    manifest = FleetManifest(seed, "own", 1, NEW_YEAR, NEW_YEAR, 1, ((IDENTITY.sensor_id, IDENTITY.sensor_id),))
    write_manifest(data / "fleet.json", manifest)


def only_finding(path: Path, kind: str) -> Finding:
    """Return the only finding in a database's directory, which must be of that kind and about that database and its sensor."""
    verdict = verify(path.parent)
    assert {kind: 1} == finding_counts(verdict)
    (finding,) = verdict.findings
    assert (kind, IDENTITY.sensor_id, path.name) == (finding.kind, finding.sensor_id, finding.database)
    return finding

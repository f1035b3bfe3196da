"""Databases as workers write them, without processes, and damage done to them by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw

from fleet.storage.fleet_record import FleetRecord, write_record
from fleet.verification.findings import Finding, Verdict
from fleet.verification.verification import verify
from tests.worker.samples import (
    ANOMALIES,
    HUMIDITY,
    IDENTITY,
    NEW_YEAR,
    PRESSURE,
    SECOND,
    TEMPERATURE,
    VIBRATION,
    VOLTAGE,
    run,
    settings,
)
from worker.database import Database
from worker.sensor import Sensor
from worker.spec import Identity, RunSpec, SensorSpec, Settings, StoreSpec

CHANNELS = (replace(TEMPERATURE, daily_amplitude=4.0), HUMIDITY, PRESSURE, VIBRATION, VOLTAGE)
TOLD = settings(*ANOMALIES, channels=CHANNELS)
"""One reading a second, 5 % of each kind of anomaly, warmer in the afternoon."""


END = 3000
"""Scheduled readings in the database that most tests damage."""


def crew(count: int) -> list[Identity]:
    """That many sensors, each with a name, a place and a time zone of its own."""
    zones = ("America/Chicago", "Europe/Berlin", "Asia/Kolkata")
    return [
        replace(IDENTITY, sensor_id=f"S_{n:06d}", latitude=float(n), timezone=zones[n % 3], serial_number=f"SN-{n}")
        for n in range(count)
    ]


def write(
    path: Path,
    seconds: float,
    told: Settings = TOLD,
    during: RunSpec | None = None,
    *,
    sensors: Sequence[Identity] = (IDENTITY,),
    pace: float = 97.0,
    final: bool = False,
    wal: bool = True,
) -> None:
    """Everything that is due `seconds` into the run, committed every `pace` seconds; `final`: the worker is drained.

    If the pace is longer than the run's longest pause, the sensors skip, as a worker would have them do.
    """
    during = during or run()
    sink = Database(StoreSpec(path, wal=wal))
    crew = [Sensor(SensorSpec(identity, told, row), during) for row, identity in enumerate(sensors)]
    for sensor, position in zip(crew, sink.claim(sensors, during.number), strict=True):
        sensor.resume(position)
    passed = 0.0
    while passed < seconds:
        passed = min(seconds, passed + pace)
        now = during.start_us + round(passed * SECOND)
        last = final and passed == seconds
        for sensor in crew:
            if sensor.overdue(now):
                sensor.skip(now)
        pairs = [(sensor, portion) for sensor in crew for portion in sensor.portions(now, 10**6, final=last)]
        sink.deliver([portion for _, portion in pairs])
        for sensor, portion in pairs:
            sensor.settled(portion)
    sink.close()


def written(data: Path) -> Path:
    """A database of END scheduled readings of one sensor, a fifth of them anomalous."""
    path = data / f"{IDENTITY.sensor_id}.db"
    write(path, END - 1)
    return path


def later(number: int, seconds: float, **changes: Any) -> RunSpec:
    """A run that starts so many seconds after the first one did."""
    return replace(run(number, NEW_YEAR + round(seconds * SECOND)), **changes)


def damage(path: Path, *statements: str, **values: Any) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        for statement in statements:
            connection.execute(statement, values or None)


def ask(path: Path, query: str, **values: Any) -> list[tuple[Any, ...]]:
    with closing(apsw.Connection(str(path))) as connection:
        return connection.execute(query, values or None).fetchall()


def seq_of(path: Path, row: int) -> int:
    ((seq,),) = ask(path, "SELECT seq FROM sensor_readings WHERE id = :row", row=row)
    return int(seq)


def kinds(verdict: Verdict) -> Counter[str]:
    return Counter(dict(verdict.counts))


def record(data: Path, seed: int = 42) -> None:
    """A fleet.json as `fleet up` leaves it."""
    told = FleetRecord(seed, "own", 1, NEW_YEAR, NEW_YEAR, 1, ((IDENTITY.sensor_id, IDENTITY.sensor_id),))
    write_record(data / "fleet.json", told)


def only(path: Path, kind: str) -> Finding:
    """The one finding that there is in the directory, about that database and its sensor."""
    verdict = verify(path.parent)
    assert {kind: 1} == kinds(verdict)
    (finding,) = verdict.findings
    assert (kind, IDENTITY.sensor_id, path.name) == (finding.kind, finding.sensor_id, finding.database)
    return finding

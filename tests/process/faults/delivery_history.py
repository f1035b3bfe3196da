"""A database that real portions are delivered to, over several runs, epochs and workers, and all that it holds.

How its file system was used on the way is on record, so that what a crash leaves of it can be made at any moment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import apsw

from tests.process.faults.recorder import Operation, Recorder
from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND_US, run, sensor, settings
from worker.sensor import Sensor
from worker.spec import Identity, RunSpec, Settings, StoreSpec
from worker.storage.database import Database

Synchronous = Literal["off", "normal", "full"]
"""Those of a store, and one that it does not offer, for good reasons."""

Positions = tuple[int, ...]
Row = tuple[Any, ...]

PAGES_PER_CHECKPOINT = 60
"""Instead of SQLite's 1000: checkpoints are to be many."""

SETTINGS, FASTER_SETTINGS = settings(*ANOMALIES), settings(*ANOMALIES, rate="2")


@dataclass(frozen=True, slots=True)
class WorkerLife:
    """A worker's life from opening the database to closing it: that run, up to so many seconds into it."""

    run_spec: RunSpec
    settings: Settings
    seconds: int


# A worker that is stopped and started within a run, then a run under other settings, then one that skips a pause.
WORKER_LIVES = (
    WorkerLife(run(1, seconds=400), SETTINGS, 200),
    WorkerLife(run(1, seconds=400), SETTINGS, 400),
    WorkerLife(run(2, NEW_YEAR + 1_000 * SECOND_US, 150), FASTER_SETTINGS, 150),
    WorkerLife(run(3, NEW_YEAR + 2_000 * SECOND_US, 150), FASTER_SETTINGS, 150),
)


@dataclass(frozen=True, slots=True)
class Commit:
    """Where the sensors stood once a delivery had returned, and how many operations there were by then."""

    positions: Positions
    operations: int
    stage: int


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a database holds. Readings have their id only where it does not depend on how commits were cut."""

    generation: str
    readings: list[Row]
    episodes: list[Row]
    epochs: list[Row]


@dataclass(frozen=True, slots=True)
class RecordedHistory:
    """A database that was written without disturbance, and how it came about."""

    store: StoreSpec
    identities: Sequence[Identity]
    operations: Sequence[Operation]
    commits: Sequence[Commit]
    contents: Contents


def record_history(
    folder: Path, rng: random.Random, synchronous: Synchronous, *, sensors: int = 3, wal: bool = True
) -> RecordedHistory:
    folder.mkdir()
    identities = [replace(IDENTITY, sensor_id=f"CHI_{number:06}") for number in range(sensors)]
    offered = StoreSpec(folder / "pack_0000.db", wal=wal)
    store = offered if synchronous == "off" else replace(offered, synchronous=synchronous)
    commits: list[Commit] = []
    with Recorder(folder) as recorder:
        for number, stage in enumerate(WORKER_LIVES):
            steps = run_worker(store, stage, number + 1, identities, rng, syncs=synchronous != "off")
            commits.extend(Commit(positions, len(recorder.operations), number) for positions in steps)
    return RecordedHistory(store, identities, recorder.operations, commits, read_contents(store.path))


def run_worker(
    store: StoreSpec,
    stage: WorkerLife,
    incarnation: int,
    identities: Sequence[Identity],
    rng: random.Random | None = None,
    *,
    syncs: bool = True,
) -> Iterator[Positions]:
    """Live a stage: the positions after each delivery. With rng they are small and of random size, else it is one."""
    database = Database(store)
    with closing(database):
        positions = zip(identities, database.claim(identities, incarnation), strict=True)
        those = [sensor(stage.settings, stage.run_spec, *each) for each in positions]
        connection = database._connection
        assert connection is not None
        if not syncs:
            connection.execute("PRAGMA synchronous = OFF")
        connection.wal_autocheckpoint(PAGES_PER_CHECKPOINT)
        for second in seconds(stage, those, rng):
            if deliver(database, those, stage.run_spec.start_us + second * SECOND_US):
                yield tuple(subject.next_seq for subject in those)


def seconds(stage: WorkerLife, those: Sequence[Sensor], rng: random.Random | None) -> Iterator[int]:
    """When to deliver, in seconds of the run."""
    while rng:
        now = max(subject.schedule.time(subject.next_seq) for subject in those) - stage.run_spec.start_us
        second = now // SECOND_US + rng.randint(0, 5)
        if second >= stage.seconds:
            break
        yield second
    yield stage.seconds


def deliver(database: Database, those: Sequence[Sensor], now_us: int) -> bool:
    """All that is due. False if nothing was."""
    portions = [(subject, portion) for subject in those for portion in subject.portions(now_us, 100_000)]
    if portions:
        database.deliver([portion for _, portion in portions])
    for subject, portion in portions:
        subject.commit(portion)
    return bool(portions)


def read_contents(path: Path) -> Contents:
    with closing(apsw.Connection(str(path))) as connection:
        assert "ok" == connection.pragma("integrity_check")
        readings = connection.execute("SELECT * FROM sensor_readings ORDER BY sensor_id, id").fetchall()
        alone = len({row[2] for row in readings}) == 1
        return Contents(
            str(connection.execute("SELECT generation FROM database_info").get),
            readings if alone else [(None, *row[1:]) for row in readings],
            connection.execute("SELECT * FROM anomaly_episodes ORDER BY sensor_id, first_seq").fetchall(),
            connection.execute("SELECT * FROM epochs ORDER BY sensor_id, first_seq").fetchall(),
        )

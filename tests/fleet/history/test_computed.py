"""What a history has: what workers would have written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.history.computed import epochs_of, scheduled_readings
from fleet.history.database_file import DatabaseFile
from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND_US, run, settings
from worker.scoreboard import Scoreboard
from worker.sensor import Sensor
from worker.spec import Pause, RunSpec, SensorSpec, Stage, StoreSpec
from worker.storage.database import Database

PART_US = 600 * SECOND_US
PARTS = 3
TABLES = ("sensor_readings", "anomaly_episodes", "epochs", "checkpoints")


@pytest.fixture
def history_run() -> RunSpec:
    return replace(run(), number=1, duration_us=PARTS * PART_US)


@pytest.fixture
def spec() -> SensorSpec:
    """A sensor with other settings in its second part and a pause in its third."""
    at_first, later = settings(*ANOMALIES), settings(*ANOMALIES[:1], rate="3")
    pause = Pause(NEW_YEAR + 2 * PART_US, NEW_YEAR + 2 * PART_US + PART_US // 4)
    return SensorSpec(IDENTITY, at_first, 0, (Stage(NEW_YEAR + PART_US, later),), (pause,))


def write(path: Path, spec: SensorSpec, during: RunSpec, step_us: int, *, stores_readings: bool = True) -> Path:
    board = path.with_suffix(".board")
    Scoreboard.create(board, 4)
    writer = DatabaseFile(path, (spec,), during, "content", board, stores_readings).open()
    for until_us in range(during.start_us + step_us, during.start_us + PARTS * PART_US, step_us):
        writer.advance(until_us)
    writer.finish()
    return path


def live(path: Path, spec: SensorSpec, during: RunSpec) -> Path:
    """The database of a worker that commits every ten seconds."""
    database = Database(StoreSpec(path))
    (position,) = database.claim([spec.identity], 1 << 24)
    sensor = Sensor(spec, during, position)
    for now_us in range(during.start_us, during.start_us + PARTS * PART_US + 1, 10 * SECOND_US):
        for portion in sensor.portions(now_us, 10_000):
            database.deliver([portion])
            sensor.commit(portion)
    database.close()
    return path


def content(path: Path) -> dict[str, list[Any]]:
    with closing(apsw.Connection(str(path))) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def test_a_history_is_what_a_worker_has_written(tmp_path: Path, spec: SensorSpec, history_run: RunSpec) -> None:
    made = write(tmp_path / "a.db", spec, history_run, PART_US // 4)

    assert content(live(tmp_path / "b.db", spec, history_run)) == content(made)


def test_the_bytes_of_a_database_are_the_same_each_time(tmp_path: Path, spec: SensorSpec, history_run: RunSpec) -> None:
    first, second = (write(tmp_path / folder / "a.db", spec, history_run, PART_US // 4) for folder in folders(tmp_path))

    assert first.read_bytes() == second.read_bytes()
    assert [] == [each.name for each in tmp_path.rglob("*") if "unfinished" in each.name]


def folders(parent: Path) -> tuple[str, str]:
    for name in ("one", "two"):
        (parent / name).mkdir()
    return "one", "two"


def test_a_history_without_readings_has_all_else(tmp_path: Path, spec: SensorSpec, history_run: RunSpec) -> None:
    with_readings = content(write(tmp_path / "a.db", spec, history_run, PART_US // 4))
    without = content(write(tmp_path / "b.db", spec, history_run, PART_US, stores_readings=False))

    assert [] == without.pop("sensor_readings")
    assert {name: rows for name, rows in with_readings.items() if name in without} == without


def test_the_epochs_of_a_history_are_known_without_its_readings(
    tmp_path: Path, spec: SensorSpec, history_run: RunSpec
) -> None:
    stored = content(write(tmp_path / "a.db", spec, history_run, PART_US))
    epochs = epochs_of(spec, history_run)

    assert [row[1] for row in stored["epochs"]] == [epoch.epoch.schedule.first_seq for epoch in epochs]
    assert stored["checkpoints"][0][1] == epochs[-1].end
    without_pause = replace(spec, pauses=())
    assert scheduled_readings(without_pause, history_run) == epochs_of(without_pause, history_run)[-1].end

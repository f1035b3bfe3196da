"""What is counted on the scoreboard: transactions by duration, commits by lag, and since when a sensor waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.worker.samples import IDENTITY, NEW_YEAR, SECOND_US, live_worker, run, sensor, settings
from worker.metrics import MetricsWriter, record_state
from worker.scoreboard import COMMIT_BOUNDS_US, LAG_BOUNDS_US, STATE_INDEX, Scoreboard
from worker.spec import AnomalySpec, Injection, SensorSpec, WorkerSpec
from worker.storage.sinks import Portion


@pytest.fixture
def scoreboard(tmp_path: Path) -> Scoreboard:
    return Scoreboard.create(tmp_path / "board", 4)


@pytest.fixture
def spec(tmp_path: Path) -> WorkerSpec:
    """A worker of two sensors, in the rows 1 and 2."""
    sensor_settings = settings()
    sensors = tuple(SensorSpec(replace(IDENTITY, sensor_id=f"S_{row}"), sensor_settings, row) for row in (1, 2))
    return replace(live_worker(tmp_path / "pack.db", sensor_settings), sensors=sensors)


def since(now_us: int) -> Callable[[int], int]:
    return lambda due_us: now_us - due_us


def portions(first: int, count: int) -> list[Portion]:
    subject = sensor(settings(), run(start_us=NEW_YEAR + first * SECOND_US))
    return subject.portions(NEW_YEAR + (first + count) * SECOND_US - 1, 10, final=False)


@pytest.mark.parametrize(
    ("took_us", "bucket"),
    [(0, 0), (500, 0), (501, 1), (5_000_000, 11), (5_000_001, 12), (10**12, 12)],
)
def test_a_transaction_is_counted_once_by_its_duration(scoreboard: Scoreboard, took_us: int, bucket: int) -> None:
    """A bound belongs to the bucket below it, as Prometheus has it."""
    MetricsWriter(scoreboard, [1]).count_commit([(0, portions(0, 1)[0])], took_us, since(NEW_YEAR))

    expected = [0] * (len(COMMIT_BOUNDS_US) + 1)
    expected[bucket] = 1
    assert expected == scoreboard.rows[1]["commit_buckets"].tolist()
    assert took_us == scoreboard.rows[1]["commit_total_us"]


def test_every_commit_is_counted_by_the_lag_of_its_oldest_reading(scoreboard: Scoreboard) -> None:
    """For those sensors of a worker that had something to write; the sum is what the counted lags add up to."""
    report = MetricsWriter(scoreboard, [1, 2])
    (three,) = portions(0, 3)
    report.count_commit([(0, three)], 700, since(NEW_YEAR + 2 * SECOND_US))
    report.count_commit([(0, portions(3, 1)[0])], 700, since(NEW_YEAR + 3 * SECOND_US))

    buckets = dict(zip((*LAG_BOUNDS_US, None), scoreboard.rows[1]["lag_buckets"].tolist(), strict=True))
    assert {100_000: 1, 2_500_000: 1} == {bound: count for bound, count in buckets.items() if count}
    assert 2 * SECOND_US == scoreboard.rows[1]["lag_total_us"]
    assert not scoreboard.rows[2]["lag_buckets"].any()
    assert [2, 2] == scoreboard.rows["commit_buckets"].sum(axis=1)[[1, 2]].tolist()


def test_lag_and_progress_are_those_of_the_schedule(scoreboard: Scoreboard) -> None:
    """Whatever time a reading records: with jitter, or while the clock of the device is wrong."""
    wrong = Injection("1", AnomalySpec("clock_jump", 1, 200, "seconds"), NEW_YEAR, NEW_YEAR + 200 * SECOND_US)
    subject = sensor(replace(settings(), injection=wrong, jitter=0.9), run())
    portions = subject.portions(NEW_YEAR + 99 * SECOND_US, 100)
    report = MetricsWriter(scoreboard, [1])
    for portion in portions:
        report.count_portion(0, portion)
    report.count_commit([(0, portions[0])], 700, since(NEW_YEAR + 99 * SECOND_US))

    recorded = [time - NEW_YEAR for portion in portions if portion.block for time in portion.block.times.tolist()]
    assert not 0 <= recorded[0] < 99 * SECOND_US
    assert not 0 <= recorded[-1] < 99 * SECOND_US
    assert 99 * SECOND_US == scoreboard.rows[1]["lag_us"]
    assert NEW_YEAR + 99 * SECOND_US == scoreboard.rows[1]["timestamp_us"]


def test_a_sensor_in_several_portions_is_counted_once(scoreboard: Scoreboard) -> None:
    """A change of settings makes two portions of one commit."""
    MetricsWriter(scoreboard, [1]).count_commit(
        [(0, portions(0, 1)[0]), (0, portions(1, 1)[0])], 700, since(NEW_YEAR + SECOND_US)
    )

    assert 1 == scoreboard.rows[1]["lag_buckets"].sum()
    assert SECOND_US == scoreboard.rows[1]["lag_us"] == scoreboard.rows[1]["lag_total_us"]


def test_one_row_of_each_process_stands_for_it(scoreboard: Scoreboard, spec: WorkerSpec) -> None:
    """Its counts are in the rows of all its sensors, and are to be added up once."""
    record_state(scoreboard, spec, 7, "starting")

    assert [0, 1, 0, 0] == scoreboard.rows["leads"].tolist()


def test_waiting_lasts_from_the_first_attempt_on(scoreboard: Scoreboard, spec: WorkerSpec) -> None:
    """Whoever is started over and over without a commit has been waiting since it was last well, or first asked for; a
    commit ends that, trouble with the database does not."""
    record_state(scoreboard, spec, 1, "pending")
    first = scoreboard.rows["waiting_ns"][1]
    report = MetricsWriter(scoreboard, [1, 2])
    for state in ("starting", "restarting", "starting"):
        record_state(scoreboard, spec, 1, state)
    report.set_state("unready", "the disk is full")
    record_state(scoreboard, spec, 1, "restarting", died=True)

    assert first == scoreboard.rows["waiting_ns"][1] > 0
    report.set_state("healthy")
    record_state(scoreboard, spec, 1, "restarting", died=True)
    assert scoreboard.rows["waiting_ns"][1] > first


def test_counts_outlast_the_process(scoreboard: Scoreboard, spec: WorkerSpec) -> None:
    """Neither a death nor leaving the fleet takes anything back."""
    MetricsWriter(scoreboard, [1, 2]).count_commit([(0, portions(0, 1)[0])], 700, since(NEW_YEAR))
    before = scoreboard.snapshot()
    for state in ("restarting", "starting", "failed", "absent"):
        record_state(scoreboard, spec, 2, state)

    for counter in ("readings", "anomalies", "commits", "commit_buckets", "lag_buckets", "commit_total_us"):
        assert np.array_equal(before[counter], scoreboard.rows[counter]), counter
    assert STATE_INDEX["absent"] == scoreboard.rows["state"][1]

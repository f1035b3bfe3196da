"""The statistics of a fleet, and its errors by class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fleet.datadir.backups import BackupStatus, read_backup_status
from fleet.datadir.reload_report import ReloadReport
from fleet.monitoring.stats import FleetStats, error_classes, fleet_stats
from fleet.web.app import create_app
from tests.fleet.staged import StagedFleet
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import ROW_DTYPE, STATE_INDEX, Scoreboard


def test_figures_are_sums_of_rows() -> None:
    """Missing readings count as scheduled, not as written; the lag is the worst one, the commit time the mean."""
    rows = np.zeros(3, ROW_DTYPE)
    rows["state"] = [STATE_INDEX["healthy"], STATE_INDEX["failed"], STATE_INDEX["done"]]
    rows["incarnation"], rows["readings"] = [1, 2, 3], [10, 20, 30]
    rows["anomalies"][0, ANOMALY_TYPES.index("missing_data")] = 5
    rows["anomalies"][1, ANOMALY_TYPES.index("spike")] = 2
    rows["commits"], rows["commit_total_us"], rows["lag_us"] = [1, 2, 1], [1000, 2000, 5000], [0, 1_500_000, 7]
    rows["restarts"], rows["errors"], rows["retries"] = [0, 3, 0], [0, 4, 0], [1, 0, 1]

    total = fleet_stats(rows)

    assert (60, 65, 3, 1) == (total.readings, total.scheduled, total.sensors, total.failed)
    assert (5, 2) == (total.anomalies["missing_data"], total.anomalies["spike"])
    assert (1.5, 2.0, 3, 4, 2) == (total.lag, total.commit_ms, total.restarts, total.errors, total.retries)


def test_sensors_of_one_process_share_its_commits() -> None:
    """They are counted once, however many sensors tell of them; readings are each one's own."""
    rows = np.zeros(3, ROW_DTYPE)
    rows["incarnation"], rows["commits"], rows["readings"] = [7, 7, 8], [5, 5, 1], [10, 10, 10]

    total = fleet_stats(rows)

    assert (6, 30) == (total.commits, total.readings)


def test_figures_of_nobody() -> None:
    """Are zeros, not an error."""
    total = fleet_stats(np.zeros(0, ROW_DTYPE))

    assert (0, 0, 0.0, 0.0) == (total.sensors, total.readings, total.lag, total.commit_ms)


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    """Three sensors: one whose transactions failed twice, one that died once, one that has failed for good."""
    subject = StagedFleet(tmp_path / "data")
    scoreboard = Scoreboard(subject.run / "board", writable=True)
    scoreboard.rows["incarnation"][:3] = (1, 2, 3)
    scoreboard.rows["errors"][:3] = (2, 1, 0)
    scoreboard.rows["restarts"][:3] = (0, 1, 0)
    scoreboard.rows["state"][2] = STATE_INDEX["failed"]
    scoreboard.rows["readings"][:3] = 50
    return subject


def sums(staged: StagedFleet) -> FleetStats:
    return fleet_stats(Scoreboard(staged.run / "board", writable=False).rows[:3])


@pytest.mark.claim("001.http-monitoring.3", "002.error-handling.9")
def test_errors_are_counted_by_class(staged: StagedFleet) -> None:
    """Over HTTP as well, with the account of the backups and the problems of the last reload."""
    BackupStatus("backups", 60.0, 3, made=1, failed=4, failures=(("a.db", "no room"),)).write(
        staged.run / "backups.json"
    )
    (staged.run / "reload.json").write_text(json.dumps({"problems": ["fleet.yaml:3:1: no"]}))
    expected = {"database": 2, "process": 2, "configuration": 1, "backup": 4}

    assert expected == error_classes(sums(staged), ReloadReport(("one",)), read_backup_status(staged.run))
    client = create_app(staged.run).test_client()
    assert expected == client.get("/metricz").get_json()["errors_by_class"]
    status = client.get("/statusz").get_json()
    assert expected == status["runtime"]["errors_by_class"]
    assert [["a.db", "no room"]] == status["backups"]["failures"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"failed": 1}', "\x00"])
def test_an_account_that_cannot_be_read_counts_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "backups.json").write_text(text)

    assert read_backup_status(tmp_path) is None

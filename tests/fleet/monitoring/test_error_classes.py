"""Errors by class, and the success rate at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.datadir.backup_status import BackupStatus, read_backup_status
from fleet.monitoring.error_classes import error_classes
from fleet.monitoring.stats import FleetStats, fleet_stats
from fleet.runtime.progress import print_summary, success_rate
from fleet.web.app import create_app
from tests.fleet.staged import StagedFleet
from worker.scoreboard import STATE_INDEX, Scoreboard


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

    assert expected == error_classes(sums(staged), {"problems": ["one"]}, {"failed": 4})
    client = create_app(staged.run).test_client()
    assert expected == client.get("/metricz").get_json()["errors_by_class"]
    status = client.get("/statusz").get_json()
    assert expected == status["runtime"]["errors_by_class"]
    assert [["a.db", "no room"]] == status["backups"]["failures"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"failed": 1}', "\x00"])
def test_an_account_that_cannot_be_read_counts_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "backups.json").write_text(text)

    assert {} == read_backup_status(tmp_path)


@pytest.mark.claim("002.error-handling.8")
def test_the_success_rate(staged: StagedFleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the readings that were due; without an end of the run, as far as it is known."""
    total = sums(staged)
    assert "75.00% of the readings that were due" == success_rate(total, 200)
    assert "nothing was due" == success_rate(total, 0)
    assert "not known: 1 sensors ended with readings due" == success_rate(total, None)
    print_summary(total, 150, 10.0, {"database": 2, "backup": 0})

    printed = capsys.readouterr().out.splitlines()
    assert "success rate: 100.00% of the readings that were due" in printed
    assert "  database: 2" in printed

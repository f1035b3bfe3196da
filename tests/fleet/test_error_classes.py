"""Errors by class, and the success rate at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.running.progress import print_summary, success_rate
from fleet.storage.backup_account import Account, read_account
from fleet.storage.error_classes import error_classes
from fleet.storage.figures import Figures, figures
from fleet.web.aggregator import create_app
from tests.fleet.staged import Staged
from worker.board import STATE, Board


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    """Three sensors: one whose transactions failed twice, one that died once, one that has failed for good."""
    subject = Staged(tmp_path / "data")
    board = Board(subject.run / "board", writable=True)
    board.rows["incarnation"][:3] = (1, 2, 3)
    board.rows["errors"][:3] = (2, 1, 0)
    board.rows["restarts"][:3] = (0, 1, 0)
    board.rows["state"][2] = STATE["failed"]
    board.rows["readings"][:3] = 50
    return subject


def sums(staged: Staged) -> Figures:
    return figures(Board(staged.run / "board", writable=False).rows[:3])


def test_errors_are_counted_by_class(staged: Staged) -> None:
    """Over HTTP as well, with the account of the backups and the problems of the last reload."""
    Account("backups", 60.0, 3, made=1, failed=4, failures=(("a.db", "no room"),)).write(staged.run / "backups.json")
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

    assert {} == read_account(tmp_path)


def test_the_success_rate(staged: Staged, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the readings that were due; without an end of the run, as far as it is known."""
    total = sums(staged)
    assert "75.00% of the readings that were due" == success_rate(total, 200)
    assert "nothing was due" == success_rate(total, 0)
    assert "not known: 1 sensors ended with readings due" == success_rate(total, None)
    print_summary(total, 150, 10.0, {"database": 2, "backup": 0})

    printed = capsys.readouterr().out.splitlines()
    assert "success rate: 100.00% of the readings that were due" in printed
    assert "  database: 2" in printed

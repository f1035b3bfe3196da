"""The summary at the end of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fleet.monitoring.backfill import BackfillProgress
from fleet.monitoring.paused import PausedSensor
from fleet.monitoring.stats import fleet_stats
from fleet.runtime.progress import summary_line
from fleet.runtime.summary import RunSummary, print_summary, success_rate
from tests.worker.samples import NEW_YEAR
from worker.scoreboard import ROW_DTYPE


@pytest.fixture
def summary() -> RunSummary:
    """Three sensors with 50 readings each, two of them healthy."""
    rows = np.zeros(3, ROW_DTYPE)
    rows["incarnation"], rows["readings"] = (1, 2, 3), 50
    return RunSummary(
        fleet_stats(rows), healthy=2, paused=(), due=150, seconds=10.0, errors={"database": 2, "backup": 0}
    )


@pytest.mark.claim("002.error-handling.8")
def test_the_success_rate(summary: RunSummary, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the readings that were due; in a run with an open end, as far as it is known."""
    assert "75.00% of the readings that were due" == success_rate(replace(summary, due=200))
    assert "nothing was due" == success_rate(replace(summary, due=0))
    assert "not known: 1 sensor ended with readings due" == success_rate(replace(summary, due=None))
    assert "100.00% of the readings that were due" == success_rate(replace(summary, due=None, healthy=3))
    paused = replace(
        summary, due=None, healthy=3, paused=[PausedSensor("S_1", NEW_YEAR, 12), PausedSensor("S_2", NEW_YEAR + 1, 10)]
    )
    since = "2 paused since 2026-01-01T00:00:00.000000+00:00, 22 readings not due"
    assert f"100.00% of the readings that were due; {since}" == success_rate(paused)
    print_summary(summary)

    printed = capsys.readouterr().out.splitlines()
    assert "success rate: 100.00% of the readings that were due" in printed
    assert "  database: 2" in printed


def test_the_success_rate_after_a_database_was_renewed(summary: RunSummary) -> None:
    """What was in the old database is written again, or gone: the number of readings written says nothing."""
    renewed = replace(summary, stats=replace(summary.stats, renewals=2), due=100)

    assert "not known: 2 databases were renewed; `fleet verify` says what they hold" == success_rate(renewed)


def test_a_history_that_is_not_written_is_no_failure(summary: RunSummary) -> None:
    text = success_rate(replace(summary, due=None, history=0.9999))

    assert "99.9% of the history is written, the next start goes on with it" == text


def test_errors_are_mentioned_only_if_there_are_any(summary: RunSummary, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(replace(summary, errors={"database": 0, "backup": 0}))

    assert "error" not in capsys.readouterr().out


@pytest.mark.parametrize("errors", [0, 99_900])
def test_the_progress_line_fits_80_columns(summary: RunSummary, errors: int) -> None:
    """With the time before it, also for ten thousand sensors that are late."""
    stats = replace(summary.stats, sensors=10_000, readings=99_900_000, errors=errors, lag=99.9)
    line = summary_line(stats, 10_000, 99_900, 99_900)

    assert len(f"23:59:59 {line}") <= 80
    backfilling = summary_line(stats, 10_000, 99_900, 99_900, BackfillProgress(0.999, 10**9))
    assert len(f"23:59:59 {backfilling}") <= 80
    assert "backfilling 99%, 2.8 h left" in backfilling
    assert (errors > 0) == ("errors" in line)

"""Sensors that were paused when the run ended: what the pause left out was not due, and everything before it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fleet.datadir.directory import DataDirectory
from fleet.datadir.interventions import Interventions
from fleet.verify.verification import verify
from tests.fleet.verify.damage import finding_counts, make_identities, write_database
from tests.fleet.verify.test_recorded_sensors import SECONDS, write_fleet
from tests.worker.samples import NEW_YEAR, SECOND_US, run
from worker.spec import Pause

PAUSED = "S_000001"


def at(seconds: float) -> int:
    return NEW_YEAR + round(seconds * SECOND_US)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A fleet of which one sensor has written the readings of its first 30 seconds, numbers 0 to 30."""
    data = write_fleet(tmp_path, "own")
    (data / f"{PAUSED}.db").unlink()
    sensors = make_identities(2)[1:]
    write_database(data / f"{PAUSED}.db", 30, sensors=sensors, run_spec=run(seconds=SECONDS + 0.5), final=True)
    return data


def record(data: Path, pauses: Mapping[str, tuple[Pause, ...]]) -> None:
    Interventions(pauses=pauses).write(DataDirectory(data).interventions)


def test_a_sensor_that_is_paused_at_the_end_is_complete(data: Path) -> None:
    record(data, {PAUSED: (Pause(at(30.5)),), "S_000009": (Pause(at(3)),)})

    verdict = verify(data, complete=True)

    assert ({}, True) == (dict(verdict.counts), verdict.ok)
    assert (f"{PAUSED}: paused since 2026-01-01T00:00:30.500000+00:00, 20 readings not due",) == verdict.paused


def test_what_was_due_before_the_pause_must_be_there(data: Path) -> None:
    """And what is due between two pauses, and after one that has ended."""
    for pauses, missing in (
        ((Pause(at(33)),), (31, 32)),
        ((Pause(at(31), at(35)), Pause(at(40))), (31, 35)),
        ((Pause(at(31), at(49)),), (31, 32)),
        ((Pause(at(10), at(20)),), (31, 50)),
    ):
        record(data, {PAUSED: pauses})

        verdict = verify(data, complete=True)

        assert {"incomplete": 1} == finding_counts(verdict)
        (finding,) = verdict.findings
        assert missing == (finding.first_seq, finding.last_seq)


def test_a_sensor_that_was_paused_before_it_wrote_anything(data: Path) -> None:
    (data / f"{PAUSED}.db").unlink()
    write_database(data / f"{PAUSED}.db", -1, sensors=make_identities(2)[1:], run_spec=run(seconds=SECONDS + 0.5))
    record(data, {PAUSED: (Pause(at(-30)),)})

    verdict = verify(data, complete=True)

    assert "incomplete" not in verdict.counts
    assert (f"{PAUSED}: paused since 2025-12-31T23:59:30.000000+00:00, 51 readings not due",) == verdict.paused

"""Readings that record another time than the one at which they are due, by jitter or a wrong clock, are compared as all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.verify.verification import verify
from tests.fleet.verify.damage import SETTINGS, damage, finding_counts, later_run, only_finding, select, write_database
from tests.worker.samples import IDENTITY, SECOND_US
from worker.schedule import Schedule, format_time
from worker.spec import AnomalySpec, Settings

CLOCKS = tuple(AnomalySpec(kind, 0.1, 40, "readings") for kind in ("clock_jump", "clock_drift", "wrong_zone"))
RECORDED = {
    "jitter": replace(SETTINGS, jitter=0.9),
    "wrong clocks": replace(SETTINGS, anomalies=(*SETTINGS.anomalies, *CLOCKS)),
    "both": replace(SETTINGS, anomalies=(*SETTINGS.anomalies, *CLOCKS), jitter=0.5),
}
FAR_FROM_DUE = "SELECT id FROM sensor_readings WHERE {} ORDER BY id LIMIT 1 OFFSET 30"


@pytest.fixture(params=RECORDED)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"{IDENTITY.sensor_id}.db"
    write_database(path, 4_999, RECORDED[request.param])
    return path


def a_row(path: Path, condition: str) -> int:
    ((row,),) = select(path, FAR_FROM_DUE.format(condition))
    return int(row)


def test_true_rows_are_in_order(path: Path) -> None:
    verdict = verify(path.parent)

    assert ((), 1) == (verdict.findings, verdict.sensors)


@pytest.mark.parametrize("condition", ["anomaly_flag = 0", "anomaly_flag = 1"])
def test_a_microsecond_is_found(path: Path, condition: str) -> None:
    row = a_row(path, condition)
    digit = "CASE substr(timestamp, 26, 1) WHEN '7' THEN '8' ELSE '7' END"
    damage(
        path, f"UPDATE sensor_readings SET timestamp = substr(timestamp, 1, 25) || {digit} || '+00:00' WHERE id = {row}"
    )

    assert only_finding(path, "altered").detail.startswith("timestamp is ")


def test_the_true_time_in_place_of_that_of_a_wrong_clock_is_found(tmp_path: Path) -> None:
    """As a pipeline that corrects times would write it."""
    path = tmp_path / f"{IDENTITY.sensor_id}.db"
    write_database(path, 4_999, RECORDED["wrong clocks"])
    row = a_row(path, "anomaly_type = 'clock_jump'")
    ((seq, start),) = select(path, f"SELECT seq, start_us FROM sensor_readings, epochs WHERE id = {row}")
    true = format_time(Schedule(0, start, SETTINGS.exact_rate).time(seq))
    damage(path, f"UPDATE sensor_readings SET timestamp = '{true}' WHERE id = {row}")

    assert f"timestamp is {true!r}, must be " in only_finding(path, "altered").detail


def test_the_episodes_of_a_wrong_clock_have_the_times_of_the_schedule(tmp_path: Path) -> None:
    """Otherwise the label would not tell when it was; a changed one is found."""
    path = tmp_path / f"{IDENTITY.sensor_id}.db"
    write_database(path, 4_999, RECORDED["wrong clocks"])
    episodes = select(
        path,
        "SELECT a.first_seq, a.start_time, a.last_seq, a.end_time, start_us FROM anomaly_episodes a, epochs "
        "WHERE a.type IN ('clock_jump', 'clock_drift', 'wrong_zone')",
    )

    assert len(episodes) > 10
    for first, start, last, end, start_us in episodes:
        assert [start, end] == [format_time(start_us + seq * SECOND_US) for seq in (first, last)]
    damage(
        path,
        "UPDATE anomaly_episodes SET start_time = '2026-01-01T00:00:00.000001+00:00' "
        "WHERE first_seq = (SELECT min(first_seq) FROM anomaly_episodes WHERE type = 'wrong_zone')",
    )
    assert {"episode altered": 1} == finding_counts(verify(path.parent))


def test_settings_change_between_jitter_and_none(tmp_path: Path) -> None:
    """Each epoch by its own; the cached timestamps of a schedule are for those without jitter."""
    path = tmp_path / f"{IDENTITY.sensor_id}.db"
    with_and_without: tuple[Settings, ...] = (SETTINGS, RECORDED["jitter"], SETTINGS, RECORDED["both"])
    for number, settings in enumerate(with_and_without):
        write_database(path, 900, settings, later_run(number + 1, 1_000.0 * number))

    assert () == verify(path.parent).findings
    assert len(with_and_without) == len(select(path, "SELECT * FROM epochs"))

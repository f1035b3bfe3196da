"""The columns behind `seq` are compared like all others; a column that no epoch tells of is left alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.datadir.backups import back_up
from fleet.verify.findings import Finding
from fleet.verify.verification import verify
from tests.fleet.verify.damage import damage, finding_counts, select
from tests.worker.further import (
    AIR,
    AIR_COLUMNS,
    AIR_IDENTITY,
    PLAIN_IDENTITY,
    TURBINE,
    Writer,
    attributes,
    become_turbine,
    kinds_writer,
    write_kinds,
    write_rotated_kinds,
)
from tests.worker.samples import ANOMALIES, settings

__all__ = ["attributes"]
pytestmark = pytest.mark.usefixtures("attributes")

AIR_ROWS = f"sensor_id = '{AIR_IDENTITY.sensor_id}' AND seq BETWEEN 0 AND 240"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of several kinds."""
    path = tmp_path / "pack_0001.db"
    write_kinds(path)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A database of one sensor."""
    path = tmp_path / f"{AIR_IDENTITY.sensor_id}.db"
    writer = Writer(path, (AIR_IDENTITY, AIR))
    writer.deliver(500)
    writer.sink.close()
    return path


def row_of(path: Path) -> tuple[int, int]:
    """The id and the seq of a healthy reading of the first kind."""
    query = f"SELECT id, seq FROM sensor_readings WHERE {AIR_ROWS} AND anomaly_flag = 0 ORDER BY id LIMIT 1 OFFSET 50"
    ((row, seq),) = select(path, query)
    return row, seq


def only_finding(path: Path) -> Finding:
    (finding,) = verify(path.parent).findings
    return finding


def test_nothing_is_wrong(path: Path) -> None:
    verdict = verify(path.parent)

    assert () == verdict.findings
    assert 3 == verdict.sensors


def test_nothing_is_wrong_with_one_sensor(own: Path) -> None:
    assert () == verify(own.parent).findings


def test_nothing_is_wrong_with_a_sensor_that_became_another_kind(own: Path) -> None:
    """In many chunks, of which the first have only readings of the kind before."""
    writer = Writer(own, (AIR_IDENTITY, AIR), incarnation=2)
    writer.change(0, TURBINE)
    writer.deliver(30_000)

    assert () == verify(own.parent).findings


def test_nothing_is_wrong_with_rotated_files(tmp_path: Path) -> None:
    """Of sensors of several kinds; a value that changes in one of them is found."""
    files = write_rotated_kinds(tmp_path / "pack_0001.db")
    verdict = verify(tmp_path)
    assert len(files) > 4
    assert (3, len(files), ()) == (verdict.sensors, verdict.databases, verdict.findings)
    damage(files[0], "UPDATE sensor_readings SET quality = 0.1 WHERE seq = 7 AND quality IS NOT NULL")

    finding = only_finding(files[0])
    assert (files[0].name, "altered") == (finding.database, finding.kind)
    assert "quality is 0.1, must be " in finding.detail


def test_a_backup_that_is_restored_goes_on(tmp_path: Path) -> None:
    """With its columns, those of a kind that a sensor becomes later, and without a finding."""
    path, folder = tmp_path / "data" / "pack_0001.db", tmp_path / "backups"
    path.parent.mkdir()
    writer = kinds_writer(path)
    writer.deliver(300)
    backup = back_up(path, folder, 1)
    writer.deliver(500)
    writer.sink.close()
    path.unlink()
    shutil.copy(backup, path)
    again = kinds_writer(path, incarnation=2)
    again.deliver(400)
    become_turbine(again)
    again.deliver(600)
    again.sink.close()

    assert (3, ()) == (verify(path.parent).sensors, verify(path.parent).findings)
    query = (
        f"SELECT max(seq) FROM sensor_readings WHERE quality IS NULL AND {AIR_ROWS.replace('0 AND 240', '0 AND 600')}"
    )
    assert [(600,)] == select(path, query)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("co2", "co2 + 0.1", "altered"),
        ("co2", "'x'", "altered"),
        ("co2", "NULL", "altered"),
        ("co2", "x'00'", "altered"),
        ("order", '"order" + 0.01', "altered"),
        ("status", "'FAULT'", "altered"),
        ("status", "CAST(x'ff00fe' AS TEXT)", "altered"),
        ("quality", "quality + 0.001", "altered"),
        ("alert_level", "9", "altered"),
        ("room", "'4.13'", "identity"),
        ("floor", "5", "identity"),
        ("volume", "NULL", "identity"),
    ],
)
def test_a_changed_value(many: bool, column: str, value: str, kind: str, request: pytest.FixtureRequest) -> None:
    """Found and named, with the column, in a database of one sensor and of many."""
    path: Path = request.getfixturevalue("path" if many else "own")
    row, seq = row_of(path)
    damage(path, f'UPDATE sensor_readings SET "{column}" = {value} WHERE id = {row}')

    finding = only_finding(path)
    assert (kind, AIR_IDENTITY.sensor_id, seq) == (finding.kind, finding.sensor_id, finding.first_seq)
    assert finding.detail.startswith(f"{column} is ")


def test_a_value_in_the_column_of_another_kind(path: Path) -> None:
    """The sensor has no such channel: it must be NULL."""
    row, _ = row_of(path)
    damage(
        path,
        f"UPDATE sensor_readings SET power = 1 WHERE id = {row}",
        f"UPDATE sensor_readings SET co2 = 1 WHERE sensor_id = '{PLAIN_IDENTITY.sensor_id}' AND seq = 7",
    )

    details = {finding.sensor_id: finding.detail for finding in verify(path.parent).findings}
    assert {
        AIR_IDENTITY.sensor_id: "power is 1.0, must be None",
        PLAIN_IDENTITY.sensor_id: "co2 is 1.0, must be None",
    } == details


@pytest.mark.parametrize("column", AIR_COLUMNS)
def test_a_missing_column(own: Path, column: str) -> None:
    """One finding, and the other columns are still compared."""
    row, seq = row_of(own)
    damage(own, f'ALTER TABLE sensor_readings DROP COLUMN "{column}"')
    other = "status" if column == "room" else "room"
    damage(own, f"UPDATE sensor_readings SET {other} = 'x' WHERE id = {row}")

    verdict = verify(own.parent)
    assert {"record": 1, "identity" if other == "room" else "altered": 1} == finding_counts(verdict)
    details = [(finding.first_seq, finding.detail) for finding in verdict.findings if finding.kind == "record"]
    assert [(None, f"sensor_readings has no column {column}, as its epochs say")] == details
    assert {None, seq} == {finding.first_seq for finding in verdict.findings}


def test_a_column_of_somebody_else(path: Path) -> None:
    """Whatever is in it, it is not looked at."""
    damage(path, "ALTER TABLE sensor_readings ADD COLUMN processed TEXT", "UPDATE sensor_readings SET processed = id")

    assert () == verify(path.parent).findings


def test_columns_of_a_kind_that_begins_later_are_not_needed_yet(tmp_path: Path) -> None:
    """After a rotation the epochs tell of kinds whose readings are in another file."""
    path = tmp_path / f"{PLAIN_IDENTITY.sensor_id}.db"
    plain = settings(*ANOMALIES)
    writer = Writer(path, (PLAIN_IDENTITY, plain), max_bytes=100_000)
    for seconds in range(0, 1_500, 100):
        writer.deliver(seconds)
    writer.change(0, AIR, replace(AIR_IDENTITY, sensor_id=PLAIN_IDENTITY.sensor_id))
    for seconds in range(1_500, 4_500, 100):
        writer.deliver(seconds)
    writer.sink.close()

    assert len(list(tmp_path.glob("*.db"))) > 3
    assert () == verify(tmp_path).findings

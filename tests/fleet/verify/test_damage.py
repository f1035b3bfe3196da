"""Every kind of damage to rows is found and named, and nothing else is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.verify.verification import verify
from tests.fleet.verify.damage import (
    SCHEDULED_READINGS,
    damage,
    finding_counts,
    make_identities,
    only_finding,
    select,
    seq_of,
    write_database,
    write_sample_database,
)
from tests.worker.samples import IDENTITY, TEMPERATURE, settings

pytestmark = pytest.mark.claim("000.testing.5")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sample_database(tmp_path)


def test_nothing_is_wrong(path: Path) -> None:
    verdict = verify(path.parent)

    assert verdict.ok
    assert () == verdict.findings
    assert (1, 1) == (verdict.sensors, verdict.databases)
    assert select(path, "SELECT count(*) FROM sensor_readings") == [(verdict.readings,)]
    assert select(path, "SELECT count(*) FROM anomaly_episodes") == [(verdict.episodes,)]


@pytest.mark.parametrize("row", [1, 2, 1500, -1])
def test_a_deleted_row(path: Path, row: int) -> None:
    """It is found at any position."""
    row = row if row > 0 else select(path, "SELECT max(id) FROM sensor_readings")[0][0]
    seq = seq_of(path, row)
    damage(path, "DELETE FROM sensor_readings WHERE id = :row", row=row)

    finding = only_finding(path, "hole")
    assert (seq, seq, "1 reading") == (finding.first_seq, finding.last_seq, finding.detail)


def test_many_deleted_rows(path: Path) -> None:
    """The readings of missing_data episodes are not counted; their gaps split the hole."""
    damage(path, "DELETE FROM sensor_readings WHERE id BETWEEN 1000 AND 1999")

    verdict = verify(path.parent)
    assert {"hole": 1000} == finding_counts(verdict)
    assert 1000 == sum(int(found.detail.split()[0]) for found in verdict.findings)
    missing = select(path, "SELECT first_seq, last_seq FROM anomaly_episodes WHERE type = 'missing_data'")
    holes = {seq for found in verdict.findings for seq in range(found.first_seq or 0, (found.last_seq or 0) + 1)}
    assert not holes & {seq for first, last in missing for seq in range(first, last + 1)}


def test_all_rows_deleted(path: Path) -> None:
    readings = verify(path.parent).readings
    damage(path, "DELETE FROM sensor_readings")

    assert {"hole": readings} == finding_counts(verify(path.parent))


@pytest.mark.parametrize("column", ["temperature", "humidity", "pressure", "vibration", "voltage"])
def test_the_last_digit_of_a_value(path: Path, column: str) -> None:
    """The finding has the stored and the expected value."""
    ((old,),) = select(path, f"SELECT {column} FROM sensor_readings WHERE id = 700")
    new = round(old + (1.0 if column == "pressure" else 0.001 if column == "vibration" else 0.01), 3)
    damage(path, f"UPDATE sensor_readings SET {column} = {new} WHERE id = 700")

    finding = only_finding(path, "altered")
    assert (seq_of(path, 700), f"{column} is {new}, must be {old}") == (finding.first_seq, finding.detail)


def test_a_value_that_is_gone(path: Path) -> None:
    damage(path, "UPDATE sensor_readings SET humidity = NULL WHERE id = 700")

    assert "humidity is None, must be " in only_finding(path, "altered").detail


def test_a_value_of_a_channel_that_the_sensor_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / f"{IDENTITY.sensor_id}.db"
    write_database(path, 99, settings(channels=(TEMPERATURE,)))
    assert verify(tmp_path).ok
    damage(path, "UPDATE sensor_readings SET humidity = 60.0 WHERE id = 7")

    assert "humidity is 60.0, must be None" == only_finding(path, "altered").detail


def test_two_timestamps_swapped(path: Path) -> None:
    (first,), (second,) = select(path, "SELECT timestamp FROM sensor_readings WHERE id IN (700, 701)")
    damage(
        path,
        f"UPDATE sensor_readings SET timestamp = '{second}' WHERE id = 700",
        f"UPDATE sensor_readings SET timestamp = '{first}' WHERE id = 701",
    )

    verdict = verify(path.parent)
    assert {"altered": 2} == finding_counts(verdict)
    assert [seq_of(path, 700), seq_of(path, 701)] == [found.first_seq for found in verdict.findings]
    assert f"timestamp is {second!r}, must be {first!r}" == verdict.findings[0].detail


@pytest.mark.parametrize("row", [1, 700, 1999])
def test_two_rows_swapped(path: Path, row: int) -> None:
    """Both rows exist once and are right, but out of order."""
    damage(
        path,
        f"UPDATE sensor_readings SET id = -1 WHERE id = {row}",
        f"UPDATE sensor_readings SET id = {row} WHERE id = {row + 1}",
        f"UPDATE sensor_readings SET id = {row + 1} WHERE id = -1",
    )

    assert seq_of(path, row) == only_finding(path, "order").first_seq


@pytest.mark.parametrize(("old", "new"), [(5, 100_000), (1500, 0), (1500, 100_000)])
def test_a_row_moved(path: Path, old: int, new: int) -> None:
    """A row at the beginning or the end is out of order itself; the thousands after or before it are not."""
    seq = seq_of(path, old)
    damage(path, f"UPDATE sensor_readings SET id = {new} WHERE id = {old}")

    assert seq == only_finding(path, "order").first_seq


def test_rows_in_reverse(path: Path) -> None:
    """All but the first are out of order; nothing is lost."""
    readings = verify(path.parent).readings
    damage(path, "UPDATE sensor_readings SET id = -id")

    assert {"order": readings - 1} == finding_counts(verify(path.parent))


@pytest.mark.parametrize("row", [1, 700])
def test_a_duplicated_row(path: Path, row: int) -> None:
    columns = ",".join(name for (name,) in select(path, "SELECT name FROM pragma_table_info('sensor_readings')")[1:])
    damage(path, f"INSERT INTO sensor_readings ({columns}) SELECT {columns} FROM sensor_readings WHERE id = {row}")

    assert seq_of(path, row) == only_finding(path, "repeat").first_seq


def test_a_row_that_should_be_missing(path: Path) -> None:
    """A reading of a missing_data episode must not have a row."""
    ((seq,),) = select(
        path, "SELECT min(first_seq) FROM anomaly_episodes WHERE type = 'missing_data' AND first_seq > 9"
    )
    columns = ",".join(name for (name,) in select(path, "SELECT name FROM pragma_table_info('sensor_readings')")[1:-1])
    damage(
        path,
        f"INSERT INTO sensor_readings ({columns}, seq) SELECT {columns}, {seq} FROM sensor_readings WHERE id = 4",
    )

    assert seq == only_finding(path, "stray").first_seq


def test_a_row_beyond_the_checkpoint(path: Path) -> None:
    damage(path, "UPDATE checkpoints SET next_seq = next_seq - 1")

    finding = only_finding(path, "beyond")
    assert (SCHEDULED_READINGS - 1, f"the checkpoint is at {SCHEDULED_READINGS - 1}") == (
        finding.first_seq,
        finding.detail,
    )


def test_a_checkpoint_beyond_the_rows(path: Path) -> None:
    """Any distance takes little time, and the finding has the ends of the hole."""
    damage(path, f"UPDATE checkpoints SET next_seq = {10**15}")

    verdict = verify(path.parent)
    assert 10**15 - SCHEDULED_READINGS == finding_counts(verdict)["hole"]
    assert (SCHEDULED_READINGS, 10**15 - 1) == (verdict.findings[0].first_seq, verdict.findings[0].last_seq)


@pytest.mark.parametrize("column", ["firmware_version", "latitude", "location", "sensor_type", "sensor_id"])
def test_an_identity_column(path: Path, column: str) -> None:
    damage(path, f"UPDATE sensor_readings SET {column} = 'x' WHERE id = 700")

    finding = only_finding(path, "identity")
    assert (seq_of(path, 700), True) == (finding.first_seq, finding.detail.startswith(f"{column} is 'x', must be "))


def test_an_identity_altered_from_some_row_on(path: Path) -> None:
    """All rows are counted, in one finding."""
    first = seq_of(path, 2000)
    last = select(path, "SELECT max(id) FROM sensor_readings")[0][0]
    damage(path, "UPDATE sensor_readings SET model = NULL WHERE id >= 2000")

    verdict = verify(path.parent)
    assert {"identity": last - 1999} == finding_counts(verdict)
    assert first == verdict.findings[0].first_seq


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("anomaly_flag = 1", "anomaly_flag is 1, must be 0"),
        ("anomaly_type = 'trend'", "anomaly_type is 'trend', must be None"),
        ("status_code = 7", "status_code is 7, must be 0"),
    ],
)
def test_a_wrong_label(path: Path, change: str, detail: str) -> None:
    ((row,),) = select(path, "SELECT min(id) FROM sensor_readings WHERE anomaly_flag = 0 AND id > 700")
    damage(path, f"UPDATE sensor_readings SET {change} WHERE id = {row}")

    finding = only_finding(path, "label")
    assert (seq_of(path, row), detail) == (finding.first_seq, finding.detail)


def test_a_label_that_is_gone(path: Path) -> None:
    ((row,),) = select(path, "SELECT min(id) FROM sensor_readings WHERE anomaly_type = 'spike'")
    damage(path, f"UPDATE sensor_readings SET anomaly_type = NULL, anomaly_flag = 0 WHERE id = {row}")

    assert "anomaly_flag is 0, must be 1; anomaly_type is None, must be 'spike'" == only_finding(path, "label").detail


def test_damage_in_a_shared_database(tmp_path: Path) -> None:
    """Findings name the damaged sensor, and no other."""
    path = tmp_path / "sensor_data.db"
    write_database(path, 500, sensors=make_identities(5), commit_every=7)
    assert verify(tmp_path).ok
    damage(
        path,
        "DELETE FROM sensor_readings WHERE sensor_id = 'S_000001' AND seq = 200",
        "UPDATE sensor_readings SET voltage = 1 WHERE sensor_id = 'S_000002' AND seq = (SELECT max(seq) FROM sensor_readings)",
        "UPDATE sensor_readings SET latitude = 2 WHERE sensor_id = 'S_000003' AND seq BETWEEN 0 AND 3",
        "UPDATE sensor_readings SET sensor_id = 'GHOST' WHERE sensor_id = 'S_000004' AND seq = 0",
    )

    verdict = verify(tmp_path)
    findings = {(found.kind, found.sensor_id, found.first_seq) for found in verdict.findings}
    assert ("hole", "S_000001", 200) in findings
    assert ("identity", "S_000003", 0) in findings
    assert ("stray", "GHOST", None) in findings
    assert ("hole", "S_000004", 0) in findings
    assert {"S_000001", "S_000002", "S_000003", "S_000004", "GHOST"} == {sensor for _, sensor, _ in findings}

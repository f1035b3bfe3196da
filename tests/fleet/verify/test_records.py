"""Damage to episodes, epochs and checkpoints, and values of the wrong type in any column."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.verify.findings import MAX_FINDINGS_PER_KIND
from fleet.verify.verification import verify
from tests.fleet.verify.damage import (
    SCHEDULED_READINGS,
    damage,
    finding_counts,
    later_run,
    only_finding,
    select,
    write_database,
    write_sample_database,
    write_sample_manifest,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sample_database(tmp_path)


def test_a_dropped_episode(path: Path) -> None:
    ((first, last),) = select(path, "SELECT first_seq, last_seq FROM anomaly_episodes WHERE type = 'pattern' LIMIT 1")
    damage(path, f"DELETE FROM anomaly_episodes WHERE first_seq = {first}")

    finding = only_finding(path, "episode missing")
    assert (first, last, "pattern") == (finding.first_seq, finding.last_seq, finding.detail)


@pytest.mark.parametrize("first", [17, SCHEDULED_READINGS + 5, -3])
def test_an_added_episode(path: Path, first: int) -> None:
    damage(
        path,
        "INSERT INTO anomaly_episodes SELECT sensor_id, type, channel, :first, :first, start_time, end_time, parameters"
        " FROM anomaly_episodes WHERE type = 'trend' LIMIT 1",
        first=first,
    )

    assert first == only_finding(path, "episode extra").first_seq


@pytest.mark.parametrize("column", ["type", "channel", "last_seq", "start_time", "end_time", "parameters"])
def test_an_altered_episode(path: Path, column: str) -> None:
    """Any difference is found, also in the last record, which may be truncated."""
    firsts = select(path, "SELECT first_seq FROM anomaly_episodes WHERE type <> 'missing_data' ORDER BY first_seq")
    for (first,) in (firsts[10], firsts[-1]):
        ((old,),) = select(path, f"SELECT {column} FROM anomaly_episodes WHERE first_seq = {first}")
        new = old + 1 if isinstance(old, int) else "x"
        damage(path, f"UPDATE anomaly_episodes SET {column} = :new WHERE first_seq = {first}", new=new)

        finding = only_finding(path, "episode altered")
        assert (first, f"{column} is {new!r}, must be {old!r}") == (finding.first_seq, finding.detail)

        damage(path, f"UPDATE anomaly_episodes SET {column} = :old WHERE first_seq = {first}", old=old)


def test_an_episode_moved(path: Path) -> None:
    ((first,),) = select(path, "SELECT first_seq FROM anomaly_episodes WHERE type = 'noise' LIMIT 1")
    damage(path, f"UPDATE anomaly_episodes SET first_seq = {first} + 1 WHERE first_seq = {first}")

    assert {"episode missing": 1, "episode extra": 1} == finding_counts(verify(path.parent))


def test_episodes_of_an_unknown_sensor(path: Path) -> None:
    damage(
        path,
        "UPDATE anomaly_episodes SET sensor_id = 'GHOST' WHERE first_seq = (SELECT min(first_seq) FROM anomaly_episodes)",
    )

    verdict = verify(path.parent)
    assert {"episode missing": 1, "episode extra": 1} == finding_counts(verdict)
    assert ["GHOST"] == [found.sensor_id for found in verdict.findings if found.kind == "episode extra"]


@pytest.mark.parametrize(
    "change",
    [
        "seed = '43'",
        "start_us = start_us + 1",
        "settings = replace(settings, '22.0', '22.5')",
        """settings = replace(settings, '"rate":"1"', '"rate":"2"')""",
        """identity = replace(identity, 'America/Chicago', 'Asia/Tokyo')""",
    ],
)
def test_an_epoch_with_which_readings_do_not_agree(path: Path, change: str) -> None:
    """All its readings are counted as altered, and the first of them are listed."""
    damage(path, f"UPDATE epochs SET {change}")

    verdict = verify(path.parent)
    assert not verdict.ok
    assert finding_counts(verdict)["altered"] > 1000
    assert MAX_FINDINGS_PER_KIND == sum(found.kind == "altered" for found in verdict.findings)


def test_a_seed_that_is_not_the_fleets(path: Path) -> None:
    write_sample_manifest(path.parent, seed=43)

    assert "its seed is 42, that of the fleet is 43" == only_finding(path, "epoch").detail


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("start_time = 'noon'", "its start_time is noon, must be 2026-01-01T00:00:00.000000+00:00"),
        ("settings = '{'", "it cannot be read: JSONDecodeError"),
        ("settings = '[]'", "it cannot be read: TypeError"),
        ("settings = replace(settings, 'spike', 'spook')", "it cannot be computed: "),
        (
            """settings = replace(settings, '"rate":"1"', '"rate":"0"')""",
            "it cannot be read: ValueError: its rate is 0",
        ),
        ("""settings = replace(settings, '"rate":"1"', '"rate":"1/0"')""", "it cannot be read: ZeroDivisionError"),
        ("settings = replace(settings, '22.0', '\"22\"')", "it cannot be computed: "),
        ("identity = replace(identity, 'America/Chicago', 'Mars/Base')", "it cannot be computed: "),
        ("seed = 'x'", "it cannot be read: ValueError"),
        ("start_us = 'x'", "it cannot be "),
        (f"start_us = {(1 << 63) - 1}", "it"),
    ],
)
def test_an_epoch_that_cannot_be_used(path: Path, change: str, detail: str) -> None:
    """The epoch is the only finding; its readings are not checked."""
    damage(path, f"UPDATE epochs SET {change}")

    verdict = verify(path.parent)
    assert {"epoch"} == set(verdict.counts) - {"identity"}
    assert any(found.detail.startswith(detail) for found in verdict.findings), verdict.findings


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (
            "start_us = start_us - 5000000000",
            "it starts at 2026-01-01T00:36:40.000000+00:00, before the one before it ends",
        ),
        ("first_seq = first_seq + 5000", "it begins beyond the checkpoint, which is at "),
        ("identity = replace(identity, 'CHI_123456', 'CHI_999999')", "its identity is that of CHI_999999"),
    ],
)
def test_a_second_epoch_that_cannot_be(path: Path, change: str, detail: str) -> None:
    """It must match the epoch before it, and its sensor."""
    write_database(path, 500, run_spec=later_run(2, 7_200))
    assert verify(path.parent).ok
    damage(path, f"UPDATE epochs SET {change} WHERE first_seq > 0")

    details = [found.detail for found in verify(path.parent).findings if found.kind == "epoch"]
    assert any(one.startswith(detail) for one in details), details


def test_an_epoch_that_is_gone(path: Path) -> None:
    """Its readings are altered ones of the epoch before it."""
    write_database(path, 500, run_spec=later_run(2, 7_200))
    damage(path, "DELETE FROM epochs WHERE first_seq > 0")

    verdict = verify(path.parent)
    assert 400 < verdict.counts["altered"] <= 501
    assert SCHEDULED_READINGS == min(found.first_seq or 0 for found in verdict.findings if found.kind == "altered")


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM epochs", "epoch"),
        ("UPDATE epochs SET first_seq = 'x'", "epoch"),
        ("UPDATE epochs SET first_seq = 5", "epoch"),
        ("DELETE FROM checkpoints", "checkpoint"),
        ("UPDATE checkpoints SET next_seq = 'x'", "checkpoint"),
        ("DROP TABLE anomaly_episodes", "unreadable"),
        ("ALTER TABLE sensor_readings DROP COLUMN voltage", "unreadable"),
        ("UPDATE sensor_readings SET seq = 'x' WHERE id = 7", "stray"),
        ("UPDATE sensor_readings SET seq = -7 WHERE id = 7", "stray"),
        ("UPDATE sensor_readings SET seq = 1e300 WHERE id = 7", "stray"),
        ("UPDATE sensor_readings SET location = CAST(X'ff00fe' AS TEXT) WHERE id = 7", "identity"),
        ("UPDATE sensor_readings SET timestamp = CAST(X'ff00fe' AS TEXT) WHERE id = 7", "altered"),
        ("UPDATE sensor_readings SET anomaly_type = X'00' WHERE id = 7", "label"),
        ("UPDATE anomaly_episodes SET parameters = CAST(X'ff00fe' AS TEXT)", "unreadable"),
        (
            "UPDATE anomaly_episodes SET first_seq = 'x' WHERE first_seq = (SELECT min(first_seq) FROM anomaly_episodes)",
            "episode extra",
        ),
        ("UPDATE epochs SET settings = CAST(X'ff00fe' AS TEXT)", "unreadable"),
    ],
)
def test_damage_of_odd_kinds(path: Path, statement: str, kind: str) -> None:
    """Every damage is a finding of the given kind."""
    damage(path, statement)

    assert kind in verify(path.parent).counts


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("epochs SET reason = 'x'", "its reason is 'x', must be start or skip"),
        ("epochs SET reason = 'resume'", "its reason is 'resume', must be start or skip"),
        ("epochs SET run = -1", "its run is -1"),
        ("epochs SET run = 'x'", "its run is 'x'"),
        ("epochs SET run = 9", "its run is 9, the last one is 3"),
        ("checkpoints SET incarnation = 'x'", "its incarnation is 'x'"),
        ("checkpoints SET incarnation = 1 << 63", "its incarnation is -9223372036854775808"),
        ("database_info SET role = 'rotated '", "database_info: its role is 'rotated ', must be live"),
        ("database_info SET generation = 'x'", "database_info: its generation is 'x', must be a UUID"),
        ("database_info SET schema_version = 99", "database_info: its schema_version is 99, must be 1"),
    ],
)
def test_a_record_on_which_no_reading_depends(path: Path, change: str, detail: str) -> None:
    damage(path, "UPDATE checkpoints SET incarnation = (3 << 24) + 1")
    assert verify(path.parent).ok

    damage(path, f"UPDATE {change}")

    (finding,) = verify(path.parent).findings
    assert detail == finding.detail


@pytest.mark.parametrize("reason", ["start", "scenario", "injection 7", "reset"])
def test_a_reason_that_the_epochs_do_not_bear_out(path: Path, reason: str) -> None:
    """Time was left out before the second epoch."""
    write_database(path, 500, run_spec=later_run(2, 7_200))
    damage(path, f"UPDATE epochs SET reason = '{reason}' WHERE first_seq > 0")

    (finding,) = verify(path.parent).findings
    assert f"its reason is {reason!r}, must be skip or settings or resume" == finding.detail


def test_a_run_before_that_of_the_epoch_before(path: Path) -> None:
    write_database(path, 500, run_spec=later_run(2, 7_200))
    damage(path, "UPDATE epochs SET run = 0 WHERE first_seq > 0")

    (finding,) = verify(path.parent).findings
    assert "its run is 0, that of the epoch before it is 1" == finding.detail


def test_a_checkpoint_of_bytes(path: Path) -> None:
    """Among others of text: a finding, not a traceback."""
    damage(path, "INSERT INTO checkpoints VALUES (X'ff00', 0, 1)")

    assert "checkpoint" in verify(path.parent).counts

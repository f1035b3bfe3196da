"""`fleet verify` as a user runs it: tables, one line at the end, JSON, exit codes, errors in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.verify.verification import verify
from tests.fleet.staged import StagedFleet
from tests.fleet.verify.damage import damage, finding_counts, make_identities, write_database, write_sample_manifest
from tests.process.running_fleet import fleet
from tests.worker.samples import IDENTITY, SECOND_US, run
from worker.spec import RunSpec

NAME = f"{IDENTITY.sensor_id}.db"


def test_all_is_well(tmp_path: Path) -> None:
    """One line on stdout, nothing on stderr, exit code 0."""
    write_database(tmp_path / NAME, 99)
    told = fleet("verify", "--data", tmp_path)

    assert (0, "") == (told.returncode, told.stderr)
    assert told.stdout.startswith("1 sensor, 9")
    assert " in 1 database: no differences, " in told.stdout
    assert 1 == len(told.stdout.splitlines())


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    """A table for each kind of at most twenty lines, how many more there are, exit code 1."""
    write_database(tmp_path / NAME, 999)
    damage(
        tmp_path / NAME,
        "DELETE FROM sensor_readings WHERE id = 50",
        "UPDATE sensor_readings SET voltage = 1 WHERE id BETWEEN 101 AND 140",
    )
    (tmp_path / "X.db.quarantined-1").touch()
    told = fleet("verify", "--data", tmp_path)

    assert (1, "") == (told.returncode, told.stderr)
    lines = told.stdout.splitlines()
    assert {"missing readings: 1", "altered readings: 40", "  and 20 more"} <= set(lines)
    assert 20 == sum("voltage is 1.0, must be " in line for line in lines)
    assert "not verified, moved aside by the fleet because it was damaged: X.db.quarantined-1" in lines
    assert " in 1 database: 41 findings, " in lines[-1]
    assert "\x1b" not in told.stdout


def test_as_json(tmp_path: Path) -> None:
    """One object with everything; the exit code is the same."""
    write_database(tmp_path / NAME, 999)
    told = fleet("verify", "--data", tmp_path, "--json")
    document = json.loads(told.stdout)
    assert (0, True, [], {}) == (told.returncode, document["ok"], document["findings"], document["counts"])

    damage(tmp_path / NAME, "DELETE FROM sensor_readings WHERE seq = 0")
    told = fleet("verify", "--data", tmp_path, "--json")
    document = json.loads(told.stdout)
    finding = {"kind": "hole", "sensor_id": IDENTITY.sensor_id, "database": NAME}
    assert (1, False, {"hole": 1}) == (told.returncode, document["ok"], document["counts"])
    assert [{**finding, "first_seq": 0, "last_seq": 0, "detail": "1 reading"}] == document["findings"]


def test_progress_is_told(tmp_path: Path) -> None:
    """It rises to the end, which is known from the beginning."""
    for sensor in make_identities(3):
        write_database(tmp_path / f"{sensor.sensor_id}.db", 99, sensors=[sensor])
    told: list[tuple[int, int]] = []
    verify(tmp_path, on_progress=lambda done, total: told.append((done, total)))

    total = sum(path.stat().st_size for path in tmp_path.glob("*.db"))
    assert {total} == {total for _, total in told}
    assert sorted(told) == told
    assert (total, total) == told[-1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--data", "nowhere"], "--data: nowhere is not a directory"),
        (["--data", "empty"], "--data: there is no database of a fleet in empty"),
        (["--data", "foreign"], "--data: there is no database of a fleet in foreign"),
        (["--data", "data", "--sensor", "GHOST"], "--sensor: there is no sensor GHOST in data"),
        (["--data", "data", "--complete"], "--complete: data: no fleet has run here"),
    ],
)
def test_what_cannot_be_verified(arguments: list[str], reason: str, tmp_path: Path) -> None:
    """One line on stderr that names the place, exit code 1."""
    for name in ("empty", "foreign", "data"):
        (tmp_path / name).mkdir()
    damage(tmp_path / "foreign" / "x.db", "CREATE TABLE x (y)")
    write_database(tmp_path / "data" / NAME, 9)
    told = fleet("verify", *arguments, cwd=tmp_path)

    assert (1, "", f"fleet: {reason}\n") == (told.returncode, told.stdout, told.stderr)


def test_a_damaged_record_is_the_users_error(tmp_path: Path) -> None:
    write_database(tmp_path / NAME, 9)
    (tmp_path / "fleet.json").write_text("{")

    with pytest.raises(UserError, match=r"fleet\.json"):
        verify(tmp_path)


def roster(data: Path, run_spec: RunSpec, sensors: int = 1) -> Roster:
    """That of a run of the first sensors of `crew`."""
    staged = StagedFleet(data, sensors)
    members = tuple(
        replace(member, identity=identity, database=Path("elsewhere", f"{identity.sensor_id}.db"))
        for member, identity in zip(staged.members, make_identities(sensors), strict=True)
    )
    duration = None if run_spec.duration_us is None else run_spec.duration_us / SECOND_US
    told = replace(staged.roster(), members=members, duration=duration)
    told.write(staged.run / "roster.json")
    return told


def test_a_run_that_is_complete(tmp_path: Path) -> None:
    """Each has exactly what was due, to the reading; what a database holds that is no member's does not count."""
    data = tmp_path / "data"
    roster(data, run(seconds=50.5), 2)
    for sensor in make_identities(2):
        write_database(data / f"{sensor.sensor_id}.db", 50, run_spec=run(seconds=50.5), sensors=[sensor])
    write_database(data / NAME, 3)
    assert verify(data, complete=True).ok

    damage(data / "S_000001.db", "DELETE FROM sensor_readings WHERE seq = 50", "UPDATE checkpoints SET next_seq = 50")
    damage(data / "S_000001.db", "DELETE FROM anomaly_episodes WHERE first_seq = 50")
    verdict = verify(data, complete=True)
    assert {"incomplete": 1} == finding_counts(verdict)
    (finding,) = verdict.findings
    assert ("S_000001", 50, "50 of 51 readings are committed") == (finding.sensor_id, finding.first_seq, finding.detail)
    assert verify(data, complete=True, sensor="S_000000").ok
    assert not verify(data, complete=True, sensor="S_000001").ok


def test_a_member_without_a_database(tmp_path: Path) -> None:
    """Nor one that was set aside: it is not complete."""
    data = tmp_path / "data"
    roster(data, run(seconds=20), 2)
    write_database(data / "S_000000.db", 19, run_spec=run(seconds=20), sensors=make_identities(1))
    write_database(data / "S_000001.before-3.db", 19, run_spec=run(seconds=20), sensors=make_identities(2)[1:])

    verdict = verify(data, complete=True)
    assert {"incomplete": 1} == finding_counts(verdict)
    assert ("S_000001", "no database has a checkpoint of it") == (
        verdict.findings[0].sensor_id,
        verdict.findings[0].detail,
    )


def test_what_is_due_after_a_skip(tmp_path: Path) -> None:
    """The run ends when it would have ended; what was skipped is not due."""
    roster(tmp_path / "data", run(seconds=3000))
    write_database(
        tmp_path / "data" / "S_000000.db",
        2999,
        run_spec=run(seconds=3000),
        sensors=make_identities(1),
        commit_every=1000,
    )

    verdict = verify(tmp_path / "data", complete=True)
    assert () == verdict.findings
    assert verdict.readings < 1500


def test_a_run_without_an_end_cannot_be_complete(tmp_path: Path) -> None:
    roster(tmp_path / "data", run())
    write_database(tmp_path / "data" / "S_000000.db", 9, sensors=make_identities(1))

    with pytest.raises(UserError, match="was started without --for"):
        verify(tmp_path / "data", complete=True)


def test_a_sensor_that_took_no_part(tmp_path: Path) -> None:
    roster(tmp_path / "data", run(seconds=9))
    write_database(tmp_path / "data" / NAME, 9)

    with pytest.raises(UserError, match="took no part in the last run"):
        verify(tmp_path / "data", complete=True, sensor=IDENTITY.sensor_id)


@pytest.mark.parametrize("ruin", [lambda _: "{", lambda _: "[]", lambda text: text.replace("2026-01-01T", "noon ")])
def test_a_roster_that_is_none(ruin: Callable[[str], str], tmp_path: Path) -> None:
    roster(tmp_path / "data", run(seconds=9))
    path = tmp_path / "data" / "run" / "roster.json"
    path.write_text(ruin(path.read_text()))
    write_database(tmp_path / "data" / NAME, 9)

    with pytest.raises(UserError, match=r"roster\.json: "):
        verify(tmp_path / "data", complete=True)


def test_a_record_without_databases(tmp_path: Path) -> None:
    """A data directory without any of its databases is an error, not a success."""
    write_sample_manifest(tmp_path)

    with pytest.raises(UserError, match="no database of a fleet"):
        verify(tmp_path)

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
    """It prints one line on stdout, nothing on stderr, and the exit code is 0."""
    write_database(tmp_path / NAME, 99)
    shown = fleet("verify", "--data", tmp_path)

    assert (0, "") == (shown.returncode, shown.stderr)
    assert shown.stdout.startswith("1 sensor, 9")
    assert " in 1 database: no differences, " in shown.stdout
    assert 1 == len(shown.stdout.splitlines())


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    """It prints a table of at most twenty lines for each kind and the number of further ones; the exit code is 1."""
    write_database(tmp_path / NAME, 999)
    damage(
        tmp_path / NAME,
        "DELETE FROM sensor_readings WHERE id = 50",
        "UPDATE sensor_readings SET voltage = 1 WHERE id BETWEEN 101 AND 140",
    )
    (tmp_path / "X.db.quarantined-1").touch()
    shown = fleet("verify", "--data", tmp_path)

    assert (1, "") == (shown.returncode, shown.stderr)
    lines = shown.stdout.splitlines()
    assert {"missing readings: 1", "altered readings: 40", "  and 20 more"} <= set(lines)
    assert 20 == sum("voltage is 1.0, must be " in line for line in lines)
    assert "not verified, moved aside by the fleet because it was damaged: X.db.quarantined-1" in lines
    assert " in 1 database: 41 findings, " in lines[-1]
    assert "\x1b" not in shown.stdout


def test_as_json(tmp_path: Path) -> None:
    """The JSON is one object with all findings; the exit code is the same."""
    write_database(tmp_path / NAME, 999)
    shown = fleet("verify", "--data", tmp_path, "--json")
    document = json.loads(shown.stdout)
    assert (0, True, [], {}) == (shown.returncode, document["ok"], document["findings"], document["counts"])

    damage(tmp_path / NAME, "DELETE FROM sensor_readings WHERE seq = 0")
    shown = fleet("verify", "--data", tmp_path, "--json")
    document = json.loads(shown.stdout)
    finding = {"kind": "hole", "sensor_id": IDENTITY.sensor_id, "database": NAME}
    assert (1, False, {"hole": 1}) == (shown.returncode, document["ok"], document["counts"])
    assert [{**finding, "first_seq": 0, "last_seq": 0, "detail": "1 reading"}] == document["findings"]


def test_progress_is_told(tmp_path: Path) -> None:
    """It rises to the total, which is known from the beginning."""
    for sensor in make_identities(3):
        write_database(tmp_path / f"{sensor.sensor_id}.db", 99, sensors=[sensor])
    calls: list[tuple[int, int]] = []
    verify(tmp_path, on_progress=lambda done, total: calls.append((done, total)))

    total = sum(path.stat().st_size for path in tmp_path.glob("*.db"))
    assert {total} == {total for _, total in calls}
    assert sorted(calls) == calls
    assert (total, total) == calls[-1]


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
    """It prints one line on stderr that names the place; the exit code is 1."""
    for name in ("empty", "foreign", "data"):
        (tmp_path / name).mkdir()
    damage(tmp_path / "foreign" / "x.db", "CREATE TABLE x (y)")
    write_database(tmp_path / "data" / NAME, 9)
    shown = fleet("verify", *arguments, cwd=tmp_path)

    assert (1, "", f"fleet: {reason}\n") == (shown.returncode, shown.stdout, shown.stderr)


def test_a_damaged_record_is_the_users_error(tmp_path: Path) -> None:
    write_database(tmp_path / NAME, 9)
    (tmp_path / "fleet.json").write_text("{")

    with pytest.raises(UserError, match=r"fleet\.json"):
        verify(tmp_path)


def roster(data: Path, run_spec: RunSpec, sensors: int = 1) -> Roster:
    """Write and return the roster of a run of the first sensors of `make_identities`."""
    staged = StagedFleet(data, sensors)
    members = tuple(
        replace(member, identity=identity, database=Path("elsewhere", f"{identity.sensor_id}.db"))
        for member, identity in zip(staged.members, make_identities(sensors), strict=True)
    )
    duration = None if run_spec.duration_us is None else run_spec.duration_us / SECOND_US
    written = replace(staged.roster(), members=members, duration=duration)
    written.write(staged.run / "roster.json")
    return written


def test_a_run_that_is_complete(tmp_path: Path) -> None:
    """Every member has exactly the readings that were due; sensors that are not members do not count."""
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
    """A member without a database, or with only one that was moved aside, is not complete."""
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
    """A skip does not move the end of the run, and skipped readings are not due."""
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

    with pytest.raises(UserError, match=r"roster\.json(:\d+:\d+)?: "):
        verify(tmp_path / "data", complete=True)


def test_a_record_without_databases(tmp_path: Path) -> None:
    """A data directory without any of its databases is an error, not a success."""
    write_sample_manifest(tmp_path)

    with pytest.raises(UserError, match="no database of a fleet"):
        verify(tmp_path)

"""`fleet verify --against` as a user runs it: text, JSON, exit codes, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fleet.delivery.delivered import NAME
from tests.fleet.delivery.swept import sweep
from tests.fleet.verify.damage import damage, later_run, select, write_database
from tests.process.running_fleet import fleet


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """`data`, and beside it in the directory where the command is run `central.db` with all that is there."""
    (tmp_path / "data").mkdir()
    write_database(tmp_path / "data" / NAME, 499)
    sweep(tmp_path / "data", tmp_path / "central.db")
    return tmp_path


def test_all_has_arrived(place: Path) -> None:
    """The databases first, and then what arrived; nothing on stderr, exit code 0."""
    message = fleet("verify", "--data", "data", "--against", "sqlite:///central.db", cwd=place)

    assert (0, "") == (message.returncode, message.stderr)
    ((readings,),) = select(place / "data" / NAME, "SELECT count(*) FROM sensor_readings")
    lines = message.stdout.splitlines()
    assert f"1 sensor, {readings} readings, " in lines[0]
    assert "compared with central.db" in lines
    assert f"  {readings} of {readings} readings arrived, 0 pending" in lines
    assert lines[-1].startswith("  no differences, ")
    assert all(len(line) < 80 for line in lines)


def test_something_has_not(place: Path) -> None:
    """A table for each kind; exit code 1, although the databases have no differences."""
    damage(
        place / "central.db",
        "DELETE FROM sensor_readings WHERE id = 7",
        "UPDATE sensor_readings SET voltage = 1 WHERE id > 100 AND id <= 140",
    )
    write_database(place / "data" / NAME, 600, run_spec=later_run(2, 500))
    message = fleet("verify", "--data", "data", "--against", "sqlite:///central.db", cwd=place)

    assert (1, "") == (message.returncode, message.stderr)
    lines = message.stdout.splitlines()
    assert {"readings that did not arrive: 1", "readings that arrived with other values: 40"} <= set(lines)
    assert "no differences" in lines[0]
    assert lines[-1].startswith("  41 findings, ")
    assert any(line.endswith(" pending") and " 0 " not in line for line in lines)


def test_the_databases_are_wrong(place: Path) -> None:
    """Then it fails, although all of it has arrived."""
    damage(place / "data" / NAME, "UPDATE sensor_readings SET voltage = 1 WHERE id = 7")
    damage(place / "central.db", "UPDATE sensor_readings SET voltage = 1 WHERE id = 7")
    message = fleet("verify", "--data", "data", "--against", "sqlite:///central.db", cwd=place)

    assert 1 == message.returncode
    assert "no differences" in message.stdout.splitlines()[-1]


def test_as_json(place: Path) -> None:
    """`against` has it all; `ok` is about both."""
    command = ("verify", "--data", "data", "--against", "sqlite:///central.db", "--json")
    message = fleet(*command, cwd=place)
    document = json.loads(message.stdout)
    assert (0, True, True) == (message.returncode, document["ok"], document["against"]["ok"])
    against = document["against"]
    assert (document["readings"], 0, {}) == (against["arrived"], against["pending"], against["counts"])
    assert {"p50", "p95", "p99", "max"} == set(against["latency"])

    damage(place / "central.db", "DELETE FROM sensor_readings WHERE seq = 0")
    message = fleet(*command, cwd=place)
    document = json.loads(message.stdout)
    finding = {"kind": "not delivered", "sensor_id": "CHI_123456", "database": NAME, "first_seq": 0, "last_seq": 0}
    assert (1, False, {}) == (message.returncode, document["ok"], document["counts"])
    assert [{**finding, "detail": "1 reading"}] == document["against"]["findings"]


def test_a_table_of_the_users_own(place: Path) -> None:
    damage(place / "own.db", "CREATE TABLE far (sensor_id, timestamp)")
    message = fleet("verify", "--data", "data", "--against", "sqlite:///own.db", "--table", "far", "--json", cwd=place)

    compared = json.loads(message.stdout)["against"]
    assert (1, 0, "own.db: far") == (message.returncode, compared["arrived"], compared["target"])
    assert {"not delivered": compared["generated"]} == compared["counts"]


def test_a_central_database_among_the_others(place: Path) -> None:
    """Is none of the fleet's, and says so."""
    (place / "central.db").rename(place / "data" / "central.db")
    message = fleet("verify", "--data", "data", "--against", "sqlite:///data/central.db", cwd=place)

    assert (0, True) == (message.returncode, "skipped: central.db: a central database" in message.stdout)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--against", "nowhere"], "--against: 'nowhere' is no target: allowed is sqlite:///FILE, "),
        (["--against", "sqlite:central.db"], "--against: 'sqlite:central.db' names no file: sqlite:///central.db, or"),
        (["--against", "sqlite:///none.db"], "--against: none.db cannot be read: there is no such database"),
        (["--against", "sqlite:///data"], "--against: data is a directory, not a database"),
        (["--against", "sqlite:///text"], "--against: text cannot be read: NotADBError: "),
        (["--against", "sqlite:///empty"], "--against: empty has no table sensor_readings"),
        (["--against", "sqlite:///central.db", "--table", "x"], "--against: central.db has no table x"),
        (["--against", "parquet:none"], "--against: parquet:none: there is no such directory"),
        (["--against", "postgresql://127.0.0.1:1/x"], "--against: postgresql://127.0.0.1:1/x cannot be read: conn"),
        (["--against", "http://me:secret@host/"], "--against: 'http://***@host/' has a password in it"),
        (["--against", "https://host/"], "--against: a server that takes readings over HTTP cannot be asked"),
        (["--table", "x"], "--table: goes with --against, which says where the table is"),
    ],
)
def test_what_cannot_be_compared(arguments: list[str], reason: str, place: Path) -> None:
    """One line on stderr, before any work; exit code 1."""
    (place / "text").write_text("this is no database" * 100)
    (place / "empty").touch()
    message = fleet("verify", "--data", "data", *arguments, cwd=place)

    assert (1, "", 1) == (message.returncode, message.stdout, message.stderr.count("\n"))
    assert message.stderr.startswith(f"fleet: {reason}")
    assert "secret" not in message.stderr

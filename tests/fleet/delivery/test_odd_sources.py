"""Databases of others that are odd: values of other types, names that are no text, ids that are no numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fleet.delivery import foreign_databases
from tests.fleet.delivery.recording_target import RecordingTarget
from tests.fleet.delivery.swept import sweep, sweep_into
from tests.fleet.verify.damage import damage, make_identities, select, write_database
from tests.process.running_fleet import fleet

LOOSE = """
CREATE TABLE sensor_readings (
    id INTEGER PRIMARY KEY, timestamp, sensor_id, temperature, humidity TEXT, status_code REAL, synced INTEGER)"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two of them, whose columns take any value; the second is as it should be."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, sensor in (("a.db", "A"), ("b.db", "B")):
        foreign_databases.write(folder / name, LOOSE, 10, sensor)
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("timestamp = NULL", "timestamp: is missing"),
        ("sensor_id = NULL", "sensor_id: is missing"),
        ("temperature = '21.5 C'", "temperature: '21.5 C' is no real number"),
        ("temperature = x'00'", "temperature: b'\\x00' is no real number"),
        ("timestamp = x'00'", "timestamp: b'\\x00' is no text"),
    ],
)
def test_a_value_of_another_type(data: Path, tmp_path: Path, change: str, reason: str) -> None:
    """Costs the one reading, with the reason, and no other; also when all of them come again."""
    damage(data / "a.db", f"UPDATE sensor_readings SET {change} WHERE id = 4")
    for _ in range(2):
        total = sweep(data, tmp_path / "central.db").totals()
        damage(data / "b.db", "UPDATE sensor_readings SET synced = 0")
        damage(data / "a.db", "UPDATE sensor_readings SET synced = 0")

    assert (19, 19, 0) == (total.delivered, total.duplicates, total.dead)
    assert [(19,)] == select(tmp_path / "central.db", "SELECT count(*) FROM sensor_readings")
    assert [] == select(tmp_path / "central.db", "SELECT * FROM conflicts")
    letters = select(data / ".collector" / "collector.sqlite", "SELECT id, reason FROM dead_letters")
    assert [(4, reason)] == letters


@pytest.mark.process
def test_what_means_the_same_is_no_conflict(data: Path, tmp_path: Path) -> None:
    """Neither when it comes again nor for who compares the two."""
    central = tmp_path / "central.db"
    write_database(data / "S_000000.db", 20, sensors=make_identities(1))  # who compares wants a database of a fleet
    damage(
        data / "a.db",
        """UPDATE sensor_readings SET sensor_id = 7, timestamp = 1714521600 + id, temperature = 20, humidity = '60.5',
           status_code = 200.0""",
    )
    for _ in range(2):
        assert 0 == sweep(data, central).totals().dead
        damage(data / "a.db", "UPDATE sensor_readings SET synced = 0")
    sweep(data, central)

    columns = "sensor_id, timestamp, temperature, humidity, status_code"
    found = select(central, f"SELECT {columns} FROM sensor_readings WHERE sensor_id = '7' ORDER BY id LIMIT 1")
    assert "[('7', '1714521601', 20.0, 60.5, 200)]" == repr(found)
    assert [] == select(central, "SELECT * FROM conflicts")
    done = fleet("verify", "--data", data, "--against", f"sqlite:///{central}")
    assert 0 == done.returncode, done.stdout


def test_the_least_of_all_ids(data: Path) -> None:
    """It is skipped, and the others are swept."""
    damage(data / "a.db", f"UPDATE sensor_readings SET id = {-(2**63)} WHERE id = 3")

    assert 19 == sweep_into(RecordingTarget(), data).totals().delivered


@pytest.mark.parametrize("marking", [True, False], ids=["marking", "cursor"])
def test_a_name_that_is_no_text(data: Path, tmp_path: Path, marking: bool) -> None:
    """It is shown escaped; the database is swept like any other."""
    (data / "a.db").rename(os.fsdecode(os.fsencode(data) + b"/caf\xe9.db"))

    stats = sweep(data, tmp_path / "central.db", marking=marking)

    assert 20 == stats.totals().delivered
    assert {r"caf\udce9.db", "b.db"} == stats.databases.keys()
    assert [("b.db",), (r"caf\udce9.db",)] == sorted(select(tmp_path / "central.db", "SELECT name FROM sources"))


def test_ids_that_are_no_numbers(data: Path) -> None:
    """It is skipped with the reason: there is no order to sweep by."""
    odd = LOOSE.replace("id INTEGER PRIMARY KEY", "id TEXT DEFAULT 'x'")
    foreign_databases.write(data / "c.db", odd, 3)

    stats = sweep_into(RecordingTarget(), data)

    assert "its sensor_readings has an id that is no whole number" == stats.databases["c.db"].skipped
    assert 20 == stats.totals().delivered

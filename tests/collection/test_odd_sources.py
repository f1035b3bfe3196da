"""Databases of others that are odd: values of other types, names that are no text, ids that are no numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.collection import foreign
from tests.collection.swept import sweep, sweep_into
from tests.collection.targets import Listening
from tests.fleet.damage import ask, damage

LOOSE = """
CREATE TABLE sensor_readings (
    id INTEGER PRIMARY KEY, timestamp, sensor_id, temperature, humidity TEXT, status_code REAL, synced INTEGER)"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two of them, whose columns take any value; the second is as it should be."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, sensor in (("a.db", "A"), ("b.db", "B")):
        foreign.write(folder / name, LOOSE, 10, sensor)
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("timestamp = NULL", "timestamp: is missing"),
        ("sensor_id = NULL", "sensor_id: is missing"),
        ("sensor_id = 17", "sensor_id: 17 is no text"),
        ("timestamp = 1714521600", "timestamp: 1714521600 is no text"),
        ("temperature = '21.5'", "temperature: '21.5' is no real number"),
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
    assert [(19,)] == ask(tmp_path / "central.db", "SELECT count(*) FROM sensor_readings")
    assert [] == ask(tmp_path / "central.db", "SELECT * FROM conflicts")
    letters = ask(data / ".collector" / "collector.sqlite", "SELECT id, reason FROM dead_letters")
    assert [(4, reason)] == letters


def test_numbers_that_mean_the_same_are_no_conflict(data: Path, tmp_path: Path) -> None:
    damage(data / "a.db", "UPDATE sensor_readings SET temperature = 20, status_code = 200.0")
    for _ in range(2):
        sweep(data, tmp_path / "central.db")
        damage(data / "a.db", "UPDATE sensor_readings SET synced = 0")

    found = ask(
        tmp_path / "central.db", "SELECT DISTINCT temperature, status_code FROM sensor_readings WHERE sensor_id = 'A'"
    )
    assert "[(20.0, 200)]" == repr(found)
    assert [] == ask(tmp_path / "central.db", "SELECT * FROM conflicts")


@pytest.mark.parametrize("marking", [True, False], ids=["marking", "cursor"])
def test_a_name_that_is_no_text(data: Path, tmp_path: Path, marking: bool) -> None:
    """Is told with an escape; the database is swept like any other."""
    (data / "a.db").rename(os.fsdecode(os.fsencode(data) + b"/caf\xe9.db"))

    tally = sweep(data, tmp_path / "central.db", marking=marking)

    assert 20 == tally.totals().delivered
    assert {r"caf\udce9.db", "b.db"} == tally.accounts.keys()
    assert [("b.db",), (r"caf\udce9.db",)] == sorted(ask(tmp_path / "central.db", "SELECT name FROM sources"))


def test_ids_that_are_no_numbers(data: Path) -> None:
    """There is no order to collect by, and that is told."""
    odd = LOOSE.replace("id INTEGER PRIMARY KEY", "id TEXT DEFAULT 'x'")
    foreign.write(data / "c.db", odd, 3)

    tally = sweep_into(Listening(), data)

    assert "its sensor_readings has an id that is no whole number" == tally.accounts["c.db"].skipped
    assert 20 == tally.totals().delivered

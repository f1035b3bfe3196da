"""Databases of others that are odd: values of other types, names that are no text, ids that are no numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.datadir.readings import read_only_connection
from fleet.delivery.batch import Batch, SourceDatabase
from fleet.delivery.sources import identify_source
from fleet.delivery.target import Receipt, Target
from fleet.delivery.targets.http.target import HttpTarget
from fleet.delivery.targets.parquet.target import ParquetTarget
from fleet.delivery.targets.sqlite.target import SqliteTarget
from tests.fleet.delivery import foreign_databases
from tests.fleet.delivery.recording_target import RecordingTarget
from tests.fleet.delivery.scripted_server import ScriptedServer
from tests.fleet.delivery.swept import now, open_collector, sweep, sweep_into, sweep_once
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
    """It cannot be delivered, which is an error; the others are swept."""
    damage(data / "a.db", f"UPDATE sensor_readings SET id = {-(2**63)} WHERE id = 3")

    stats = sweep_once(RecordingTarget(), data)

    assert 19 == stats.totals().delivered
    assert stats.databases["a.db"].error == UNDELIVERABLE + "1 has the lowest integer as its id"


UNDELIVERABLE = "readings that cannot be delivered, as each needs an id of its own: "


@pytest.mark.parametrize("marking", [True, False], ids=["marking", "cursor"])
def test_ids_that_are_missing_or_doubled(data: Path, tmp_path: Path, marking: bool) -> None:
    """They are counted at every sweep; of readings with the same id, one is delivered."""
    odd = LOOSE.replace("id INTEGER PRIMARY KEY", "number INTEGER PRIMARY KEY, id INTEGER")
    foreign_databases.write(data / "c.db", odd, 10)
    damage(data / "c.db", "UPDATE sensor_readings SET id = number", "UPDATE sensor_readings SET id = NULL WHERE id < 4")
    damage(data / "c.db", "UPDATE sensor_readings SET id = 9 WHERE id > 8")

    for _ in range(2):
        stats = sweep_once(SqliteTarget(tmp_path / "central.db", now), data, marking=marking, batch_size=4)

        assert stats.databases["c.db"].error == UNDELIVERABLE + "3 has no id, 1 has the id of another"
    assert [(6,)] == select(
        tmp_path / "central.db", "SELECT count(*) FROM sensor_readings WHERE sensor_id = 'SENSOR001'"
    )


@pytest.mark.parametrize("mark", ["2", "'no'", "-1", "x'00'", "0.5"])
def test_a_mark_that_is_neither_0_nor_1(data: Path, mark: str) -> None:
    """Only 1 says that a reading is delivered, whatever another program has written there."""
    damage(data / "a.db", f"UPDATE sensor_readings SET synced = {mark} WHERE id < 4")

    assert 20 == sweep_into(RecordingTarget(), data).totals().delivered
    assert [(1,)] == select(data / "a.db", "SELECT DISTINCT synced FROM sensor_readings")


def test_a_generated_column(data: Path, tmp_path: Path) -> None:
    """It is a column like any other."""
    generated = LOOSE.replace("synced INTEGER", "synced INTEGER, fahrenheit REAL AS (temperature * 1.8 + 32)")
    foreign_databases.write(data / "c.db", generated, 3, "C")

    assert 23 == sweep(data, tmp_path / "central.db").totals().delivered
    extra = select(tmp_path / "central.db", "SELECT extra FROM sensor_readings WHERE sensor_id = 'C' ORDER BY id")
    assert ('{"fahrenheit": 68.0}',) == extra[0]


@pytest.mark.parametrize("target", ["sqlite", "parquet", "http"])
def test_a_text_that_is_not_utf8(data: Path, tmp_path: Path, target: str) -> None:
    """Costs the one reading, also if it is the first, and no other."""
    for number in (1, 4):
        damage(data / "a.db", f"UPDATE sensor_readings SET sensor_id = CAST(x'636166e9' AS TEXT) WHERE id = {number}")
    with ScriptedServer() as server:
        targets: dict[str, Callable[[], Target]] = {
            "sqlite": lambda: SqliteTarget(tmp_path / "central.db", now),
            "parquet": lambda: ParquetTarget(tmp_path / "parquet", now),
            "http": lambda: HttpTarget(server.url),
        }
        stats = sweep_once(targets[target](), data)

    assert (18, 2, []) == (stats.totals().delivered, stats.totals().dead, stats.failing())


@pytest.mark.parametrize("target", ["sqlite", "http"])
def test_a_seq_that_is_null(data: Path, tmp_path: Path, target: str) -> None:
    """In a database of a fleet that another program has written to: one dead letter, and nothing else waits."""
    write_database(data / "S_000000.db", 20, sensors=make_identities(1))
    schema = select(data / "S_000000.db", "SELECT sql FROM sqlite_master WHERE name = 'sensor_readings'")[0][0]
    loose = str(schema).replace("seq INTEGER NOT NULL", "seq INTEGER")
    damage(
        data / "S_000000.db",
        "ALTER TABLE sensor_readings RENAME TO strict_readings",
        loose,
        "INSERT INTO sensor_readings SELECT * FROM strict_readings",
        "UPDATE sensor_readings SET seq = NULL WHERE id = 5",
    )
    with ScriptedServer() as server:
        stats = sweep_once(
            SqliteTarget(tmp_path / "central.db", now) if target == "sqlite" else HttpTarget(server.url), data
        )

    assert (1, []) == (stats.totals().dead, stats.failing())
    assert [(0,)] == select(data / "S_000000.db", "SELECT count(*) FROM sensor_readings WHERE synced = 0 AND id <> 5")
    assert [("seq: is missing",)] == select(data / ".collector" / "collector.sqlite", "SELECT reason FROM dead_letters")


def test_a_damaged_page_is_the_sources_trouble(data: Path, tmp_path: Path) -> None:
    """Not the target's: the other databases are swept."""
    write_database(data / "S_000000.db", 999, sensors=make_identities(1))
    damage(data / "S_000000.db", "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray((data / "S_000000.db").read_bytes())
    size = len(content)
    content[size // 2 : size // 2 + 8192] = b"\xff" * 8192
    (data / "S_000000.db").write_bytes(content)

    stats = sweep_once(SqliteTarget(tmp_path / "central.db", now), data)

    assert [("S_000000.db", "database")] == [(one.name, one.blame) for one in stats.failing()]
    assert 20 <= stats.totals().delivered


def test_a_truncated_parquet_file_is_that_sources_trouble(data: Path, tmp_path: Path) -> None:
    sweep_into(ParquetTarget(tmp_path / "parquet", now), data)
    (path,) = [one for one in (tmp_path / "parquet").rglob("date=*/*/*.parquet") if is_of(one, data / "a.db")]
    path.write_bytes(path.read_bytes()[:-100])
    for name in ("a.db", "b.db"):
        damage(data / name, "UPDATE sensor_readings SET synced = 0")

    stats = sweep_once(ParquetTarget(tmp_path / "parquet", now), data)

    (failing,) = stats.failing()
    assert "a.db" == failing.name
    assert f"{path} is damaged: " in str(failing.error)
    assert 10 == stats.databases["b.db"].delivered


def is_of(path: Path, database: Path) -> bool:
    """Whether the file has readings of the database."""
    with read_only_connection(database) as opened:
        source = identify_source(opened, database, database.name)
    assert isinstance(source, SourceDatabase)
    return path.name.startswith(source.key)


def test_what_is_not_foreseen_in_one_database_is_passed(data: Path) -> None:
    """It is reported with its place, and the others are swept, at this sweep and at the next."""

    def odd(message: Batch) -> Receipt:
        if message.source.name == "a.db":
            raise ZeroDivisionError("a\nthing")
        return Receipt(frozenset(message.ids))

    with open_collector(RecordingTarget(odd), data) as (collector, context):
        collector.sweep()
        collector.sweep()

    (failing,) = context.stats.failing()
    assert ("a.db", 10) == (failing.name, context.stats.databases["b.db"].delivered)
    assert str(failing.error).startswith("not foreseen: ZeroDivisionError: a thing (test_odd_sources.py, line ")


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

"""The columns that the kinds of sensor have behind `seq` are columns of their own in every target, and are compared there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.delivery.batch import SourceDatabase
from fleet.delivery.sources import identify_source
from fleet.delivery.sweep_database import DatabaseSweep
from fleet.delivery.targets.sqlite.central_database import copyable
from tests.fleet.delivery import foreign_databases
from tests.fleet.delivery.further_targets import Destination, destination
from tests.fleet.delivery.recording_target import RecordingTarget
from tests.fleet.delivery.swept import open_collector, sweep_into, sweep_once
from tests.fleet.verify.damage import damage, select
from tests.worker.further import (
    AIR,
    AIR_COLUMNS,
    AIR_IDENTITY,
    PLAIN_IDENTITY,
    TURBINE,
    TURBINE_IDENTITY,
    Writer,
    attributes,
    write_kinds,
    write_rotated_kinds,
)

__all__ = ["attributes"]
pytestmark = pytest.mark.usefixtures("attributes")

AIR_2 = replace(AIR_IDENTITY, sensor_id="AIR_000002")
ALL = (*AIR_COLUMNS, "power", "park")
SQL_TYPES = dict(
    zip(ALL, ["REAL", "REAL", "TEXT", "REAL", "INTEGER", "TEXT", "INTEGER", "REAL", "REAL", "TEXT"], strict=True)
)
TYPES = {
    "sqlite": SQL_TYPES,
    "receive": SQL_TYPES,
    "postgres": {
        name: {"REAL": "double precision", "INTEGER": "bigint", "TEXT": "text"}[kind]
        for name, kind in SQL_TYPES.items()
    },
    "parquet": {
        name: {"REAL": "double", "INTEGER": "int64", "TEXT": "string"}[kind] for name, kind in SQL_TYPES.items()
    },
}
CHANGES: list[tuple[str, Any]] = [
    ("co2", 412.3),
    ("co2", None),
    ("order", 3.99),
    ("status", "FAULT"),
    ("quality", 0.1234),
    ("alert_level", 99),
    ("room", "4.13"),
    ("floor", 5),
    ("volume", None),
    ("power", 1.0),
    ("park", "South 9"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database of several kinds, one of a single kind, one of another simulator with a column of such a name."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_kinds(folder / "pack_0001.db", 200)
    writer = Writer(folder / "AIR_000002.db", (AIR_2, AIR))
    writer.deliver(150)
    writer.sink.close()
    theirs = foreign_databases.SCHEMAS["with a column of its own"].replace("battery REAL", "battery REAL, co2 TEXT")
    foreign_databases.write(folder / "theirs.db", theirs, 10)
    damage(folder / "theirs.db", "UPDATE sensor_readings SET co2 = 'much'")
    return folder


SERVERS = {"postgres", "receive"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=[pytest.mark.process] if kind in SERVERS else []) for kind in TYPES],
)
def kind(request: pytest.FixtureRequest) -> str:
    """The server of a module starts before any of its tests."""
    if request.param == "postgres":
        request.getfixturevalue("postgres")
    return str(request.param)


@pytest.fixture
def place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Destination]:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else ""
    with destination(kind, tmp_path, url) as made:
        yield made


def generated(path: Path, names: tuple[str, ...], sensor: str) -> list[tuple[Any, ...]]:
    quoted = ", ".join(f'"{name}"' for name in names)
    return select(path, f"SELECT seq, {quoted} FROM sensor_readings WHERE sensor_id = :id ORDER BY seq", id=sensor)


def test_every_column_arrives(place: Destination, kind: str, data: Path) -> None:
    """With its type; nothing of it in `extra`, which is for foreign columns."""
    sweep_into(place.target(), data, batch_size=70)

    assert TYPES[kind] == {name: declared for name, declared in place.columns().items() if name in ALL}
    for sensor in (AIR_IDENTITY, TURBINE_IDENTITY, PLAIN_IDENTITY):
        expected = generated(data / "pack_0001.db", ALL, sensor.sensor_id)
        assert expected == place.rows(ALL, sensor.sensor_id)
    assert generated(data / "AIR_000002.db", AIR_COLUMNS, AIR_2.sensor_id) == place.rows(AIR_COLUMNS, AIR_2.sensor_id)
    assert {(None,)} == {row[1:] for row in place.rows(("extra",), AIR_IDENTITY.sensor_id)}
    theirs = place.rows(("co2", "extra"), "SENSOR001")
    assert [(None, {"co2": "much"})] * 10 == [(co2, json.loads(extra)) for _, co2, extra in theirs]
    verdict = place.compare(data)
    assert (True, ()) == (verdict.ok, verdict.findings)
    assert verdict.generated > 600


def test_rotated_files_arrive(tmp_path: Path) -> None:
    """All of a database of several kinds, one of which a sensor becomes later."""
    path, place = tmp_path / "data" / "pack_0001.db", Destination(tmp_path)
    path.parent.mkdir()
    files = write_rotated_kinds(path)
    sweep_into(place.target(), path.parent)

    for sensor in (AIR_IDENTITY, TURBINE_IDENTITY, PLAIN_IDENTITY):
        expected = [row for file in files for row in generated(file, ALL, sensor.sensor_id)]
        assert expected == place.rows(ALL, sensor.sensor_id)
    verdict = place.compare(path.parent)
    assert (True, ()) == (verdict.ok, verdict.findings)
    assert verdict.generated > 5000


def test_a_column_of_somebody_else_stays_in_extra(place: Destination, data: Path) -> None:
    path = data / "AIR_000002.db"
    damage(path, "ALTER TABLE sensor_readings ADD COLUMN processed INTEGER", "UPDATE sensor_readings SET processed = 7")
    sweep_into(place.target(), data)

    assert "processed" not in place.columns()
    assert {'{"processed": 7}'} == {row[1] for row in place.rows(("extra",), AIR_2.sensor_id)}
    assert generated(path, AIR_COLUMNS, AIR_2.sensor_id) == place.rows(AIR_COLUMNS, AIR_2.sensor_id)
    assert () == place.compare(data).findings


def test_a_changed_value_is_found(place: Destination, data: Path) -> None:
    """In every column, of the sensor's kind or of another, in one reading each; and nothing else is."""
    sweep_into(place.target(), data)
    seqs = [row[0] for row in generated(data / "pack_0001.db", ("co2",), AIR_IDENTITY.sensor_id)][5:]
    expected = set()
    for seq, (name, value) in zip(seqs, CHANGES, strict=False):
        place.damage(AIR_IDENTITY.sensor_id, seq, name, value)
        expected.add((seq, f"{name} is {value!r}, must be "))

    verdict = place.compare(data)
    assert {"delivered altered": len(CHANGES)} == verdict.counts
    assert expected == {(f.first_seq, f.detail[: f.detail.index("must be ") + 8]) for f in verdict.findings}


def test_readings_that_come_again_are_known(place: Destination, data: Path) -> None:
    """The same once more is a duplicate; with another value behind `seq` it is a conflict that names the column."""
    sweep_into(place.target(), data)
    for path in data.glob("*.db"):
        damage(path, "UPDATE sensor_readings SET synced = 0")
    again = sweep_into(place.target(), data, batch_size=33).totals()
    assert again.delivered == again.duplicates > 600
    damage(data / "AIR_000002.db", 'UPDATE sensor_readings SET synced = 0, "order" = 1.23 WHERE seq = 20')
    with open_collector(place.target(), data) as (collector, context):
        collector.sweep()

    assert 1 == context.stats.totals().dead
    assert 1.23 not in {row[1] for row in place.rows(("order",), AIR_2.sensor_id)}
    assert 1 == place.compare(data).alarms


def test_a_kind_that_comes_later_adds_its_columns(place: Destination, tmp_path: Path) -> None:
    """A sensor becomes another kind after its first readings were delivered."""
    data = tmp_path / "data"
    data.mkdir()
    writer = Writer(data / "AIR_000002.db", (AIR_2, AIR))
    writer.deliver(50)
    with open_collector(place.target(), data) as (collector, context):
        collector.sweep()
        writer.change(0, TURBINE)
        writer.deliver(100)
        collector.sweep()
        assert [] == context.stats.failing()
    writer.sink.close()

    names = (*AIR_COLUMNS, "power")
    assert generated(data / "AIR_000002.db", names, AIR_2.sensor_id) == place.rows(names, AIR_2.sensor_id)
    assert () == place.compare(data).findings


def test_a_kind_that_comes_between_two_steps_of_a_sweep(tmp_path: Path) -> None:
    """The columns are those after the last reading that is delivered, not those at the opening."""
    path = tmp_path / "data" / "AIR_000002.db"
    path.parent.mkdir()
    writer = Writer(path, (AIR_2, AIR))
    writer.deliver(50)
    target = RecordingTarget()
    with open_collector(target, path.parent) as (_, context), context.open_database(path) as opened:
        source = identify_source(opened.connection, path, path.name)
        assert isinstance(source, SourceDatabase)
        writer.change(0, TURBINE)
        writer.deliver(100)
        DatabaseSweep(opened, source, context).run()
    writer.sink.close()

    assert all("power" in batch.source.further_names for batch in target.batches)


def test_rows_are_copied_by_sqlite(data: Path) -> None:
    """As fast as those of a fixed kind."""
    target = RecordingTarget()
    sweep_into(target, data)

    own = [batch for batch in target.batches if not batch.source.foreign]
    assert own
    assert all(copyable(batch) for batch in own)


@pytest.mark.parametrize("name", ["co2", "status"])
def test_a_column_that_a_target_has_with_another_type(place: Destination, kind: str, name: str, data: Path) -> None:
    """One line says so, and nothing is stored or marked as delivered."""
    if kind == "parquet":
        pytest.skip("each of its files has a schema of its own")
    with closing(place.target()) as target:
        target.cursor("no such source")  # creates the tables
    other = {"co2": "text", "status": "bigint"}[name]
    place.execute(f"ALTER TABLE sensor_readings ADD COLUMN {name} {other}")

    errors = [str(one.error) for one in sweep_once(place.target(), data).failing()]
    assert errors
    declared = other if kind == "postgres" else other.upper()
    assert all(f"sensor_readings.{name} has the type {declared}" in error for error in errors)
    assert not any("\n" in error for error in errors)
    assert [(0,)] == select(data / "AIR_000002.db", "SELECT count(*) FROM sensor_readings WHERE synced = 1")


def test_a_target_without_the_column_lacks_its_values(tmp_path: Path, data: Path) -> None:
    place = Destination(tmp_path)
    sweep_into(place.target(), data)
    damage(place.path, "ALTER TABLE sensor_readings DROP COLUMN co2")

    verdict = place.compare(data)
    readings = sum(
        select(path, "SELECT count(*) FROM sensor_readings WHERE co2 IS NOT NULL")[0][0]
        for path in (data / "pack_0001.db", data / "AIR_000002.db")
    )
    assert {"delivered altered": readings} == verdict.counts
    assert verdict.findings[0].detail.startswith("co2 is None, must be ")


def test_a_table_of_the_user_is_compared_too(tmp_path: Path, data: Path) -> None:
    """In the columns that it has."""
    place = Destination(tmp_path)
    users = tmp_path / "users.db"
    columns = 'timestamp, sensor_id, temperature, co2, "order"'
    source = data / "AIR_000002.db"
    (data / "theirs.db").unlink()
    (data / "pack_0001.db").unlink()
    damage(users, f"ATTACH '{source}' AS s", f"CREATE TABLE sensor_readings AS SELECT {columns} FROM s.sensor_readings")
    place.url = f"sqlite:///{users}"
    assert () == place.compare(data).findings
    damage(users, 'UPDATE sensor_readings SET "order" = 8.88 WHERE rowid = 17')

    (finding,) = place.compare(data).findings
    assert finding.detail.startswith("order is 8.88, must be ")


def test_names_that_no_target_can_have_stay_in_extra(tmp_path: Path) -> None:
    """A column of a target is called so."""
    data = tmp_path / "data"
    data.mkdir()
    writer = Writer(data / "AIR_000002.db", (replace(AIR_2, sensor_id="A"), AIR))
    writer.change(0, AIR, replace(AIR_2, sensor_id="A", attributes=(("batch", "b"),)))
    writer.deliver(20)
    writer.sink.close()
    place = Destination(tmp_path)
    sweep_into(place.target(), data)

    assert {'{"batch": "b"}'} == {row[1] for row in place.rows(("extra",), "A")}
    assert () == place.compare(data).findings

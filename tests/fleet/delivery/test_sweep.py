"""A sweep: every reading of every database arrives, once, and is marked only then."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fleet.datadir.backups import back_up
from fleet.delivery.batch import Batch
from fleet.delivery.state import DEAD_LETTER_FILE, STATE_FOLDER
from fleet.delivery.target import BatchRejected, Receipt
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from tests.fleet.delivery import foreign_databases
from tests.fleet.delivery.recording_target import RecordingTarget, rejecting
from tests.fleet.delivery.swept import sweep, sweep_into, sweep_once
from tests.fleet.verify.damage import SETTINGS, damage, later_run, make_identities, select, write_database
from worker.storage.connection import connect

COLUMNS = "timestamp, sensor_id, temperature, voltage, anomaly_type, firmware_version, latitude, sensor_type, seq"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Databases of three sensors, one in a folder below; 300 scheduled readings each."""
    folder = tmp_path / "data"
    (folder / "below").mkdir(parents=True)
    for identity, place in zip(make_identities(3), (folder, folder, folder / "below"), strict=True):
        write_database(place / f"{identity.sensor_id}.db", 299, sensors=[identity])
    return folder


def readings(data: Path) -> list[tuple[object, ...]]:
    rows = [
        row for path in sorted(data.rglob("*.db")) for row in select(path, f"SELECT {COLUMNS} FROM sensor_readings")
    ]
    return sorted(rows, key=repr)


def central_readings(central: Path) -> list[tuple[object, ...]]:
    return sorted(select(central, f"SELECT {COLUMNS} FROM sensor_readings"), key=repr)


def unmarked(data: Path) -> int:
    return sum(
        select(path, "SELECT count(*) FROM sensor_readings WHERE synced = 0")[0][0]
        for path in sorted(data.rglob("*.db"))
    )


@pytest.mark.claim("000.collector-script.1")
def test_everything_arrives_and_is_marked(data: Path, tmp_path: Path) -> None:
    """All columns as they were; whatever the size of the batches."""
    stats = sweep(data, tmp_path / "central.db", batch_size=70)

    assert readings(data) == central_readings(tmp_path / "central.db")
    assert 0 == unmarked(data)
    assert len(readings(data)) == stats.totals().delivered == stats.totals().found


def test_a_second_sweep_brings_what_is_new(data: Path, tmp_path: Path) -> None:
    sweep(data, tmp_path / "central.db")
    for identity in make_identities(2):
        write_database(data / f"{identity.sensor_id}.db", 100, run_spec=later_run(2, 299), sensors=[identity])

    stats = sweep(data, tmp_path / "central.db")

    assert readings(data) == central_readings(tmp_path / "central.db")
    assert (0, 0) == (unmarked(data), stats.totals().duplicates)
    assert {f"{identity.sensor_id}.db" for identity in make_identities(2)} == {
        database.name for database in stats.databases.values() if database.delivered
    }


def test_readings_that_come_again_are_there_once(data: Path, tmp_path: Path) -> None:
    """The collector died between delivering and marking; or the marks were removed."""
    sweep(data, tmp_path / "central.db")
    for path in data.rglob("*.db"):
        damage(path, "UPDATE sensor_readings SET synced = 0 WHERE id % 3 = 0")
    again = unmarked(data)

    stats = sweep(data, tmp_path / "central.db", batch_size=50)

    assert readings(data) == central_readings(tmp_path / "central.db")
    assert (0, again, again) == (unmarked(data), stats.totals().delivered, stats.totals().duplicates)


def test_a_reading_that_comes_again_with_other_content_is_an_alarm(data: Path, tmp_path: Path) -> None:
    """It is refused, on record in the central database, and a dead letter."""
    path = data / "S_000000.db"
    sweep(data, tmp_path / "central.db")
    damage(path, "UPDATE sensor_readings SET synced = 0, temperature = 99.5 WHERE id = 7")

    stats = sweep(data, tmp_path / "central.db")

    assert (1, 0) == (stats.totals().dead, stats.totals().delivered)
    assert [("temperature",)] == select(tmp_path / "central.db", "SELECT columns FROM conflicts")
    assert [(0,)] == select(tmp_path / "central.db", "SELECT count(*) FROM sensor_readings WHERE temperature = 99.5")
    (letter,) = (data / STATE_FOLDER / DEAD_LETTER_FILE).read_text().splitlines()
    assert 99.5 == json.loads(letter)["reading"]["temperature"]


def test_what_is_none_of_a_sweeps_is_left_alone(data: Path, tmp_path: Path) -> None:
    """Backups, quarantined databases, databases of other programs and central ones are skipped with a reason."""
    path = data / "S_000000.db"
    expected = readings(data)
    back_up(path, data / "backups", 3)
    os.link(path, data / "S_000009.db.quarantined-1")
    with closing(apsw.Connection(str(data / "other.db"))) as other:
        other.execute("CREATE TABLE something (a)")
    connect(data / "empty.db").close()
    stats = sweep(data, data / "central.db")

    central = (data / "central.db").rename(tmp_path / "central.db")
    assert expected == central_readings(central)
    assert {"is a backup", "has no table sensor_readings", "is a central database"} == {
        database.skipped for database in stats.databases.values() if database.skipped
    }


def test_databases_that_were_moved_aside_and_rotated_ones_are_swept(data: Path, tmp_path: Path) -> None:
    expected = readings(data)
    (data / "S_000000.db").rename(data / "S_000000.before-2.db")
    (data / "S_000001.db").rename(data / "S_000001.rotated-0001.db")
    damage(data / "S_000001.rotated-0001.db", "UPDATE database_info SET role = 'rotated'")

    sweep(data, tmp_path / "central.db")

    assert expected == central_readings(tmp_path / "central.db")


def test_many_sensors_in_one_database(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_database(tmp_path / "data" / "sensor_data.db", 200, sensors=make_identities(7))

    sweep(tmp_path / "data", tmp_path / "central.db", batch_size=64)

    assert readings(tmp_path / "data") == central_readings(tmp_path / "central.db")


@pytest.mark.parametrize("schema", foreign_databases.SCHEMAS)
def test_databases_of_older_simulators(schema: str, tmp_path: Path) -> None:
    """Also as they grow, and under another name; their own columns are kept."""
    data, central = tmp_path / "data", tmp_path / "central.db"
    data.mkdir()
    foreign_databases.write(data / "old.db", foreign_databases.SCHEMAS[schema], 250)
    sweep(data, central, batch_size=100)
    foreign_databases.write(data / "old.db", foreign_databases.SCHEMAS[schema], 30)
    (data / "old.db").rename(data / "older.db")
    damage(data / "older.db", "UPDATE sensor_readings SET synced = 0 WHERE id BETWEEN 240 AND 260")

    stats = sweep(data, central, batch_size=100)

    query = "SELECT timestamp, sensor_id, temperature FROM sensor_readings ORDER BY id"
    assert select(data / "older.db", query) == select(central, query)
    assert 11 == stats.totals().duplicates
    assert [(0,)] == select(data / "older.db", "SELECT count(*) FROM sensor_readings WHERE synced IS NOT 1")
    assert [(280,)] == select(central, "SELECT count(DISTINCT seq) FROM sensor_readings")


def test_a_column_that_the_central_table_does_not_have_is_kept(tmp_path: Path) -> None:
    foreign_databases.write(tmp_path / "old.db", foreign_databases.SCHEMAS["with a column of its own"], 3)
    damage(tmp_path / "old.db", "UPDATE sensor_readings SET battery = id * 1.5 WHERE id > 1")

    sweep(tmp_path, tmp_path / "central.db")

    found = select(tmp_path / "central.db", "SELECT extra FROM sensor_readings ORDER BY id")
    assert [None, {"battery": 3.0}, {"battery": 4.5}] == [json.loads(text) if text else None for (text,) in found]


def test_only_what_is_acknowledged_is_marked(data: Path) -> None:
    """The rest comes again, and the sweep says so."""

    def all_but_the_fifth(batch: Batch) -> Receipt:
        return Receipt(frozenset(batch.ids) - {5})

    stats = sweep_once(RecordingTarget(all_but_the_fifth), data)

    assert 3 == len(stats.failing())
    assert all("did not acknowledge 1 of" in str(database.error) for database in stats.failing())
    for path in data.rglob("*.db"):
        assert [(5,)] == select(path, "SELECT id FROM sensor_readings WHERE synced = 0")
    later_on = RecordingTarget()
    sweep_into(later_on, data)
    assert [5, 5, 5] == later_on.ids


@pytest.mark.parametrize("marking", [True, False], ids=["marking", "cursor"])
def test_a_poisonous_reading_is_found_and_put_aside(marking: bool, data: Path) -> None:
    """All others arrive; it is in the dead-letter file with the reason, and is retried only on request."""
    target = RecordingTarget(rejecting(17, 40))

    stats = sweep_into(target, data, marking=marking)

    assert len(readings(data)) - 6 == len(target.ids) == len(set(target.readings))
    assert not {17, 40} & set(target.ids)
    assert 6 == stats.totals().dead
    assert (6 if marking else len(readings(data))) == unmarked(data)
    letters = [json.loads(line) for line in (data / STATE_FOLDER / DEAD_LETTER_FILE).read_text().splitlines()]
    assert {("422: 17 is poison", 17), ("422: 40 is poison", 40)} == {
        (it["reason"], it["reading"]["id"]) for it in letters
    }
    again = RecordingTarget()
    assert 0 == sweep_into(again, data, marking=marking).totals().found
    sweep_once(again, data, marking=marking, retry_dead=True)
    assert [17, 17, 17, 40, 40, 40] == sorted(again.ids)
    sweep_once(again, data, marking=marking, retry_dead=True)
    assert 6 == len(again.ids)


def test_a_target_that_refuses_everything_is_broken_and_costs_nothing(data: Path) -> None:
    target = RecordingTarget(rejecting(*range(1000)))

    stats = sweep_once(target, data)

    assert not (data / STATE_FOLDER / DEAD_LETTER_FILE).exists()
    assert len(readings(data)) == unmarked(data)
    assert all("refuses every reading" in str(database.error) for database in stats.failing())


def test_with_a_cursor_synced_stays_as_it_was(data: Path, tmp_path: Path) -> None:
    """Every reading arrives whatever others have marked, and once."""
    for path in data.rglob("*.db"):
        damage(path, "UPDATE sensor_readings SET synced = id % 2")
    marked = [select(path, "SELECT id, synced FROM sensor_readings") for path in sorted(data.rglob("*.db"))]

    for target in (RecordingTarget(), RecordingTarget()):
        sweep_into(target, data, batch_size=100, marking=False)
        write_database(data / "S_000000.db", 50, run_spec=later_run(2, 299), sensors=make_identities(1))

    assert marked == [
        select(path, "SELECT id, synced FROM sensor_readings")[: len(rows)]
        for path, rows in zip(sorted(data.rglob("*.db")), marked, strict=True)
    ]
    assert [*range(1, len(target.ids) + 1)] == [number - target.ids[0] + 1 for number in target.ids]
    assert target.batches[0].source.name == "S_000000.db"


def test_with_a_cursor_the_target_knows_where_it_was(data: Path, tmp_path: Path) -> None:
    """The target stores the cursor with the readings: losing the collector's state costs nothing."""
    first = sweep(data, tmp_path / "central.db", marking=False).totals()
    (data / STATE_FOLDER / "collector.sqlite").unlink()

    second = sweep(data, tmp_path / "central.db", marking=False).totals()

    assert (len(readings(data)), 0) == (first.delivered, second.found)
    assert readings(data) == central_readings(tmp_path / "central.db")


def test_a_cursor_passes_over_nothing_that_others_have_marked(data: Path, tmp_path: Path) -> None:
    """Another collector has marked a part, a sweep that marks has delivered the rest; a sweep by cursor delivers all."""
    for path in data.rglob("*.db"):
        damage(path, "UPDATE sensor_readings SET synced = 1 WHERE id <= 200")

    marking = sweep(data, tmp_path / "central.db", batch_size=50)
    again = sweep(data, tmp_path / "central.db")
    by_cursor = sweep(data, tmp_path / "central.db", batch_size=50, marking=False)

    assert readings(data) == central_readings(tmp_path / "central.db")
    assert {path.relative_to(data).as_posix() for path in data.rglob("*.db")} == marking.notes().keys()
    assert {True} == {
        note.startswith("200 of its readings were marked as delivered") for note in marking.notes().values()
    }
    assert ({}, {}) == (again.notes(), by_cursor.notes())
    assert 0 == sweep(data, tmp_path / "central.db", marking=False).totals().found


def test_each_target_has_a_cursor_of_its_own(data: Path, tmp_path: Path) -> None:
    """Swept in turn as the databases grow, also by one that marks: everything arrives everywhere."""
    marked, one, other = (tmp_path / f"{name}.db" for name in ("marked", "one", "other"))
    sweep(data, marked)
    sweep(data, one, batch_size=100, marking=False)
    write_database(data / "S_000000.db", 50, run_spec=later_run(2, 299), sensors=make_identities(1))
    sweep(data, other, marking=False)
    notes = sweep(data, marked).notes()
    sweep(data, one, marking=False)

    assert [readings(data)] * 3 == [central_readings(central) for central in (marked, one, other)]
    assert {} == notes
    assert {"S_000000.db", "S_000001.db", "below/S_000002.db"} == sweep(data, tmp_path / "late.db").notes().keys()


def test_a_cursor_stays_before_a_part_that_was_not_delivered(data: Path) -> None:
    """A batch that is split settles nothing until all of it has arrived; dead letters are settled with their batch."""
    target = RecordingTarget(rejecting(17))

    sweep_into(target, data, batch_size=100, marking=False)

    assert {None, *(batch.ids[-1] for batch in target.batches if len(batch.ids) > 50)} == {
        batch.settles for batch in target.batches
    }


def test_a_database_without_the_column_synced_wants_a_cursor(tmp_path: Path) -> None:
    schema = "CREATE TABLE sensor_readings (id INTEGER PRIMARY KEY, timestamp TEXT, sensor_id TEXT, temperature REAL)"
    foreign_databases.write(tmp_path / "new.db", schema, 5)

    (database,) = sweep_once(RecordingTarget(), tmp_path).failing()
    target = RecordingTarget()
    sweep_into(target, tmp_path, marking=False)

    assert "its readings have no column synced: collect it with --cursor" == database.error
    assert [1, 2, 3, 4, 5] == target.ids


def test_episodes_and_epochs_go_along(tmp_path: Path) -> None:
    """Those too that have no rows, and the latest again when it was cut; nothing else again."""
    data, central = tmp_path / "data", tmp_path / "central.db"
    data.mkdir()
    path = data / "S_000000.db"
    tables = {
        "anomaly_episodes": "sensor_id, type, channel, first_seq, last_seq, start_time, end_time, parameters",
        "epochs": "sensor_id, first_seq, start_time, start_us, reason, run, seed, identity, settings",
    }
    sent = []
    for number, message in enumerate((SETTINGS, SETTINGS, SETTINGS), 1):
        run_spec = later_run(number, 150 * (number - 1))
        write_database(path, 149, message, run_spec, sensors=make_identities(1), final=True)
        sent.append(sweep(data, central).totals().episodes)

        for table, columns in tables.items():
            query = f"SELECT {columns} FROM {table} ORDER BY first_seq"
            assert select(path, query) == select(central, query)

    (total,) = select(path, "SELECT count(*) FROM anomaly_episodes")[0]
    assert total <= sum(sent) <= total + 2
    assert 0 == sweep(data, central).totals().episodes


def test_a_target_that_knows_only_readings(data: Path) -> None:
    """Gets all of them; the episodes and epochs are for one that takes them."""

    def only_readings(batch: Batch) -> Receipt:
        if batch.episodes.rows or batch.epochs.rows:
            raise BatchRejected("422: episodes: extra inputs are not permitted")
        return Receipt(frozenset(batch.ids))

    first, second = RecordingTarget(only_readings), RecordingTarget()
    sweep_into(first, data)
    sweep_into(second, data)

    assert (len(readings(data)), 0) == (len(first.ids), unmarked(data))
    expected = sum(len(select(path, "SELECT 1 FROM anomaly_episodes")) for path in data.rglob("*.db"))
    assert expected == sum(len(batch.episodes.rows) for batch in second.batches)
    assert [] == second.ids


def test_a_central_database_counts_its_readings(data: Path, tmp_path: Path) -> None:
    """Not the ids that duplicates have used up."""
    for step in (1, 2, 3):
        sweep(data, tmp_path / "central.db", batch_size=50)
        for path in data.rglob("*.db"):
            damage(path, f"UPDATE sensor_readings SET synced = 0 WHERE id % 3 < {step}")
    write_database(data / "S_000003.db", 299, sensors=make_identities(4)[3:])
    sweep(data, tmp_path / "central.db")

    with closing(CentralDatabase(tmp_path / "central.db")) as central:
        assert len(readings(data)) == central.counts().readings

"""The scope of a comparison: pending readings, several databases, other sources, other times."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from fleet.delivery.compare.compared_columns import COMPARABLE_COLUMNS
from fleet.delivery.compare.comparison import Comparison
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.targets.sqlite.readings import CentralSqliteReadings
from tests.fleet.delivery.delivered import NAME, compare_central, deliver_sample
from tests.fleet.delivery.swept import sweep
from tests.fleet.verify.damage import (
    SETTINGS,
    damage,
    later_run,
    make_identities,
    select,
    write_database,
    write_sample_manifest,
)
from tests.worker.samples import NEW_YEAR, SECOND_US

START = datetime.fromtimestamp(NEW_YEAR / SECOND_US, UTC)


@pytest.fixture
def central(tmp_path: Path) -> Path:
    return deliver_sample(tmp_path)


@pytest.fixture
def data(central: Path) -> Path:
    return central.with_name("data")


def test_what_nobody_claims_to_have_delivered_is_pending(central: Path, data: Path) -> None:
    """It is no finding, unless all must be there."""
    write_database(data / NAME, 1600, run_spec=later_run(2, 1500))
    verdict = compare_central(central)
    assert (True, verdict.generated - verdict.arrived) == (verdict.ok, verdict.pending)
    assert verdict.pending > 50
    ((episodes,),) = select(data / NAME, "SELECT count(*) FROM anomaly_episodes")
    assert verdict.episodes < episodes

    complete = compare_central(central, complete=True)
    assert (verdict.pending, 0) == (complete.counts["not delivered"], complete.pending)
    sweep(data, central)
    assert (True, 0) == (compare_central(central, complete=True).ok, compare_central(central).pending)


def test_a_collector_that_keeps_its_own_place(tmp_path: Path) -> None:
    """`synced` says nothing then: what is missing is what stands before the last that arrived."""
    (tmp_path / "data").mkdir()
    write_database(tmp_path / "data" / NAME, 500)
    central = tmp_path / "central.db"
    sweep(tmp_path / "data", central, marking=False)
    write_database(tmp_path / "data" / NAME, 600, run_spec=later_run(2, 501))
    verdict = compare_central(central)
    assert (True, True) == (verdict.ok, verdict.pending > 50)

    damage(central, "DELETE FROM sensor_readings WHERE id = 100")
    assert {"not delivered": 1} == compare_central(central).counts


def test_what_is_delivered_while_it_is_compared(central: Path, data: Path) -> None:
    """Neither readings that came after the look at the databases, nor databases that did, are findings; whether they are
    delivered before the look at the target or after it."""

    def go_on(number: int) -> None:
        write_database(data / NAME, 1500 + 100 * number, run_spec=later_run(number + 1, 1400 + 100 * number))
        write_database(data / f"S_00000{number}.db", 100, sensors=make_identities(3)[number:][:1])
        sweep(data, central)

    with closing(GeneratedReadings(data, None)) as generated:
        go_on(1)
        with closing(CentralSqliteReadings(central, None)) as delivered:
            go_on(2)
            verdict = Comparison(generated, delivered).run()
    assert (True, verdict.generated, 0, 0) == (verdict.ok, verdict.arrived, verdict.pending, verdict.strangers)
    assert compare_central(central, complete=True).ok


def test_what_agrees_is_not_fetched(central: Path, data: Path) -> None:
    """SQLite compares by itself, which is faster; where something differs, all of that source's rows at hand are."""
    with (
        closing(GeneratedReadings(data, None)) as generated,
        closing(CentralSqliteReadings(central, None)) as delivered,
    ):
        assert [True] == [chunk.known_equal for chunk in delivered.read_chunks(generated)]
        damage(central, "UPDATE sensor_readings SET model = 'x' WHERE id = 7")
        (chunk,) = delivered.read_chunks(generated)
    assert (False, 4 + len(COMPARABLE_COLUMNS)) == (chunk.known_equal, len(chunk.rows[0]) - 3)


def test_rotated_and_moved_aside_databases(central: Path, data: Path) -> None:
    """Are collected, and so they are compared; a backup is neither."""
    (data / NAME).rename(data / "CHI_123456.before-2.db")
    write_database(data / NAME, 99)
    sweep(data, central)
    assert compare_central(central, complete=True).ok

    damage(central, "DELETE FROM sensor_readings WHERE id = 5")
    (finding,) = compare_central(central).findings
    assert ("CHI_123456.before-2.db", 5) == (finding.database, (finding.first_seq or 0) + 1)


def test_the_epoch_of_a_rotated_database_is_pending_with_its_readings(central: Path, data: Path) -> None:
    """The database that follows begins with the epoch that is in force, which began before its first reading."""
    (data / NAME).rename(data / "CHI_123456.rotated-0001.db")
    write_database(data / NAME, 2000)
    damage(data / NAME, "DELETE FROM sensor_readings WHERE seq < 1500", "DELETE FROM anomaly_episodes")
    assert [(0,)] == select(data / NAME, "SELECT first_seq FROM epochs")

    verdict = compare_central(central)
    assert {} == verdict.counts
    assert verdict.pending > 400
    assert {"epoch not delivered"} <= compare_central(central, complete=True).counts.keys()


def test_databases_that_rotate_while_they_are_compared(tmp_path: Path) -> None:
    """Each is found under its new name; what appears meanwhile need not be delivered."""
    (tmp_path / "data").mkdir()
    for number, identity in enumerate(make_identities(3)):
        write_database(tmp_path / "data" / f"{identity.sensor_id}.db", 99, sensors=[identity])
        if number == 0:  # of the others nothing has arrived, so they are opened last
            sweep(tmp_path / "data", tmp_path / "central.db")
    with (
        closing(GeneratedReadings(tmp_path / "data", None)) as generated,
        closing(CentralSqliteReadings(tmp_path / "central.db", None)) as delivered,
    ):
        for identity in make_identities(3)[1:]:
            live = tmp_path / "data" / f"{identity.sensor_id}.db"
            live.rename(live.with_suffix(".rotated-0001.db"))
            write_database(live, 99, run_spec=later_run(2, 99), sensors=[identity])
        verdict = Comparison(generated, delivered).run()

    assert {} == verdict.counts
    assert verdict.generated == 3 * verdict.arrived == verdict.arrived + verdict.pending > 0


@pytest.mark.parametrize("gone", [False, True])
def test_a_database_that_cannot_be_read_for_a_moment(
    central: Path, data: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """As in the middle of a rotation: it is tried again, and is no finding if it is gone by then."""
    content = (data / NAME).read_bytes()
    odd = data / "odd.db"
    odd.write_bytes(b"no database, but long enough to be looked at" * 99)

    def repair(_seconds: float) -> None:
        odd.unlink()
        if not gone:
            odd.write_bytes(content)

    monkeypatch.setattr(time, "sleep", repair)

    assert {} == compare_central(central).counts
    assert gone != odd.exists()


def test_one_sensor(tmp_path: Path) -> None:
    """Others are neither counted nor judged."""
    (tmp_path / "data").mkdir()
    write_database(tmp_path / "data" / "sensor_data.db", 300, sensors=make_identities(3))
    central = tmp_path / "central.db"
    sweep(tmp_path / "data", central)
    damage(central, "DELETE FROM sensor_readings WHERE sensor_id = 'S_000001' AND seq = 7")
    damage(central, "DELETE FROM anomaly_episodes WHERE sensor_id = 'S_000001'")

    assert compare_central(central, sensor="S_000002").ok
    verdict = compare_central(central, sensor="S_000001")
    assert 1 == verdict.counts["not delivered"]
    ((readings,),) = select(
        tmp_path / "data" / "sensor_data.db", "SELECT count(*) FROM sensor_readings WHERE sensor_id = 'S_000001'"
    )
    assert (readings, readings - 1) == (verdict.generated, verdict.arrived)


def test_what_others_delivered(central: Path, tmp_path: Path) -> None:
    """Sensors of another directory are counted, not judged; other sources must have no readings of a sensor of this one."""
    (tmp_path / "other").mkdir()
    write_database(tmp_path / "other" / "x.db", 50, sensors=make_identities(1))
    sweep(tmp_path / "other", central)
    verdict = compare_central(central)
    assert (True, True) == (verdict.ok, verdict.strangers > 40)

    (tmp_path / "third").mkdir()
    write_database(tmp_path / "third" / "x.db", 50)
    sweep(tmp_path / "third", central)
    assert ["delivered, never generated"] == list(compare_central(central).counts)


def test_more_sources_than_are_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then each is read for itself; what is found is the same."""
    monkeypatch.setattr("fleet.delivery.targets.sqlite.readings.MAX_INTERLEAVED_SOURCES", 2)
    monkeypatch.setattr("fleet.delivery.compare.generated.MAX_OPEN_DATABASES", 2)
    (tmp_path / "data").mkdir()
    for sensor in make_identities(5):
        write_database(tmp_path / "data" / f"{sensor.sensor_id}.db", 300, sensors=[sensor])
    central = tmp_path / "central.db"
    sweep(tmp_path / "data", central, batch_size=50)
    assert compare_central(central).ok

    damage(
        central,
        "DELETE FROM sensor_readings WHERE sensor_id = 'S_000001' AND seq = 7",
        "UPDATE sensor_readings SET voltage = 1 WHERE sensor_id = 'S_000002' AND seq = 8",
        "UPDATE sensor_readings SET id = 100000 WHERE sensor_id = 'S_000003' AND seq = 9",
        "UPDATE sensor_readings SET source = 77 WHERE sensor_id = 'S_000004' AND seq = 10",
        "UPDATE sensor_readings SET location = CAST(X'C3' AS TEXT) WHERE sensor_id = 'S_000004' AND seq = 11",
    )
    assert {
        ("not delivered", "S_000001", 7),
        ("delivered altered", "S_000002", 8),
        ("delivered out of order", "S_000003", 9),
        ("not delivered", "S_000004", 10),
        ("delivered, never generated", "S_000004", 10),
        ("delivered altered", "S_000004", 11),
    } == {(finding.kind, finding.sensor_id, finding.first_seq) for finding in compare_central(central).findings}


def test_a_database_that_cannot_be_read(central: Path, data: Path) -> None:
    """Is a finding, and the others are compared."""
    write_database(data / "S_000000.db", 300, sensors=make_identities(1))
    sweep(data, central)
    whole = (data / NAME).read_bytes()
    (data / NAME).write_bytes(whole[:16384] + b"\xa5" * (len(whole) - 16384))
    damage(central, "DELETE FROM sensor_readings WHERE sensor_id = 'S_000000' AND seq = 7")

    kinds = {(finding.kind, finding.database) for finding in compare_central(central).findings}
    assert {("unreadable", NAME), ("not delivered", "S_000000.db")} <= kinds


def test_how_long_they_took(tmp_path: Path) -> None:
    """From the time of each reading to its arrival; of a fleet in another time, as if it lived now."""
    data, central = tmp_path / "data", tmp_path / "central.db"
    data.mkdir()
    for number in range(10):
        write_database(data / NAME, 100 * number + 99, SETTINGS)
        arrived = START + timedelta(seconds=100 * number + 100)
        sweep(data, central, received_at=lambda arrived=arrived: arrived)  # type: ignore[misc]

    latency = compare_central(central).latency
    assert latency is not None
    assert 50 == pytest.approx(latency.p50, rel=0.1)
    assert 95 == pytest.approx(latency.p95, rel=0.03)
    assert (True, 100.0) == (latency.p95 < latency.p99 <= latency.max, latency.max)

    write_sample_manifest(data)
    message = (data / "fleet.json").read_text()
    (data / "fleet.json").write_text(
        message.replace(f'"start_us": {NEW_YEAR}', f'"start_us": {NEW_YEAR + 3600 * SECOND_US}')
    )
    shifted = compare_central(central).latency
    assert shifted is not None
    assert 3650 == pytest.approx(shifted.p50, rel=0.02)
    (data / "fleet.json").write_text(
        message.replace(f'"wall_us": {NEW_YEAR}', f'"wall_us": {NEW_YEAR + 3600 * SECOND_US}')
    )
    assert compare_central(central).latency is None


def test_foreign_databases(tmp_path: Path) -> None:
    """Those of other simulators, with columns of their own, are compared too."""
    (tmp_path / "data").mkdir()
    path, central = tmp_path / "data" / "old.db", tmp_path / "central.db"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE sensor_readings (id INTEGER PRIMARY KEY, timestamp TEXT, sensor_id TEXT, temperature REAL, "
        "battery REAL, synced INTEGER DEFAULT 0)"
    )
    rows = [(f"2025-01-01T00:00:{second:02}Z", "OLD_1", 20.5, second / 10) for second in range(60)]
    connection.executemany(
        "INSERT INTO sensor_readings (timestamp, sensor_id, temperature, battery) VALUES (?,?,?,?)", rows
    )
    connection.close()
    sweep(tmp_path / "data", central)
    assert (True, 60) == (compare_central(central).ok, compare_central(central).arrived)

    damage(
        central,
        "DELETE FROM sensor_readings WHERE seq = 7",
        "UPDATE sensor_readings SET extra = '{\"battery\": 9}' WHERE seq = 8",
        "UPDATE sensor_readings SET temperature = 9 WHERE seq = 9",
    )
    assert {("not delivered", 7), ("delivered altered", 8), ("delivered altered", 9)} == {
        (finding.kind, finding.first_seq) for finding in compare_central(central).findings
    }

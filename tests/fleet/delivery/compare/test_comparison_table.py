"""A table of the user, compared by sensor and timestamp."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.errors import UserError
from tests.fleet.delivery import delivered
from tests.fleet.delivery.delivered import NAME
from tests.fleet.verify.damage import damage, later_run, make_identities, select, seq_of, write_database
from tests.worker.samples import NEW_YEAR, run, settings

CREATE = "CREATE TABLE measured (sensor_id TEXT, timestamp TEXT, voltage REAL, temperature REAL, model TEXT, note TEXT)"
COPY = "INSERT INTO measured SELECT sensor_id, timestamp, voltage, temperature, model, 'x' FROM source.sensor_readings"


def copied(data: Path, central: Path, create: str = CREATE, copy: str = COPY) -> Path:
    """All readings of all databases under `data`, some of their columns, and one more."""
    with closing(apsw.Connection(str(central))) as connection:
        connection.execute(create)
        for path in sorted(data.glob("*.db")):
            connection.execute("ATTACH ? AS source", (str(path),))
            connection.execute(copy)
            connection.execute("DETACH source")
    return central


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_database(folder / NAME, 999)
    return folder


@pytest.fixture
def own(data: Path) -> Path:
    return copied(data, data.with_name("own.db"))


def found(own: Path, table: str = "measured", **given: bool) -> DeliveryVerdict:
    return delivered.compare_central(own, table=table, **given)


def test_nothing_is_wrong(own: Path, data: Path) -> None:
    """Columns that the table lacks are not compared; it has no episodes."""
    verdict = found(own, complete=True)

    ((readings,),) = select(data / NAME, "SELECT count(*) FROM sensor_readings")
    assert (True, readings, 0, 0) == (verdict.ok, verdict.arrived, verdict.episodes, verdict.epochs)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM measured WHERE rowid = 300", "not delivered"),
        ("INSERT INTO measured SELECT * FROM measured WHERE rowid = 300", "delivered twice"),
        ("UPDATE measured SET rowid = 100000 WHERE rowid = 300", "delivered out of order"),
        ("UPDATE measured SET voltage = 1 WHERE rowid = 300", "delivered altered"),
        ("UPDATE measured SET model = NULL WHERE rowid = 300", "delivered altered"),
    ],
)
def test_damage(own: Path, data: Path, statement: str, kind: str) -> None:
    """The finding has the sensor and the seq of the reading in its database."""
    seq = seq_of(data / NAME, 300)
    damage(own, statement)

    verdict = found(own)
    assert {kind: 1} == verdict.counts
    (finding,) = verdict.findings
    assert ("CHI_123456", NAME, seq) == (finding.sensor_id, finding.database, finding.first_seq)


@pytest.mark.parametrize("change", ["sensor_id = 'GHOST'", "timestamp = '2031-01-01T00:00:00.000000+00:00'"])
def test_a_row_that_is_no_reading(own: Path, change: str) -> None:
    """The finding has its time instead of a seq; the original reading is missing."""
    damage(own, f"UPDATE measured SET {change} WHERE rowid = 300")

    verdict = found(own)
    assert {"not delivered": 1, "delivered, never generated": 1} == verdict.counts
    assert (None, True) == (verdict.findings[1].first_seq, "T00:0" in verdict.findings[1].detail)


def test_what_comes_last_is_pending(own: Path, data: Path) -> None:
    """If delivered readings are not marked."""
    write_database(data / NAME, 1100, run_spec=later_run(2, 1000))
    verdict = found(own)
    assert (True, True) == (verdict.ok, verdict.pending > 50)
    assert {"not delivered": verdict.pending} == found(own, complete=True).counts


@pytest.mark.parametrize(
    "expression",
    ["replace(timestamp, '+00:00', 'Z')", "replace(timestamp, 'T', ' ')", "replace(timestamp, '.000000', '')"],
)
def test_times_written_in_other_ways(own: Path, expression: str) -> None:
    damage(own, f"UPDATE measured SET timestamp = {expression}")

    assert found(own, complete=True).ok


MICROSECONDS = "(CAST(strftime('%s', timestamp) AS INTEGER) * 1000000 + CAST(substr(timestamp, 21, 6) AS INTEGER))"


@pytest.fixture
def fractional(tmp_path: Path) -> Path:
    """Three readings a second, at odd microseconds, in a table whose column of times takes any value."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_database(folder / NAME, 300, settings(rate="3"), run(start_us=NEW_YEAR + 123_456))
    return copied(folder, tmp_path / "own.db", CREATE.replace("timestamp TEXT", "timestamp"))


@pytest.mark.parametrize(
    "expression",
    [
        "substr(timestamp, 1, 23) || '+00:00'",
        "strftime('%Y-%m-%d %H:%M:%f', timestamp)",
        f"{MICROSECONDS} / 1e6",
        f"{MICROSECONDS} / 1000",
        f"({MICROSECONDS} + 500) / 1000",
        f"{MICROSECONDS} / 1000.0",
        MICROSECONDS,
        f"{MICROSECONDS} * 1000",
        f"printf('%.6f', {MICROSECONDS} / 1e6)",
    ],
)
def test_times_kept_less_exactly_or_as_numbers(fractional: Path, expression: str) -> None:
    """To the millisecond or the second, truncated or rounded; or as a number since 1970. What is wrong is still found."""
    damage(fractional, f"UPDATE measured SET timestamp = {expression}")
    verdict = found(fractional, complete=True)
    assert ({}, 901) == (dict(verdict.counts), verdict.arrived)

    damage(fractional, "DELETE FROM measured WHERE rowid = 302", "UPDATE measured SET voltage = 1 WHERE rowid = 600")
    assert {"not delivered": 1, "delivered altered": 1} == found(fractional, complete=True).counts


@pytest.mark.parametrize("expression", ["substr(timestamp, 1, 19) || 'Z'", f"{MICROSECONDS} / 1000000"])
@pytest.mark.parametrize("start_us", [NEW_YEAR, NEW_YEAR + 123_456])
def test_several_readings_with_the_same_second_as_one_of_them(tmp_path: Path, expression: str, start_us: int) -> None:
    """They are matched in their order; with a column `seq` by it, whatever is missing."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_database(folder / NAME, 100, settings(rate="3"), run(start_us=start_us))
    create, copy = (
        CREATE.replace("timestamp TEXT", "timestamp, seq INTEGER"),
        COPY.replace("timestamp,", "timestamp, seq,"),
    )
    numbered = copied(folder, tmp_path / "numbered.db", create, copy)
    plain = copied(folder, tmp_path / "plain.db", CREATE.replace("timestamp TEXT", "timestamp"))
    for path in (numbered, plain):
        damage(path, f"UPDATE measured SET timestamp = {expression}")
        assert {} == found(path, complete=True).counts

    damage(numbered, "DELETE FROM measured WHERE rowid = 50", "UPDATE measured SET voltage = 1 WHERE rowid = 60")
    assert {"not delivered": 1, "delivered altered": 1} == found(numbered, complete=True).counts
    damage(numbered, "UPDATE measured SET timestamp = '2031-01-01T00:00:00Z' WHERE rowid = 70")
    assert {"not delivered": 1, "delivered altered": 2} == found(numbered, complete=True).counts


@pytest.mark.parametrize("expression", ["substr(timestamp, 1, 19) || 'Z'", f"{MICROSECONDS} / 1000000"])
def test_several_readings_with_the_same_second(fractional: Path, expression: str) -> None:
    """They are matched in their order."""
    damage(fractional, f"UPDATE measured SET timestamp = {expression}")
    assert found(fractional, complete=True).ok

    damage(fractional, "DELETE FROM measured WHERE rowid > 898")
    assert {"not delivered": 3} == found(fractional, complete=True).counts


def test_when_they_were_received(data: Path) -> None:
    """If the table says so."""
    create = "CREATE TABLE measured (sensor_id, timestamp, received_at)"
    copy = "INSERT INTO measured SELECT sensor_id, timestamp, datetime(timestamp, '+7 seconds') FROM source.sensor_readings"
    latency = found(copied(data, data.with_name("timed.db"), create, copy)).latency

    assert latency is not None
    assert timedelta(seconds=7).total_seconds() == latency.max == pytest.approx(latency.p50, rel=0.02)


def test_several_databases_with_the_same_times(data: Path) -> None:
    """As after a second start at the same simulated time: each reading is there as often as it was generated."""
    (data / NAME).rename(data / "CHI_123456.before-2.db")
    write_database(data / NAME, 300)
    write_database(data / "S_000000.db", 300, sensors=make_identities(1))
    own = copied(data, data.with_name("all.db"))
    assert found(own, complete=True).ok

    damage(own, "DELETE FROM measured WHERE rowid = (SELECT max(rowid) FROM measured WHERE sensor_id = 'CHI_123456')")
    assert {"not delivered": 1} == found(own, complete=True).counts


def test_a_view(own: Path) -> None:
    """Has no order of arrival; everything else is found."""
    damage(own, "CREATE VIEW seen AS SELECT * FROM measured ORDER BY voltage", "DELETE FROM measured WHERE rowid = 300")

    assert {"not delivered": 1} == found(own, "seen").counts


def test_sensor_readings_is_the_table_if_none_is_named(own: Path) -> None:
    damage(own, "ALTER TABLE measured RENAME TO sensor_readings")

    assert delivered.compare_central(own, complete=True).ok


def test_the_table_is_not_compared_with_itself(own: Path, data: Path) -> None:
    """Where it lies among the databases."""
    damage(
        own,
        "ALTER TABLE measured RENAME TO sensor_readings",
        "ALTER TABLE sensor_readings ADD COLUMN id",
        "UPDATE sensor_readings SET id = rowid",
    )
    own.rename(data / "own.db")

    assert compare(data, ComparisonOptions(f"sqlite:///{data / 'own.db'}", complete=True)).ok


@pytest.mark.parametrize(
    ("statement", "table", "reason"),
    [
        ("SELECT 1", "nothing", "has no table nothing"),
        ("ALTER TABLE measured RENAME COLUMN timestamp TO at", "measured", "has no column timestamp"),
        ("ALTER TABLE measured RENAME COLUMN sensor_id TO name", "measured", "has no column sensor_id"),
    ],
)
def test_what_cannot_be_matched(own: Path, statement: str, table: str, reason: str) -> None:
    damage(own, statement)

    with pytest.raises(UserError, match=reason):
        found(own, table)


CREATE_OWN = "CREATE TABLE own (device TEXT, {seq} ts INTEGER, temp_f REAL, maker TEXT, note TEXT)"
COPY_OWN = f"INSERT INTO own SELECT sensor_id, {{seq}} {MICROSECONDS} / 1000, temperature * 9 / 5 + 32, manufacturer, 'x' FROM source.sensor_readings"
OWN_RECORD = (
    "device: sensor_id\nn: seq\nts: timestamp as epoch_ms\ntemp_f: temperature from C to F\nmaker: manufacturer\n"
)


@pytest.mark.parametrize("numbered", [True, False])
def test_a_table_whose_columns_are_the_fields_of_a_record(tmp_path: Path, numbered: bool) -> None:
    """Those that the table has are compared, in the units and the time of the record; a sensor may be chosen."""
    folder, record = tmp_path / "data", tmp_path / "own.yaml"
    folder.mkdir()
    record.write_text(OWN_RECORD)
    write_database(folder / NAME, 100, settings(rate="3"), run(start_us=NEW_YEAR))
    seq = ("n INTEGER,", "seq,") if numbered else ("", "")
    own = copied(folder, tmp_path / "own.db", CREATE_OWN.format(seq=seq[0]), COPY_OWN.format(seq=seq[1]))
    readings = folder / NAME
    exact = "round(temp_f, 9)"  # SQLite computes with binary fractions
    damage(own, f"UPDATE own SET temp_f = {exact}")
    options = ComparisonOptions(f"sqlite:///{own}", "own", record=str(record), complete=True)

    verdict = compare(folder, options)
    assert ({}, verdict.generated) == (verdict.counts, verdict.arrived)
    assert compare(folder, replace(options, sensor="CHI_123456")).ok
    damage(own, "UPDATE own SET temp_f = temp_f + 0.001 WHERE rowid = 70", "DELETE FROM own WHERE rowid = 90")
    verdict = compare(folder, options)
    assert {"not delivered": 1, "delivered altered": 1} == verdict.counts
    (altered,) = [finding for finding in verdict.findings if finding.kind == "delivered altered"]
    assert (seq_of(readings, 70), True) == (altered.first_seq, "temperature" in altered.detail)

"""Damage in a target is found and named, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.delivery.compare.comparison import Comparison
from fleet.delivery.compare.generated import GeneratedDatabase
from tests.fleet.delivery.delivered import NAME, compare_central, deliver_sample, insert_copy, only_finding
from tests.fleet.delivery.swept import sweep
from tests.fleet.verify.damage import damage, make_identities, select, seq_of, write_database


@pytest.fixture
def central(tmp_path: Path) -> Path:
    return deliver_sample(tmp_path)


@pytest.fixture
def data(central: Path) -> Path:
    return central.with_name("data")


def test_nothing_is_wrong(central: Path, data: Path) -> None:
    """Everything is counted."""
    verdict = compare_central(central)

    assert (True, {}, ()) == (verdict.ok, verdict.counts, verdict.findings)
    ((readings,),) = select(data / NAME, "SELECT count(*) FROM sensor_readings")
    ((episodes,),) = select(data / NAME, "SELECT count(*) FROM anomaly_episodes")
    assert (readings, readings, 0) == (verdict.generated, verdict.arrived, verdict.pending)
    assert (episodes, 1, 0) == (verdict.episodes, verdict.epochs, verdict.strangers)


@pytest.mark.parametrize("row", [1, 700, -1])
def test_a_reading_that_is_missing(central: Path, row: int) -> None:
    """Wherever it was."""
    row = row if row > 0 else select(central, "SELECT max(id) FROM sensor_readings")[0][0]
    seq = seq_of(central, row)
    damage(central, "DELETE FROM sensor_readings WHERE id = :row", row=row)

    finding = only_finding(central, "not delivered")
    assert (seq, seq, "1 reading") == (finding.first_seq, finding.last_seq, finding.detail)


def test_many_that_are_missing(central: Path) -> None:
    """Counted one by one, reported as ranges."""
    damage(central, "DELETE FROM sensor_readings WHERE id BETWEEN 300 AND 999")

    verdict = compare_central(central)
    assert {"not delivered": 700} == verdict.counts
    assert 700 == sum((finding.last_seq or 0) - (finding.first_seq or 0) + 1 for finding in verdict.findings)
    assert len(verdict.findings) < 200
    assert verdict.generated - 700 == verdict.arrived


def test_all_are_missing(central: Path) -> None:
    damage(central, "DELETE FROM sensor_readings")

    verdict = compare_central(central)
    assert {"not delivered": verdict.generated} == verdict.counts


def test_a_source_that_is_gone(central: Path) -> None:
    """Its readings have no database: both are findings."""
    readings = compare_central(central).generated
    damage(central, "DELETE FROM sources")

    verdict = compare_central(central)
    assert readings == verdict.counts["not delivered"] == verdict.counts["delivered, never generated"]


def test_a_reading_twice(central: Path) -> None:
    insert_copy(central, 700, "")

    assert seq_of(central, 700) == only_finding(central, "delivered twice").first_seq


def test_a_reading_three_times_in_a_row(central: Path) -> None:
    insert_copy(central, 1, "", id=-1)
    insert_copy(central, 1, "", id=-2)

    verdict = compare_central(central)
    assert {"delivered twice": 2} == verdict.counts
    assert [0, 0] == [finding.first_seq for finding in verdict.findings]


def test_a_reading_that_never_was(central: Path) -> None:
    """Of that database, as it says itself."""
    insert_copy(central, 700, "seq + 100000")

    assert seq_of(central, 700) + 100_000 == only_finding(central, "delivered, never generated").first_seq


def test_a_reading_of_a_missing_range(central: Path, data: Path) -> None:
    ((seq,),) = select(data / NAME, "SELECT min(first_seq) FROM anomaly_episodes WHERE type = 'missing_data'")
    insert_copy(central, 700, f"{seq}")

    assert seq == only_finding(central, "delivered, never generated").first_seq


def test_a_sensor_that_never_was(central: Path) -> None:
    insert_copy(central, 700, "seq", sensor_id="GHOST")

    verdict = compare_central(central)
    (finding,) = verdict.findings
    assert ("delivered, never generated", "GHOST") == (finding.kind, finding.sensor_id)


@pytest.mark.parametrize(
    "column",
    ["timestamp", "temperature", "voltage", "status_code", "anomaly_flag", "anomaly_type", "latitude", "source_id"],
)
def test_a_reading_that_is_altered(central: Path, column: str) -> None:
    """The finding says what it is and what it must be."""
    ((old,),) = select(central, f"SELECT {column} FROM sensor_readings WHERE id = 700")
    new = f"{old}x" if isinstance(old, str) else "a" if old is None else old + 100_000
    damage(central, f"UPDATE sensor_readings SET {column} = {new!r} WHERE id = 700")

    finding = only_finding(central, "delivered altered")
    assert (seq_of(central, 700), f"{column} is {new!r}, must be {old!r}") == (finding.first_seq, finding.detail)


@pytest.mark.parametrize("column", ["firmware_version", "location", "sensor_type", "instance_id"])
@pytest.mark.parametrize("value", [None, "", "x"])
def test_an_identity_that_is_altered(central: Path, column: str, value: str | None) -> None:
    """The column is named."""
    damage(central, f"UPDATE sensor_readings SET {column} = :value WHERE id = 700", value=value)

    detail = only_finding(central, "delivered altered").detail
    assert detail.startswith(f"{column} is {value!r}, must be ")


def test_a_value_that_is_gone(central: Path) -> None:
    damage(central, "UPDATE sensor_readings SET humidity = NULL WHERE id = 700")

    assert "humidity is None, must be " in only_finding(central, "delivered altered").detail


def test_a_value_that_was_added(central: Path) -> None:
    damage(central, "UPDATE sensor_readings SET extra = '{}' WHERE id = 700")

    assert "extra is '{}', must be None" == only_finding(central, "delivered altered").detail


def test_a_number_that_is_altered(central: Path) -> None:
    """The reading is known by its id in the source; it has arrived, as another."""
    seq = seq_of(central, 700)
    damage(central, "UPDATE sensor_readings SET seq = 100000 WHERE id = 700")

    finding = only_finding(central, "delivered altered")
    assert (seq, f"seq is 100000, must be {seq}") == (finding.first_seq, finding.detail)


def test_a_text_that_is_none(central: Path) -> None:
    """Bytes that are not UTF-8 are a finding; the other rows are compared."""
    damage(
        central,
        "UPDATE sensor_readings SET location = CAST(X'C3' AS TEXT) WHERE id = 700",
        "UPDATE sensor_readings SET humidity = 7 WHERE id = 900",
    )

    verdict = compare_central(central)
    assert {"delivered altered": 2} == verdict.counts
    assert [True, True] == ["location" in verdict.findings[0].detail, "humidity" in verdict.findings[1].detail]


@pytest.mark.parametrize(("old", "new", "late"), [(5, 100_000, 5), (700, 100_000, 700), (700, 0, 1)])
def test_a_reading_out_of_order(central: Path, old: int, new: int, late: int) -> None:
    """The finding is about the reading that arrived after a later one."""
    seq = seq_of(central, late)
    damage(central, f"UPDATE sensor_readings SET id = {new} WHERE id = {old}")

    assert seq == only_finding(central, "delivered out of order").first_seq


def test_two_batches_swapped(central: Path) -> None:
    """Each is in order; the second of them begins behind the end of the first."""
    damage(central, "UPDATE sensor_readings SET id = id + 100000 WHERE id BETWEEN 200 AND 299")

    seq = seq_of(central, 100_200)
    assert seq == only_finding(central, "delivered out of order").first_seq


def test_order_is_each_sensors_own(tmp_path: Path) -> None:
    """In a database that many share, one may be ahead of another."""
    (tmp_path / "data").mkdir()
    write_database(tmp_path / "data" / "sensor_data.db", 200, sensors=make_identities(3), commit_every=20)
    central = tmp_path / "central.db"
    sweep(tmp_path / "data", central)
    damage(central, "UPDATE sensor_readings SET id = id + 100000 WHERE sensor_id = 'S_000001'")
    assert compare_central(central).ok

    damage(central, "UPDATE sensor_readings SET id = id + 200000 WHERE sensor_id = 'S_000001' AND seq = 7")
    (finding,) = compare_central(central).findings
    assert ("delivered out of order", "S_000001", 7) == (finding.kind, finding.sensor_id, finding.first_seq)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM anomaly_episodes WHERE first_seq = {}", "episode not delivered"),
        ("UPDATE anomaly_episodes SET last_seq = last_seq + 1 WHERE first_seq = {}", "episode delivered altered"),
        ("UPDATE anomaly_episodes SET parameters = '' WHERE first_seq = {}", "episode delivered altered"),
    ],
)
def test_an_episode(central: Path, statement: str, kind: str) -> None:
    ((seq,),) = select(central, "SELECT min(first_seq) FROM anomaly_episodes WHERE first_seq > 300")
    damage(central, statement.format(seq))

    if "last_seq" in statement:  # that may be on its way still
        assert compare_central(central).ok
        assert {kind: 1} == compare_central(central, complete=True).counts
    else:
        assert seq == only_finding(central, kind).first_seq


def test_an_episode_that_never_was(central: Path) -> None:
    columns = "source, sensor_id, type, channel, last_seq, start_time, end_time, parameters"
    known = {seq for (seq,) in select(central, "SELECT first_seq FROM anomaly_episodes")}
    seq = min(set(range(300, 999)) - known)
    damage(
        central,
        f"INSERT INTO anomaly_episodes (first_seq, {columns}) SELECT {seq}, {columns} FROM anomaly_episodes LIMIT 1",
    )

    assert seq == only_finding(central, "episode delivered altered").first_seq


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM epochs", "epoch not delivered"),
        ("UPDATE epochs SET settings = ''", "epoch delivered altered"),
    ],
)
def test_an_epoch(central: Path, statement: str, kind: str) -> None:
    damage(central, statement)

    assert 0 == only_finding(central, kind).first_seq


def test_a_database_that_appears_while_others_are_compared(
    central: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a rotation; it is found when the databases are looked for again."""
    original = Comparison._count_missing

    def with_another(self: Comparison, database: GeneratedDatabase) -> None:
        if not (data / "another.db").exists():
            write_database(data / "another.db", 20, sensors=make_identities(1))
            self._generated.refresh()
        original(self, database)

    monkeypatch.setattr(Comparison, "_count_missing", with_another)

    assert compare_central(central).ok

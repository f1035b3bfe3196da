"""Readings that another program delivered: it posts the rows of our databases, and knows no generation."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleet.commands.verify import print_findings
from fleet.delivery.batch import Batch
from fleet.delivery.receiver.uploads import parse_upload
from fleet.delivery.target import Receipt
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.verify.findings import Finding, FindingLog
from tests.fleet.delivery.delivered import compare_central
from tests.fleet.delivery.swept import now, sweep
from tests.fleet.verify.damage import damage, later_run, make_identities, select, write_database

READINGS_ONLY = "episodes and epochs of 2 databases not compared: their sender sends readings only"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for identity in make_identities(2):
        write_database(data / f"{identity.sensor_id}.db", 99, sensors=[identity])
    return data


def post(central: Path, path: Path, *left_out: str) -> list[Receipt]:
    """Post all rows of a database as the ancestor's collector does, and mark them."""
    names = [name for (name,) in select(path, "SELECT name FROM pragma_table_info('sensor_readings')")]
    rows = select(path, "SELECT * FROM sensor_readings ORDER BY timestamp")
    documents: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
    readings = [{name: value for name, value in one.items() if name not in left_out} for one in documents]
    body = json.dumps({"readings": readings, "source_db": str(path)}).encode()
    with closing(CentralDatabase(central)) as database:
        receipts = [database.insert_batch(batch, now()) for batch in parse_upload(body).batches]
    damage(path, "UPDATE sensor_readings SET synced = 1")
    return receipts


def post_all(data: Path, central: Path, *left_out: str) -> int:
    receipts = [receipt for path in sorted(data.glob("*.db")) for receipt in post(central, path, *left_out)]
    return sum(len(receipt.accepted) for receipt in receipts)


def test_they_are_matched_by_their_numbers(data: Path, tmp_path: Path) -> None:
    """Everything has arrived; the verdict says how that is known."""
    sent = post_all(data, tmp_path / "central.db")
    verdict = compare_central(tmp_path / "central.db")

    assert (True, sent, sent, 0) == (verdict.ok, verdict.generated, verdict.arrived, verdict.strangers)
    came = f"{sent} readings came without the generation of their database, from 2 source names"
    assert (f"{came}: {sent} were matched by sensor and seq, 0 by sensor and timestamp", READINGS_ONLY) == verdict.notes


def test_they_are_matched_by_time_without_a_number(data: Path, tmp_path: Path) -> None:
    """A sender that leaves out ids and numbers the readings itself."""
    for path in data.glob("*.db"):
        damage(path, "UPDATE sensor_readings SET id = -id")
        damage(path, "UPDATE sensor_readings SET id = 1000 - (SELECT max(-id) FROM sensor_readings) - id")
    sent = post_all(data, tmp_path / "central.db", "seq")
    verdict = compare_central(tmp_path / "central.db")

    assert (True, sent) == (verdict.ok, verdict.arrived)
    assert f"0 were matched by sensor and seq, {sent} by sensor and timestamp" in verdict.notes[0]


def test_of_two_databases_the_one_with_the_time_counts(data: Path, tmp_path: Path) -> None:
    """A new start in the same place has the same numbers."""
    (data / "S_000000.db").rename(data / "S_000000.before-2.db")
    write_database(data / "S_000000.db", 60, run_spec=later_run(2, 500), sensors=make_identities(1))
    sent = post_all(data, tmp_path / "central.db")
    verdict = compare_central(tmp_path / "central.db")

    assert (True, sent) == (verdict.ok, verdict.arrived)


def test_damage_is_found_all_the_same(data: Path, tmp_path: Path) -> None:
    central = tmp_path / "central.db"
    post_all(data, central)
    damage(
        central,
        "DELETE FROM sensor_readings WHERE sensor_id = 'S_000000' AND seq = 40",
        "UPDATE sensor_readings SET voltage = 1 WHERE sensor_id = 'S_000000' AND seq = 41",
        "UPDATE sensor_readings SET timestamp = '2001' WHERE sensor_id = 'S_000001' AND seq = 42",
        "UPDATE sensor_readings SET timestamp = '2001', seq = 9999 WHERE sensor_id = 'S_000001' AND seq = 43",
    )
    there = {
        (sensor, seq)
        for path in data.glob("*.db")
        for sensor, seq in select(path, "SELECT sensor_id, seq FROM sensor_readings")
    }
    expected = {
        ("not delivered", "S_000000", 40),
        ("delivered altered", "S_000000", 41),
        ("delivered altered", "S_000001", 42),
        ("not delivered", "S_000001", 43),
    }
    found = {(finding.kind, finding.sensor_id, finding.first_seq) for finding in compare_central(central).findings}

    assert {one for one in expected if one[1:] in there} | {("delivered, never generated", "S_000001", 9999)} == found


def test_a_later_sweep_by_cursor_says_that_they_are_stored_twice(data: Path, tmp_path: Path) -> None:
    central = tmp_path / "central.db"
    sent = post_all(data, central)
    first, second = (sweep(data, central, marking=False) for _ in range(2))

    assert (sent, 0) == (first.totals().delivered, first.totals().duplicates)
    assert {"S_000000.db", "S_000001.db"} == first.notes().keys()
    assert all(note.startswith("its readings are stored a second time") for note in first.notes().values())
    assert {} == second.notes()
    verdict = compare_central(central)
    assert ({"delivered twice": sent}, sent) == (verdict.counts, verdict.arrived)


def test_a_place_of_its_own_is_no_second_time(data: Path, tmp_path: Path) -> None:
    """Nor are other sensors, nor what the other program sends again."""
    path = data / "S_000000.db"
    post(tmp_path / "central.db", path)
    path.rename(tmp_path / "S_000000.db")

    assert {} == sweep(data, tmp_path / "central.db", marking=False).notes()
    assert [""] == [receipt.note for receipt in post(tmp_path / "central.db", tmp_path / "S_000000.db")]


def test_more_counts_what_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Readings, as the title does, and not lines; also beyond those that are kept."""
    log = FindingLog()
    for number in range(5000):
        log.add(Finding("delivered, never generated", "A", f"{number}.db", number, number, "x"))
    log.add(Finding("not delivered", "A", "a.db", 0, 99, "100 readings"))
    for number in range(40):
        log.add(Finding("not delivered", "A", f"{number}.db", 0, 9, "10 readings"))

    print_findings(log.counts, log.findings)

    lines = capsys.readouterr().out.splitlines()
    assert ["  and 210 more", "  and 4,980 more"] == [line for line in lines if " more" in line]


def test_a_note_of_a_receiver_reaches_the_user() -> None:
    from fleet.delivery.targets.http.response import HttpResponse, receipt_for
    from tests.fleet.delivery.samples import batch

    message: Batch = batch(1, 3)
    body = json.dumps({"accepted": 2, "duplicates": 0, "rejected": [], "note": "stored\na second time"}).encode()

    assert "stored a second time" == receipt_for(HttpResponse(200, "application/json", body), message).note

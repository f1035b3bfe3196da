"""Readings whose timestamps do not ascend, because of jitter or a wrong clock, arrive everywhere and are compared there."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.delivery.compare.generated import GeneratedReadings
from fleet.verify.findings import Finding
from tests.fleet.delivery.compare.test_keyless import post_all
from tests.fleet.delivery.delivered import compare_central
from tests.fleet.delivery.further_targets import destination
from tests.fleet.delivery.swept import sweep_into
from tests.fleet.verify.damage import SETTINGS, damage, make_identities, select, write_database
from worker.spec import AnomalySpec

CLOCKS = tuple(AnomalySpec(kind, 0.1, 300, "readings") for kind in ("clock_jump", "clock_drift", "wrong_zone"))
RECORDED = replace(SETTINGS, anomalies=(*SETTINGS.anomalies, *CLOCKS), rate="1/10")
"""A reading every ten seconds, for so long that the times of a wrong zone are those of other readings too."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for identity, jitter in zip(make_identities(2), (0.0, 0.3), strict=True):
        settings = replace(RECORDED, jitter=jitter)
        write_database(folder / f"{identity.sensor_id}.db", 60_000, settings, sensors=[identity], commit_every=800.0)
    return folder


def rows(data: Path) -> list[tuple[str, int, str]]:
    query = "SELECT sensor_id, seq, timestamp FROM sensor_readings ORDER BY id"
    return [row for path in sorted(data.glob("*.db")) for row in select(path, query)]


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
def test_all_arrives_and_a_changed_time_is_found(kind: str, data: Path, tmp_path: Path) -> None:
    """Once, in batches that begin and end in episodes of a wrong clock, whichever folder of an hour they belong to."""
    there = rows(data)
    assert [timestamp for _, _, timestamp in there] != sorted(timestamp for _, _, timestamp in there)
    with destination(kind, tmp_path) as place:
        for batch_size in (700, 1000):  # the second time nothing is new
            with closing(place.target()) as target:
                sweep_into(target, data, batch_size=batch_size, marking=batch_size == 1000)
        verdict = place.compare(data)
        arrived = place.rows(["timestamp"], "S_000001")

        assert (True, len(there), ()) == (verdict.ok, verdict.arrived, verdict.findings)
        assert [(seq, timestamp) for sensor, seq, timestamp in there if sensor == "S_000001"] == arrived
        ((seq, timestamp),) = select(
            data / "S_000001.db",
            "SELECT seq, timestamp FROM sensor_readings WHERE anomaly_type = 'wrong_zone' LIMIT 1 OFFSET 40",
        )
        place.damage("S_000001", seq, "timestamp", timestamp[:25] + ("7" if timestamp[25] != "7" else "8") + "+00:00")
        (finding,) = place.compare(data).findings
        assert isinstance(finding, Finding)
        assert ("delivered altered", "S_000001", seq) == (finding.kind, finding.sensor_id, finding.first_seq)
        assert "timestamp" in finding.detail


def test_a_reading_is_found_by_its_time(data: Path) -> None:
    """That of a right clock by bisection, that of a wrong one beside it, where two have the same time both."""
    path = data / "S_000000.db"
    readings = select(path, "SELECT sensor_id, timestamp, id FROM sensor_readings ORDER BY id")
    expected: dict[tuple[str, str], list[int]] = {}
    for sensor, timestamp, row_id in readings:
        expected.setdefault((sensor, timestamp), []).append(row_id)
    with closing(GeneratedReadings(data, None)) as generated:
        generated.select_columns(())
        (database,) = (one for one in generated.databases.values() if one.source.name == path.name)
        found = {
            key: sorted(row[0] for row in generated.search_time(database, *key))  # type: ignore[type-var]
            for key in expected
        }

        assert 2 == max(map(len, expected.values()))
        assert expected == found
        assert [] == generated.search_time(database, "S_000000", "2026-01-01T00:00:00.000001+00:00")


def test_a_sender_without_numbers_is_matched_by_time(data: Path, tmp_path: Path) -> None:
    """Also where a wrong clock and a right one show the same time."""
    for path in data.glob("*.db"):
        damage(path, "UPDATE sensor_readings SET id = -id")
        damage(path, "UPDATE sensor_readings SET id = 10000 - (SELECT max(-id) FROM sensor_readings) - id")
    sent = post_all(data, tmp_path / "central.db", "seq")
    verdict = compare_central(tmp_path / "central.db")

    assert (True, sent, ()) == (verdict.ok, verdict.arrived, verdict.findings)
    assert f"0 were matched by sensor and seq, {sent:,} by sensor and timestamp" in verdict.notes[0]

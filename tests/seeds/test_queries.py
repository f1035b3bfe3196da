"""Every query of the source documents, as it was written, on the database of the demo script's fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.verify.verification import verify
from tests.seeds.demo import DATA

pytestmark = [pytest.mark.process, pytest.mark.claim("001.analyzing-data.1")]

Row = tuple[Any, ...]


def query(name: str) -> str:
    return (DATA / f"{name}.sql").read_text()


@pytest.fixture
def database(ran: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(ran / "sensor_data.db"))
    yield connection
    connection.close()


def table(connection: apsw.Connection) -> list[Row]:
    """(column, type, not null, default, primary key) of the table of readings, in order."""
    return [row[1:] for row in connection.execute("PRAGMA table_info(sensor_readings)")]


def rows(connection: apsw.Connection, columns: str) -> list[Row]:
    return list(connection.execute(f"SELECT {columns} FROM sensor_readings"))


@pytest.mark.claim("000.database-schema.1", "001.database-schema.1", "002.database-sync.2")
def test_the_schema(database: apsw.Connection) -> None:
    """The table has every column of the document, of its type and in its order, before any of its own, and is a
    table: others look for it in sqlite_master."""
    documented = apsw.Connection(":memory:")
    list(documented.execute(query("000-schema")))
    expected = table(documented)
    documented.close()

    assert 27 == len(expected)
    assert expected == table(database)[:27]
    kinds = list(database.execute("SELECT type FROM sqlite_master WHERE name = 'sensor_readings'"))
    assert [("table",)] == kinds


@pytest.mark.claim("002.database-sync.3")
def test_unsynced_readings(database: apsw.Connection) -> None:
    """The hundred oldest readings that nobody has collected yet."""
    found = list(database.execute(query("002-unsynced")))
    timestamps = sorted(row[0] for row in rows(database, "timestamp"))

    assert timestamps[:100] == [row[1] for row in found]
    assert {0} == {row[11] for row in found}


@pytest.mark.claim("001.key-features.9", "002.database-sync.3")
def test_synced_readings_do_not_come_again(database: apsw.Connection, ran: Path) -> None:
    """What was marked is counted as synced, is not among the unsynced any more, and is as it was otherwise."""
    (before,) = database.execute(query("002-sync-statistics"))
    ids = [row[0] for row in database.execute(query("002-unsynced"))]
    mark = query("002-mark-synced").replace("1, 2, 3, ...", ", ".join(map(str, ids)))

    list(database.execute(mark))

    (after,) = database.execute(query("002-sync-statistics"))
    assert (before[0], before[1] + 100, before[2] - 100) == after
    assert after[0] == after[1] + after[2] == len(rows(database, "id"))
    assert set() == set(ids) & {row[0] for row in database.execute(query("002-unsynced"))}
    assert verify(ran, complete=True).ok


@pytest.mark.claim("002.demo-script.3")
def test_sync_status_by_firmware(database: apsw.Connection) -> None:
    """Readings, synced ones and their percentage for each version, the least first."""
    counts = Counter(rows(database, "firmware_version, synced"))
    expected = []
    for version in sorted({version for version, _ in counts}):
        total, synced = counts[version, 0] + counts[version, 1], counts[version, 1]
        expected.append((version, total, synced, round(100 * synced / total, 2)))

    found = list(database.execute(query("002-sync-by-firmware")))

    assert expected == sorted(found)
    assert sorted(row[3] for row in found) == [row[3] for row in found]


def test_readings_by_location(database: apsw.Connection) -> None:
    """A row for each place with its count and means, the place with the most readings first."""
    found = list(database.execute(query("001-readings-by-location")))
    counts = Counter(row[0] for row in rows(database, "location"))

    assert dict(counts) == {place: count for place, count, *_ in found}
    assert sorted(counts.values(), reverse=True) == [row[1] for row in found]
    assert {f"Factory A - Line {line}" for line in range(1, 6)} < counts.keys()
    assert all(0 < temperature < 100 and 0 < vibration < 10 for _, _, temperature, vibration in found)


@pytest.mark.claim("002.demo-script.3")
def test_anomaly_rates_by_firmware(database: apsw.Connection) -> None:
    """A row for each version, the one with the higher rate first."""
    found = list(database.execute(query("001-anomaly-rates-by-firmware")))
    flags = Counter(rows(database, "firmware_version, anomaly_flag"))

    rates = [row[3] for row in found]

    assert sorted(rates, reverse=True) == rates
    assert {version: flags[version, 1] for version, _ in flags} == {row[0]: row[2] for row in found}


@pytest.mark.claim("002.demo-script.3")
def test_anomaly_types_by_model(database: apsw.Connection) -> None:
    """What share of a model's anomalous readings is of which type; missing data have no readings."""
    found = list(database.execute(query("001-anomaly-types-by-model")))
    expected = Counter(row[:2] for row in rows(database, "model, anomaly_type, anomaly_flag") if row[2])

    assert dict(expected) == {(model, kind): count for model, kind, count, _ in found}
    assert "missing_data" not in {row[1] for row in found}
    for model in {row[0] for row in found}:
        assert sum(row[3] for row in found if row[0] == model) == pytest.approx(100, abs=0.05)

"""The documents of a range of time: points for charts, and CSV."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fleet.datadir.readings import DatabaseChanged
from fleet.web.documents import ranges
from tests.fleet.staged import StagedFleet, client_of, sensor_name
from tests.fleet.verify.damage import damage, select
from tests.fleet.web.test_openapi import DESCRIPTION, answers, complaints
from tests.worker.further import Writer
from tests.worker.samples import ANOMALIES, NEW_YEAR, SECOND_US, settings
from worker.spec import Identity

DENSE = settings(*ANOMALIES)
SECONDS = 900
SENSOR = sensor_name(0)


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    """Three sensors, the first with 15 minutes of readings in several databases, the second with none."""
    staged = StagedFleet(tmp_path / "data")
    writer = Writer(staged.members[0].database, (Identity(SENSOR), DENSE), max_bytes=100_000)
    for second in range(99, SECONDS, 100):
        writer.deliver(second)
    writer.sink.close()
    assert len(list(staged.data.glob("*.rotated-*.db"))) > 1
    Writer(staged.members[1].database, (Identity(sensor_name(1)), DENSE)).sink.close()
    return staged


@pytest.fixture
def client(staged: StagedFleet) -> FlaskClient:
    return client_of(staged)


def series(client: FlaskClient, query: str, sensor: str = SENSOR) -> dict[str, Any]:
    """Return the document of a range, which is as it is described."""
    response = client.get(f"/workers/{sensor}/series?{query}")
    body = gzip.decompress(response.data) if response.content_encoding else response.data
    assert 200 == response.status_code, body
    document: dict[str, Any] = json.loads(body)
    (content,) = answers("/workers/{sensor_id}/series", "get", 200).values()
    assert [] == complaints(document, content["schema"])
    return document


def test_a_range_is_answered_as_points(client: FlaskClient) -> None:
    """By times, from the first reading, up to the last, or back from it; with what is on record and the episodes in it."""
    everything = series(client, "from=first&to=now")

    assert (0, SECONDS, 1, 1.0) == tuple(everything[name] for name in ("first_seq", "next_seq", "step", "read"))
    start, last = NEW_YEAR // 1000, NEW_YEAR // 1000 + (SECONDS - 1) * 1000
    assert [start, last, start, last] == [everything[name] for name in ("from_ms", "to_ms", "first_ms", "last_ms")]
    assert [start + second * 1000 for second in range(SECONDS)] == everything["times_ms"]
    assert None in everything["values"]["temperature"]
    assert 50 < len(everything["episodes"]) == len(everything["marks"]["type"])
    assert everything["marks"]["from_ms"] == sorted(everything["marks"]["from_ms"])
    begin, end = "2026-01-01T00:05:00Z", "2026-01-01T01:06:00%2B01:00"
    part = series(client, f"from={begin}&to={end}&points=20")
    assert (300, 361, 4, 16) == (part["first_seq"], part["next_seq"], part["step"], len(part["times_ms"]))
    assert (
        part["values"] == series(client, f"from=2026-01-01T00:05:00&to={end.replace('%2B', '+')}&points=20")["values"]
    )
    known = [value for value in everything["values"]["voltage"][300:304] if value is not None]
    assert (min(known), max(known)) == (part["values"]["voltage"][0], part["highest"]["voltage"][0])
    assert (839, 900) == tuple(series(client, "from=now-1m")[name] for name in ("first_seq", "next_seq"))
    assert part["episodes"] == sorted(part["episodes"], key=lambda episode: -episode["first_seq"])
    assert {300 <= episode["first_seq"] < 361 for episode in part["episodes"]} == {True}


def test_a_range_without_readings_is_empty(client: FlaskClient) -> None:
    """Before the first one, after the last one, and of a sensor that has none yet."""
    before = series(client, "from=2020-01-01&to=2021-01-01")
    assert ([], 0, NEW_YEAR // 1000) == (before["times_ms"], before["next_seq"], before["first_ms"])
    after = series(client, "from=2027-01-01&to=2028-01-01")
    assert ([], SECONDS, 1.0) == (after["times_ms"], after["next_seq"], after["read"])
    assert SECONDS == len(series(client, "from=0001-01-01&to=9999-12-31T23:59:59")["times_ms"])
    nothing = series(client, "from=first", sensor_name(1))
    assert ([], None, []) == (nothing["times_ms"], nothing["first_ms"], nothing["marks"]["type"])


@pytest.mark.parametrize("path", ["series", "readings.csv"])
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("from=yesterday", "from='yesterday': allowed is a time such as 2026-01-31T08:00:00Z, first, now or now-7d"),
        ("from=first&to=2026-13-01", "to='2026-13-01': allowed is a time such as"),
        ("from=0001-01-01T00:00:00%2B23:00x", "from='0001-01-01T00:00:00+23:00x': allowed is a time"),
        ("from=now-7x", "from: '7x' is not a duration such as 30s, 5m, 1h30m or 2d"),
        ("from=now&to=now-1h", "from=now: is after to=now-1h"),
        ("from=2026-01-02&to=2026-01-01", "from=2026-01-02: is after to=2026-01-01"),
    ],
)
def test_a_wrong_time_is_said_in_one_line(client: FlaskClient, path: str, query: str, error: str) -> None:
    response = client.get(f"/workers/{SENSOR}/{path}?{query}")

    assert (400, True) == (response.status_code, response.get_json()["error"].startswith(error))
    response = client.get(f"/workers/{SENSOR}/series?from=first&seconds=30")
    assert (400, "from and to: not together with seconds or after") == (
        response.status_code,
        response.get_json()["error"],
    )


def test_a_range_is_downloaded(staged: StagedFleet, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row by row as in the databases, oldest first, also where they end in the middle of a part."""
    monkeypatch.setattr(ranges, "MAX_CSV_PAGE_READINGS", 77)
    response = client.get(f"/workers/{SENSOR}/readings.csv?from=2026-01-01T00:01:40Z")

    assert (200, "text/csv") == (response.status_code, response.mimetype)
    assert f'attachment; filename="{SENSOR}.csv"' == response.headers["Content-Disposition"]
    head, *rows = csv.reader(io.StringIO(response.get_data(as_text=True)))
    names = (
        "timestamp sensor_id seq temperature humidity pressure vibration voltage status_code anomaly_flag anomaly_type"
    )
    assert names.split() == head
    recorded = [
        tuple("" if value is None else str(value) for value in row)
        for path in staged.data.glob(f"{SENSOR}*.db")
        for row in select(path, f"SELECT {', '.join(head)} FROM sensor_readings WHERE seq >= 100")
    ]
    assert sorted(recorded, key=lambda row: int(row[2])) == [tuple(row) for row in rows]
    nothing = client.get(f"/workers/{sensor_name(1)}/readings.csv")
    assert "timestamp,sensor_id,seq,status_code,anomaly_flag,anomaly_type\n" == nothing.get_data(as_text=True)
    assert "text/csv" in DESCRIPTION["paths"]["/workers/{sensor_id}/readings.csv"]["get"]["responses"]["200"]["content"]


def test_downloads_are_bounded_and_end(staged: StagedFleet, client: FlaskClient) -> None:
    """Two at a time; one that ends, is not read, or fails makes room for another."""
    path = f"/workers/{SENSOR}/readings.csv"
    held = [client.get(path, buffered=False) for _ in range(2)]
    assert (503, True) == ((refused := client.get(path)).status_code, "other downloads" in refused.get_json()["error"])
    held[0].close()
    for _ in range(3):
        assert 200 == client.head(path, buffered=True).status_code
        assert 400 == client.get(f"{path}?from=x").status_code
    damage(staged.members[0].database)
    for _ in range(3):
        assert 503 == client.get(f"{path}?from=now-1m").status_code
    held[1].close()


def test_a_database_that_is_rotated_during_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows go on in the order of their numbers, none missing and none twice. One that changes for good is an error."""
    monkeypatch.setattr(ranges, "MAX_CSV_PAGE_READINGS", 50)
    path = tmp_path / "one.db"
    writer = Writer(path, (Identity(SENSOR), settings()), max_bytes=100_000)
    writer.deliver(99)
    parts = ranges.csv_parts(path, SENSOR, ranges.parse_range(None, None))
    text = next(parts).decode()
    for second in range(199, 1500, 100):
        writer.deliver(second)
    writer.sink.close()
    assert list(tmp_path.glob("*.rotated-*.db"))
    text += b"".join(parts).decode()
    assert list(range(100)) == [int(line.split(",")[2]) for line in text.splitlines()[1:]]

    def changed(*_: object) -> Any:
        raise DatabaseChanged(path)

    monkeypatch.setattr(ranges, "select_columns", changed)
    with pytest.raises(DatabaseChanged):
        next(ranges.csv_parts(path, SENSOR, ranges.parse_range(None, None)))


def test_the_ends_belong_to_a_range(client: FlaskClient) -> None:
    """A range of one moment has the reading that is due at it."""
    moment = "2026-01-01T00:02:03.000000Z"
    assert [NEW_YEAR // 1000 + 123_000] == series(client, f"from={moment}&to={moment}")["times_ms"]
    assert [] == series(client, f"from={moment[:-2]}1Z&to={moment[:-2]}2Z")["times_ms"]
    assert NEW_YEAR + SECOND_US == ranges.parse_range("2026-01-01T00:00:01", None).begin.us


def test_readings_that_are_not_stored_are_downloaded(tmp_path: Path) -> None:
    staged = StagedFleet(tmp_path / "data", 2)
    for member, stored in zip(staged.members, (True, False), strict=True):
        writer = Writer(member.database, (replace(Identity(SENSOR), sensor_id="X_1"), DENSE), readings=stored)
        writer.deliver(499)
        writer.sink.close()
    one, other = (
        b"".join(ranges.csv_parts(member.database, "X_1", ranges.parse_range("now-5m", None)))
        for member in staged.members
    )
    assert one.count(b"\n") > 250
    assert one == other

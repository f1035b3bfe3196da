"""The JSON documents and the overview page, from real files of a fleet, through Flask's test client."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fleet.monitoring.health import DISPLAY_STATES
from fleet.monitoring.observation import Observer
from fleet.web.app import create_app
from tests.fleet.staged import SECOND_NS, VALUES, StagedFleet, client_of, sensor_name, staged_with_readings
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import STATE_INDEX, Scoreboard

pytestmark = pytest.mark.claim("000.testing.7")

FLEET = ("/healthz", "/livez", "/statusz", "/metricz", "/samplez", "/db_stats", "/workers", "/grid")
SENSOR = ("", "/healthz", "/statusz", "/metricz", "/samplez", "/db_stats", "/episodes")


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    return staged_with_readings(tmp_path / "data")


@pytest.fixture
def client(staged: StagedFleet) -> FlaskClient:
    return client_of(staged)


def answered(client: FlaskClient, path: str, status: int = 200) -> Any:
    response = client.get(path)

    assert status == response.status_code, response.data
    assert "application/json" == response.mimetype
    return json.loads(response.data, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


@pytest.mark.parametrize("path", [*FLEET, *(f"/workers/{sensor_name(1)}{rest}" for rest in SENSOR), "/"])
def test_head_and_headers(client: FlaskClient, path: str) -> None:
    """HEAD is answered like GET without a body; no answer may be cached, sniffed or load foreign content."""
    got, head = client.get(path), client.head(path)

    assert 200 == got.status_code == head.status_code
    assert b"" == head.data
    assert "no-store" == got.headers["Cache-Control"]
    assert "nosniff" == got.headers["X-Content-Type-Options"]
    assert "default-src 'self'" in got.headers["Content-Security-Policy"]
    assert "unsafe" not in got.headers["Content-Security-Policy"]


def test_workers(client: FlaskClient) -> None:
    """The list has every sensor in the order of the roster, with state, counts and the last values by channel."""
    listed = answered(client, "/workers")

    assert 3 == listed["total"]
    assert [sensor_name(0), sensor_name(1), sensor_name(2)] == [entry["sensor_id"] for entry in listed["workers"]]
    entry = listed["workers"][1]
    assert ("healthy", 11, 1, "spike") == tuple(entry[key] for key in ("state", "readings", "anomalies", "anomaly"))
    assert {
        "timestamp": "2026-01-01T00:00:10.000000+00:00",
        **dict(zip(("temperature", "humidity", "pressure", "vibration", "voltage"), VALUES, strict=True)),
    } == entry["last_reading"]
    assert {"worker", "pid", "lag_seconds", "restarts", "errors", "manufacturer", "model"} <= entry.keys()
    assert ("Berlin", 52.52, 13.405) == (entry["location"], entry["latitude"], entry["longitude"])


def test_workers_before_the_first_reading(tmp_path: Path) -> None:
    """A sensor that has written nothing has no last reading and no anomaly, whatever its unused row holds."""
    staged = StagedFleet(tmp_path / "data", 1)
    staged.set(0, anomaly=0, timestamp_us=0)
    (entry,) = answered(client_of(staged), "/workers")["workers"]

    assert (None, None, None) == (entry["last_reading"], entry["anomaly"], entry["pid"])


def test_a_channel_without_a_value_is_null(staged: StagedFleet, client: FlaskClient) -> None:
    staged.scoreboard.rows[0]["values"][1] = float("nan")

    assert answered(client, "/workers")["workers"][0]["last_reading"]["humidity"] is None


def test_workers_in_parts(staged: StagedFleet, client: FlaskClient) -> None:
    """`offset` and `limit` cut the list, `state` filters it, `total` counts the matches."""
    staged.set(2, "failed", "gave up")

    assert [sensor_name(1)] == [
        entry["sensor_id"] for entry in answered(client, "/workers?offset=1&limit=1")["workers"]
    ]
    assert {"workers": [], "total": 3, "offset": 9} == answered(client, "/workers?offset=9")
    failed = answered(client, "/workers?state=failed")
    assert (1, sensor_name(2), "gave up") == (
        failed["total"],
        *(failed["workers"][0][key] for key in ("sensor_id", "reason")),
    )


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("/workers?limit=0", "limit='0': allowed is a whole number from 1 to"),
        ("/workers?limit=ten", "limit='ten': allowed is a whole number from 1 to"),
        ("/workers?offset=-1", "offset='-1': allowed is a whole number from 0 to"),
        ("/workers?state=well", "state='well': allowed is one of " + ", ".join(DISPLAY_STATES)),
        ("/samplez?limit=1001", "limit='1001': allowed is a whole number from 1 to 1000"),
        (f"/workers/{sensor_name(0)}/episodes?limit=²", "limit='²': allowed is a whole number from 1 to 1000"),
    ],
)
def test_bad_query(client: FlaskClient, query: str, allowed: str) -> None:
    """A bad value is refused with the allowed values."""
    assert answered(client, query, 400)["error"].startswith(allowed)


def test_one_sensor(client: FlaskClient) -> None:
    """The document of a sensor has its entry in the list and its whole identity."""
    document = answered(client, f"/workers/{sensor_name(1)}")

    assert answered(client, "/workers")["workers"][1].items() <= document.items()
    assert ("Europe/Berlin", "1.4") == (document["identity"]["timezone"], document["identity"]["firmware_version"])
    assert {"name": "temperature", "unit": "°C"} == document["channels"][0]


@pytest.mark.parametrize("rest", SENSOR)
def test_unknown_sensor(client: FlaskClient, rest: str) -> None:
    assert "BER_999999" == answered(client, f"/workers/BER_999999{rest}", 404)["sensor_id"]


def test_unknown_path_and_method(client: FlaskClient) -> None:
    """An unknown path is a 404 and a wrong method a 405, both in JSON."""
    assert {"error": "no such path", "path": "/workerz"} == answered(client, "/workerz", 404)
    refused = client.post("/workers")
    assert (405, "GET, HEAD") == (refused.status_code, refused.headers["Allow"])
    assert "allowed is GET or HEAD" in json.loads(refused.data)["error"]


def test_a_bug_is_reported_without_its_traceback(staged: StagedFleet, caplog: pytest.LogCaptureFixture) -> None:
    """A bug is a 500 in JSON; its traceback is in the log only."""
    app = create_app(staged.run)
    app.add_url_rule("/bug", view_func=lambda: str(1 // 0))
    answer = json.dumps(answered(app.test_client(), "/bug", 500))

    assert "ZeroDivision" not in answer
    assert "Traceback" not in answer
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.claim("000.api-endpoints.2", "001.http-monitoring.3", "001.key-features.7")
def test_metricz(staged: StagedFleet, client: FlaskClient) -> None:
    """Sums over the fleet: readings, anomalies by type and as a share of the scheduled readings, writes, errors."""
    staged.set(0, anomalies=[0, 0, 0, 4, 0], retries=2, errors=1, restarts=3, lag_us=250_000)
    metrics = answered(client, "/metricz")

    assert 33 == metrics["total_readings"]
    assert 37 == metrics["scheduled_readings"]
    assert {**dict.fromkeys(ANOMALY_TYPES, 0), "spike": 1, "missing_data": 4} == metrics["anomalies_by_type"]
    assert (5, round(5 / 37, 6)) == (metrics["total_anomalies"], metrics["anomaly_rate"])
    assert {"commits": 33, "retries": 2, "renewals": 0, "mean_commit_ms": 0.5} == metrics["database"]
    assert (1, 3, 0.25, 3.0) == tuple(
        metrics[key] for key in ("error_count", "restarts", "lag_seconds", "readings_per_second_asked")
    )
    assert {"total": 3, "healthy": 3, "by_state": {"healthy": 3}} == metrics["workers"]
    assert 60 <= metrics["uptime_seconds"] < 120
    assert metrics["memory"]["bytes"] > 1_000_000


def test_metricz_of_one_sensor(client: FlaskClient) -> None:
    metrics = answered(client, f"/workers/{sensor_name(2)}/metricz")

    assert (12, 0, 1) == (metrics["total_readings"], metrics["total_anomalies"], metrics["workers"]["total"])


def test_no_readings_are_asked_of_the_finished(staged: StagedFleet, client: FlaskClient) -> None:
    """The target rate leaves out sensors that are done or stopped, and includes failed ones."""
    staged.set(0, "done")
    staged.set(1, "failed")

    assert 2.0 == answered(client, "/metricz")["readings_per_second_asked"]


@pytest.mark.claim("000.api-endpoints.3", "001.http-monitoring.2")
def test_statusz(staged: StagedFleet, client: FlaskClient) -> None:
    """Configuration, figures of this run, sensors in an anomaly, and state of the databases."""
    staged.set(2, "unready", "disk full")
    status = answered(client, "/statusz")

    assert (42, "own", 1, 3) == tuple(status["configuration"][key] for key in ("seed", "layout", "run", "sensors"))
    assert 33 == status["runtime"]["total_readings"]
    assert [{"sensor_id": sensor_name(1), "type": "spike"}] == status["anomalies"]["sensors"]
    assert {"status": "unavailable", "connected": 2, "unavailable": 1, "idle": 0} == status["database"]
    assert status["version"]
    assert "spike" == answered(client, f"/workers/{sensor_name(1)}/statusz")["anomalies"]["type"]


def test_a_stopped_sensor_is_in_no_anomaly(staged: StagedFleet, client: FlaskClient) -> None:
    staged.set(1, "stopped")

    assert 0 == answered(client, "/statusz")["anomalies"]["count"]


def test_grid(staged: StagedFleet, client: FlaskClient) -> None:
    """One letter a sensor; upper case for a healthy one in an anomaly."""
    staged.set(2, "failed")
    grid = answered(client, "/grid")

    assert [sensor_name(0), sensor_name(1), sensor_name(2)] == grid["sensor_ids"]
    letters = {state: letter for letter, state in grid["legend"].items()}
    assert letters["healthy"] + letters["healthy"].upper() + letters["failed"] == grid["cells"]
    staged.set(1, "unready")
    assert letters["unready"] == answered(client, "/grid")["cells"][1]


def test_no_fleet(tmp_path: Path) -> None:
    """Where no fleet has started every answer is a 503 with the reason, except /livez."""
    client = create_app(tmp_path / "run").test_client()

    for path in FLEET[2:]:
        assert "no fleet has started" in answered(client, path, 503)["error"]
    assert "unhealthy" == answered(client, "/healthz", 503)["status"]
    assert {"status": "alive"} == answered(client, "/livez")
    page = client.get("/")
    assert (503, True) == (page.status_code, b"No fleet is running" in page.data)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "roster.json:1:1: invalid JSON: "),
        ("{", "roster.json:1:2: invalid JSON: "),
        ("[]", "roster.json: [] is not a JSON object"),
        ('{"members": [{}]}', "roster.json:1:14: row is missing"),
    ],
)
def test_unreadable_roster(staged: StagedFleet, client: FlaskClient, content: str, reason: str) -> None:
    """A damaged roster is a 503 with the reason, and the fleet is shown again once it is repaired."""
    (staged.run / "roster.json").write_text(content)

    assert reason in answered(client, "/workers", 503)["error"]
    staged.write_roster()
    assert 3 == answered(client, "/workers")["total"]


def test_missing_board(staged: StagedFleet, client: FlaskClient) -> None:
    (staged.run / "board").unlink()

    assert "board" in answered(client, "/metricz", 503)["error"]


def test_a_changed_roster_and_board_are_seen(staged: StagedFleet, client: FlaskClient) -> None:
    """A replaced roster is read and a replaced scoreboard mapped again; sensors that have no row on the scoreboard yet are
    absent."""
    assert 3 == answered(client, "/workers")["total"]
    staged.members = (*staged.members, staged.member(3))
    staged.write_roster()

    assert "absent" == answered(client, "/workers")["workers"][3]["state"]
    scoreboard = Scoreboard.create(staged.run / "board", 4)
    scoreboard.rows["readings"] = 1000
    assert 4000 == answered(client, "/metricz")["total_readings"]


def test_answers_are_the_same_for_one_tick(staged: StagedFleet) -> None:
    """The list is read and encoded once per tick."""
    now = time.monotonic_ns()
    client = create_app(staged.run, Observer(staged.run, tick=0.5, clock=lambda: now)).test_client()
    before = client.get("/workers").data
    staged.set(0, restarts=7)

    assert before == client.get("/workers").data
    now += SECOND_NS // 2
    assert 7 == answered(client, "/workers")["workers"][0]["restarts"]


@pytest.mark.claim("002.use-case.3")
def test_page(staged: StagedFleet, client: FlaskClient) -> None:
    """The page has the key figures with units before any script runs, and no inline script or style."""
    staged.set(2, "failed", "<b>gave up</b>")
    page = client.get("/").get_data(as_text=True)

    assert "text/html" == client.get("/").mimetype
    for text in ("Sensors healthy", "of 3 asked for", "101,325", "°C", sensor_name(0), "&lt;b&gt;gave up&lt;/b&gt;"):
        assert text in page
    assert 1 == page.count('class="row in-anomaly"')
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=|https?://", page)
    for path in re.findall(r'(?:src|href)="(/[^"]*)"', page):
        with client.get(path) as response:
            assert response.status_code in (200, 503), path


@pytest.mark.claim("002.use-case.1")
def test_ten_thousand_sensors(tmp_path: Path) -> None:
    """Health and metrics of 10,000 sensors, also when all of them have failed. (How soon: benchmarks/aggregator.py.)"""
    staged = StagedFleet(tmp_path / "data", 10_000)
    client = client_of(staged)
    for state, status in (("healthy", 200), ("failed", 503)):
        staged.scoreboard.rows["state"] = STATE_INDEX[state]
        for path, expected in (("/healthz", status), ("/metricz", 200)):
            assert "10000" in json.dumps(answered(client, path, expected))

"""Servers that take line protocol as a target, with real ones: InfluxDB 1 and VictoriaMetrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.delivery.bisecting_delivery import BisectingDelivery
from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.target import TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.influx.address import parse_address
from fleet.delivery.targets.influx.server import InfluxTarget, read_credentials
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.delivery.targets.retry import RetryPolicy
from tests.fleet.delivery.samples import batch, with_values
from tests.fleet.delivery.swept import sweep_into
from tests.fleet.delivery.test_recorded_times import RECORDED
from tests.fleet.verify.damage import make_identities, select, write_database
from tests.process.conftest import Up
from tests.process.running_fleet import fleet, wait_for
from tests.servers.influxdb import Server, influxdb, victoria_metrics

USER, PASSWORD = "fleet", "a-password-for-the-test"


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Server]:
    with influxdb(tmp_path) as server:
        yield server


def target(url: str, user: str = "", password: str = "", *, gzip: bool = False) -> InfluxTarget:
    environment = {"INFLUX_USERNAME": user, "INFLUX_PASSWORD": password}
    retry = RetryPolicy(attempts=2, sleep=lambda _: None)
    return InfluxTarget(parse_address(url), read_credentials(environment), retry, gzip=gzip)


HARD = ("a, b=c d", 'say "no"', "back\\slash \\\\two", "=", "ß🌍", "12i")


@pytest.mark.parametrize("gzip", [False, True])
def test_readings_are_points(gzip: bool, influx: Server) -> None:
    """With their types and all texts, and once, however often they arrive."""
    message = batch(1, 7)
    for number, text in enumerate(HARD, 1):
        message = with_values(message, number, location=text, anomaly_type=text, temperature=20.0 + number % 2 / 4)
    with closing(target(influx.url(), gzip=gzip)) as opened:
        for _ in range(2):
            receipt = opened.deliver(message)
            assert (frozenset(range(1, 7)), {}) == (receipt.accepted, receipt.rejected)

    points = influx.query("SELECT * FROM sensor_readings")
    assert [(number - 1, text, text) for number, text in enumerate(HARD, 1)] == [
        (point["seq"], point["location"], point["anomaly_type"]) for point in points
    ]
    assert 1767261590000000000 == points[0]["time"]
    types = {row["fieldKey"]: row["fieldType"] for row in influx.query("SHOW FIELD KEYS FROM sensor_readings")}
    expected = {
        "temperature": "float",
        "status_code": "integer",
        "anomaly_flag": "integer",
        "anomaly_type": "string",
        "seq": "integer",
    }
    assert expected == types


def test_of_a_partial_write_the_refused_readings_are_found(influx: Server) -> None:
    """InfluxDB stores the other points of the request. What it has left out does not count as delivered."""
    with closing(target(influx.url())) as opened:
        opened.deliver(batch(1, 2))
        influx.write("sensor_readings,sensor_id=x humidity=5i 1767261590000000000")
        message = with_values(with_values(batch(2, 12), 5, humidity=60.0), 9, humidity=61.0)
        receipt = BisectingDelivery(opened).deliver(message)
    assert frozenset(range(2, 12)) - {5, 9} == receipt.accepted
    assert {5, 9} == set(receipt.rejected)
    assert '400 Bad Request: partial write: field type conflict: input field "humidity"' in receipt.rejected[5]
    assert [0, 1, 2, 3, 5, 6, 7, 9, 10] == [
        point["seq"] for point in influx.query("SELECT seq FROM sensor_readings WHERE sensor_id = 'KIN_1'")
    ]


def test_a_database_that_is_missing(influx: Server) -> None:
    with closing(target(influx.url(database="other"))) as opened, pytest.raises(TargetMisconfigured) as raised:
        opened.deliver(batch(1, 2))
    name = f"influx://127.0.0.1:{influx.port}/other"
    reason = 'answered 404 Not Found: database not found: "other" (create the database or bucket first)'
    assert f"{name}: {reason}" == str(raised.value)
    missing = fleet("verify", "--data", influx.folder, "--against", influx.url(database="other"))
    assert 1 == missing.returncode
    assert f"fleet: --against: {name}: database not found: other" in missing.stderr


def test_a_server_that_wants_a_password(tmp_path: Path) -> None:
    with influxdb(tmp_path, auth=True) as server:
        server.query(f"CREATE USER \"{USER}\" WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")
        server.password = f"{USER}:{PASSWORD}"
        server.query('CREATE DATABASE "fleet"')
        for wrong in ((), (USER, "wrong-password")):
            with closing(target(server.url(), *wrong)) as opened, pytest.raises(TargetMisconfigured) as raised:
                opened.deliver(batch(1, 2))
            assert "answered 401 Unauthorized: " in str(raised.value)
            assert "INFLUX_TOKEN, or INFLUX_USERNAME and INFLUX_PASSWORD, say who is asking" in str(raised.value)
            assert "wrong-password" not in str(raised.value)
        with closing(target(server.url(), USER, PASSWORD)) as opened:
            assert 1 == len(opened.deliver(batch(1, 2)).accepted)
        login = server.url().replace("influx://", f"influx://{USER}:{PASSWORD}@")
        with closing(open_target("env:INFLUX", TargetOptions(environment={"INFLUX": login}))) as opened:
            assert 1 == len(opened.deliver(batch(2, 3)).accepted)
            assert PASSWORD not in opened.name


def test_no_server(influx: Server) -> None:
    influx.kill()
    with (
        closing(target(influx.url())) as opened,
        pytest.raises(TargetUnavailable, match="no connection: Connection refused"),
    ):
        opened.deliver(batch(1, 2))


def test_a_fleet_delivers_to_a_server_that_is_killed(influx: Server, up: Up, tmp_path: Path) -> None:
    """InfluxDB acknowledges what is on its disk: nothing is missing, and every reading is one point."""
    data = tmp_path / "data"
    running = up("--replicas", 3, "--rate", 20, "--to", influx.url()).ready()
    query = "SELECT count(seq) AS points FROM sensor_readings"
    wait_for(lambda: influx.query(query), "points arrive")
    influx.kill()
    wait_for(lambda: "no connection" in fleet("status", "--data", data).stdout, "the fleet knows")
    influx.start()
    before = influx.query(query)[0]["points"]
    wait_for(lambda: influx.query(query)[0]["points"] > before + 20, "points arrive again")
    running.interrupt()
    assert 0 == running.wait(), running.output

    verdict = fleet("verify", "--data", data, "--against", influx.url(), "--json")
    assert 0 == verdict.returncode, verdict.stdout
    document = json.loads(verdict.stdout)["against"]
    assert (document["generated"], 0) == (document["arrived"], document["pending"])
    influx.query("DELETE FROM sensor_readings WHERE time <= now()")
    assert 1 == fleet("verify", "--data", data, "--against", influx.url()).returncode


def test_victoria_metrics_takes_them(tmp_path: Path) -> None:
    """Numbers alone, to the millisecond: a time series for each field."""
    with victoria_metrics(tmp_path) as server:
        with closing(target(server.url(database=""))) as opened:
            assert 10 == len(opened.deliver(batch(1, 11)).accepted)
        server.get("/internal/force_flush")
        (series,) = (
            json.loads(line)
            for line in server.get("/api/v1/export", **{"match[]": "sensor_readings_temperature"}).splitlines()
        )
    assert [20 + number / 7 for number in range(1, 11)] == pytest.approx(series["values"])
    assert ("KIN_1", "Kinshasa, 🌍") == (series["metric"]["sensor_id"], series["metric"]["location"])
    assert 1767261590000 == series["timestamps"][0]


@pytest.mark.parametrize("timezone", ["Asia/Tokyo", "America/Denver"])
def test_readings_with_the_same_time_are_all_there(timezone: str, influx: Server, tmp_path: Path) -> None:
    """Those of a wrong clock have times of others. A server would keep one of two points with the same tags and time."""
    data = tmp_path / "sensors"
    data.mkdir()
    sensor = replace(make_identities(1)[0], timezone=timezone)
    write_database(data / "S_000000.db", 60_000, RECORDED, sensors=[sensor], commit_every=800.0)
    times = select(data / "S_000000.db", "SELECT count(*), count(DISTINCT timestamp) FROM sensor_readings")
    with closing(target(influx.url())) as opened:
        sweep_into(opened, data)
    verdict = compare(data, ComparisonOptions(influx.url(), complete=True))

    ((count, distinct),) = times
    assert distinct < count
    assert [count] == [row["points"] for row in influx.query("SELECT count(seq) AS points FROM sensor_readings")]
    assert (count, {}) == (verdict.arrived, verdict.counts)

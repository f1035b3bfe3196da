"""`/metrics` in both formats, from the files of a fleet, read back by strict parsers."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fleet.monitoring.health import DISPLAY_STATES
from fleet.monitoring.memory import MAX_AGE_NS, MemoryGauge
from fleet.monitoring.observation import Observer
from fleet.web.app import create_app
from tests.fleet.staged import CHANNELS, VALUES, StagedFleet, client_of, sensor_name, staged_with_readings
from tests.process.running_fleet import wait_for
from worker.readings.anomalies import ANOMALY_TYPES

OPENMETRICS = "application/openmetrics-text"
HALF_A_PAIR = 'Mün"chen\\ \n\udcff'


def parse_openmetrics(text: str) -> Iterable[Metric]:
    families: Iterable[Metric] = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return families


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    return staged_with_readings(tmp_path / "data")


@pytest.fixture
def client(staged: StagedFleet) -> FlaskClient:
    return client_of(staged)


def scraped(client: FlaskClient, accept: str = "", path: str = "/metrics") -> tuple[str, str]:
    """Content type and text."""
    response = client.get(path, headers={"Accept": accept})

    assert 200 == response.status_code, response.data
    return response.headers["Content-Type"], response.get_data(as_text=True)


def series(client: FlaskClient, path: str = "/metrics") -> dict[tuple[str, ...], float]:
    """The value of each series, by its name and the values of its labels."""
    families = parse_openmetrics(scraped(client, OPENMETRICS, path)[1])
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,*/*;q=0.8", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.3", True),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text; version=x; escaping=\xff", True),
        ("application/json", False),
        (";;;,=,/", False),
    ],
)
def test_the_format_is_what_the_client_accepts(client: FlaskClient, accept: str, is_openmetrics: bool) -> None:
    content_type, text = scraped(client, accept)

    expected = "application/openmetrics-text; version=1.0.0" if is_openmetrics else "text/plain; version=0.0.4"
    assert f"{expected}; charset=utf-8" == content_type
    assert is_openmetrics == text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/metrics", "/metrics?per_sensor=1"])
def test_both_formats_have_the_same_content(client: FlaskClient, path: str) -> None:
    """Every family occurs once, with a type, a help text and samples, and is the same in both formats."""

    def summary(families: Iterable[Metric]) -> dict[str, object]:
        found = list(families)
        assert len(found) == len({family.name for family in found})
        assert all(family.documentation.endswith(".") and family.samples for family in found)
        moving = {"fleet_memory_bytes", "fleet_disk_free_bytes"}
        # The text format has no type `info`.
        return {
            family.name.removesuffix("_info"): (
                family.documentation,
                family.type.replace("info", "gauge"),
                []
                if family.name in moving
                else [(sample.name, sample.labels, sample.value) for sample in family.samples],
            )
            for family in found
        }

    text, openmetrics = scraped(client, "text/plain", path)[1], scraped(client, OPENMETRICS, path)[1]

    assert summary(parse_text(text)) == summary(parse_openmetrics(openmetrics))


def test_sums_of_the_fleet(staged: StagedFleet, client: FlaskClient) -> None:
    staged.set(0, anomalies=[0, 0, 0, 4, 0], retries=2, errors=4, restarts=3, renewals=1, lag_us=250_000)
    staged.set(2, "failed", "gave up")
    found = series(client)

    assert 33 == found["fleet_readings_total",]
    assert 37 == found["fleet_scheduled_readings_total",]
    assert {**dict.fromkeys(ANOMALY_TYPES, 0), "spike": 1, "missing_data": 4} == {
        kind: found["fleet_anomalous_readings_total", kind] for kind in ANOMALY_TYPES
    }
    assert {**dict.fromkeys(DISPLAY_STATES, 0), "healthy": 2, "failed": 1} == {
        state: found["fleet_sensors", state] for state in DISPLAY_STATES
    }
    assert (1, 3, 1, 2, 1, 0.25, 3) == tuple(
        found[f"fleet_{name}",]
        for name in (
            "unhealthy_sensors",
            "restarts_total",
            "database_errors_total",
            "database_retries_total",
            "database_renewals_total",
            "worst_lag_seconds",
            "asked_readings_per_second",
        )
    )
    assert 1 == found["fleet_anomalous_sensors", "spike"]
    assert found["fleet_memory_bytes",] > 1_000_000
    assert found["fleet_disk_free_bytes",] > 1_000_000
    assert 1_767_225_600 == found["fleet_start_time_seconds",]


def test_histograms(staged: StagedFleet, client: FlaskClient) -> None:
    """Buckets are cumulative and in seconds; the last one is the count."""
    staged.set(0, commit_buckets=[1, 0, 2, *[0] * 9, 4], commit_total_us=21_000_000)
    for number in (1, 2):
        staged.set(number, commit_buckets=[0] * 13, commit_total_us=0)
    found = series(client)

    buckets = {key[1]: value for key, value in found.items() if key[0] == "fleet_commit_seconds_bucket"}
    assert (1, 1, 3, 3, 7) == tuple(buckets[bound] for bound in ("0.0005", "0.001", "0.0025", "5.0", "+Inf"))
    assert (7, 21.0) == (found["fleet_commit_seconds_count",], found["fleet_commit_seconds_sum",])
    assert 0 == found["fleet_lag_seconds_count",]


def test_sensors_that_leave_take_no_counts_with_them(staged: StagedFleet, client: FlaskClient) -> None:
    """A counter never decreases: Prometheus would take that for a restart. Gauges cover the present sensors."""
    before = series(client)
    everyone = staged.members
    staged.members = everyone[:1]
    staged.write_roster()
    after = series(client)

    sums = [key for key in before if key[0].endswith(("_total", "_count", "_sum", "_bucket"))]
    assert len(sums) > 30
    assert {key: before[key] for key in sums} == {key: after[key] for key in sums}
    assert (3, 1) == (before["fleet_sensors", "healthy"], after["fleet_sensors", "healthy"])
    staged.members = everyone
    staged.write_roster()
    assert {key: before[key] for key in sums} == {key: value for key, value in series(client).items() if key in sums}


def test_sensors_that_share_a_process_have_its_counts_once(staged: StagedFleet, client: FlaskClient) -> None:
    """Also after some of them have left, and others have started in their place."""
    staged.scoreboard.rows["leads"] = [1, 0, 0]
    staged.scoreboard.rows["incarnation"] = [8, 8, 7]
    staged.scoreboard.rows["restarts"] = staged.scoreboard.rows["errors"] = 2
    staged.scoreboard.rows["commit_buckets"][:, 0] = 5
    staged.members = staged.members[:2]
    staged.write_roster()
    found = series(client)

    assert (2, 5, 33) == tuple(
        found[key,] for key in ("fleet_restarts_total", "fleet_commit_seconds_count", "fleet_readings_total")
    )


def test_each_sensor_on_request(staged: StagedFleet, client: FlaskClient) -> None:
    """The series of single sensors are there only with ?per_sensor=1."""
    staged.set(0, "failed", "gave up", lag_us=1_500_000, committed_at_us=1_700_000_000_500_000)
    staged.scoreboard.rows["values"][2][1] = float("nan")
    found = series(client, "/metrics?per_sensor=1")

    assert not [key for key in series(client) if key[0].startswith("fleet_sensor_")]
    assert (11, 1, 0) == tuple(
        found[key]
        for key in (
            ("fleet_sensor_readings_total", sensor_name(1)),
            ("fleet_sensor_anomalous_readings_total", sensor_name(1), "spike"),
            ("fleet_sensor_anomalous_readings_total", sensor_name(1), "noise"),
        )
    )
    assert (0, 1) == (found["fleet_sensor_healthy", sensor_name(0)], found["fleet_sensor_healthy", sensor_name(1)])
    assert (0, 1) == (
        found["fleet_sensor_in_anomaly", sensor_name(0)],
        found["fleet_sensor_in_anomaly", sensor_name(1)],
    )
    assert 1.5 == found["fleet_sensor_lag_seconds", sensor_name(0)]
    assert 1_700_000_000.5 == found["fleet_sensor_last_commit_timestamp_seconds", sensor_name(0)]
    values = {key[2:]: value for key, value in found.items() if key[:2] == ("fleet_sensor_value", sensor_name(2))}
    expected = {channel: value for channel, value in zip(CHANNELS, VALUES, strict=True) if channel[0] != "humidity"}
    assert expected == values


def test_any_text_is_a_legal_label(staged: StagedFleet, client: FlaskClient) -> None:
    """Quotes, backslashes, line ends, and characters that UTF-8 cannot encode."""
    roster = json.loads((staged.run / "roster.json").read_text())
    roster["members"][0]["identity"]["location"] = HALF_A_PAIR
    roster["members"][0]["channels"][0][1] = '"'
    (staged.run / "roster.json").write_text(json.dumps(roster))

    for parse, accept in ((parse_text, "text/plain"), (parse_openmetrics, OPENMETRICS)):
        families = {family.name: family for family in parse(scraped(client, accept, "/metrics?per_sensor=1")[1])}
        info = families.get("fleet_sensor") or families["fleet_sensor_info"]
        assert HALF_A_PAIR.replace("\udcff", "\\udcff") == info.samples[0].labels["location"]
        assert '"' == families["fleet_sensor_value"].samples[0].labels["unit"]


@pytest.mark.parametrize("content", ['{"problems": 5}', "[]", '{"problems": ["a", "b"]}'])
def test_odd_content_of_files_breaks_nothing(staged: StagedFleet, client: FlaskClient, content: str) -> None:
    (staged.run / "reload.json").write_text(content)

    assert (2 if "a" in content else 0) == series(client)["fleet_configuration_problems",]


def test_bad_query_and_no_fleet(tmp_path: Path, client: FlaskClient) -> None:
    """Both are errors, which Prometheus shows as `up` being 0."""
    assert 400 == client.get("/metrics?per_sensor=yes").status_code
    assert 503 == create_app(tmp_path / "nothing").test_client().get("/metrics").status_code


def test_promtool_accepts_the_metrics(client: FlaskClient) -> None:
    """Names, units, types and help texts pass the linter of Prometheus."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    text = scraped(client, "text/plain", "/metrics?per_sensor=1")[1]
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)

    assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)


def test_a_scrape_does_not_wait_for_memory(staged: StagedFleet) -> None:
    """An old measurement is returned at once, and renewed in the background."""
    now = 0
    gauge = MemoryGauge(lambda: now)
    observation = Observer(staged.run).observe()
    first = gauge.latest(observation)

    assert first is gauge.latest(observation)
    now = MAX_AGE_NS + 1
    assert first is gauge.latest(observation)
    wait_for(lambda: gauge.latest(observation) is not first, "a new measurement")


@pytest.mark.timed
def test_a_thousand_sensors(tmp_path: Path) -> None:
    """A scrape takes 3 ms for the fleet and 40 ms with each sensor; the limit allows for a busy machine. An answer is built
    once per tick."""
    staged = StagedFleet(tmp_path / "data", 1000)
    staged.scoreboard.rows["readings"] = 5
    times = []
    for _ in range(3):  # others on the machine slow one down, hardly all three
        client = create_app(staged.run, Observer(staged.run, tick=60)).test_client()
        scraped(client)
        begun = time.process_time()
        text = scraped(client, path="/metrics?per_sensor=1")[1]
        times.append(time.process_time() - begun)
    took = min(times)

    assert 5000 == text.count("\nfleet_sensor_value{")
    assert took < 0.3
    begun = time.process_time()
    assert text == scraped(client, path="/metrics?per_sensor=1")[1]
    assert time.process_time() - begun < took

"""The targets of a delivery, as its status file has them: in the health of the fleet, its documents and its metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleet.commands.status import build_report, print_status
from fleet.commands.top.screen import header_lines
from fleet.commands.top.table import build_table
from fleet.commands.top.view import ViewState
from fleet.datadir.delivery_status import TargetStatus
from fleet.datadir.directory import DataDirectory
from fleet.monitoring.observation import Observer
from tests.fleet.monitoring.test_health import STATUS
from tests.fleet.staged import StagedFleet, client_of

URL = "http://host/ingest"
OTHER = TargetStatus("jsonl:/tmp/x", 20)


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    return StagedFleet(tmp_path / "data")


def failing(seconds: float) -> TargetStatus:
    now = time.time()
    error = f"{URL}: no connection"
    return TargetStatus(
        URL, 7, retries=3, error=error, failing_since=now - seconds, last_error=error, last_error_at=now - 1
    )


def late(seconds: float) -> TargetStatus:
    return TargetStatus(URL, 7, rate=12.5, backlog=1234, backlog_since=time.time() - seconds)


def health(staged: StagedFleet) -> tuple[int, Any]:
    response = client_of(staged).get("/healthz")
    return response.status_code, response.get_json()


def status_text(staged: StagedFleet, capsys: pytest.CaptureFixture[str]) -> str:
    print_status({**build_report(DataDirectory(staged.data), STATUS), "url": None})
    return capsys.readouterr().out


def metrics(staged: StagedFleet) -> list[str]:
    return [line for line in client_of(staged).get("/metrics").text.splitlines() if line.startswith("fleet_delivery_")]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (partial(failing, 20), "no connection"),
        (partial(late, 90), "it lacks 1,234 readings, the oldest for 9"),
    ],
)
def test_a_target_without_its_readings_degrades_the_fleet(
    staged: StagedFleet, capsys: pytest.CaptureFixture[str], target: Callable[[], TargetStatus], reason: str
) -> None:
    """Its sensors are healthy, so no probe may restart it: the answer is 200."""
    staged.deliver(OTHER, target())
    code, document = health(staged)

    assert (200, "degraded", 0) == (code, document["status"], document["unhealthy"])
    assert [URL] == [each["target"] for each in document["targets"]]
    assert document["reason"].startswith(f"{URL} does not get its readings: {reason}")
    assert f"degraded: {URL} does not get its readings: {reason}" in status_text(staged, capsys)
    observation = Observer(staged.run, tick=0).observe()
    assert "  1 of 2 targets fail  " in header_lines(observation, build_table(observation), ViewState(), 80)[1]
    assert {f'fleet_delivery_healthy{{target="{URL}"}} 0', f'fleet_delivery_healthy{{target="{OTHER.name}"}} 1'} <= set(
        metrics(staged)
    )


@pytest.mark.parametrize("target", [partial(failing, 2), partial(late, 30), partial(TargetStatus, URL)])
def test_a_target_has_some_time(staged: StagedFleet, target: Callable[[], TargetStatus]) -> None:
    staged.deliver(OTHER, target())

    assert (200, "healthy") == (health(staged)[0], health(staged)[1]["status"])
    assert "targets" not in health(staged)[1]


def test_readings_may_wait_for_the_interval_of_the_delivery(staged: StagedFleet) -> None:
    staged.deliver(late(200), interval=100)
    assert "healthy" == health(staged)[1]["status"]
    staged.deliver(late(270), interval=100)
    assert "degraded" == health(staged)[1]["status"]


def test_a_delivery_process_that_says_nothing_degrades_the_fleet(staged: StagedFleet) -> None:
    staged.deliver(OTHER, TargetStatus(URL), written=20)
    document = health(staged)[1]

    assert "degraded" == document["status"]
    assert [OTHER.name, URL] == [target["target"] for target in document["targets"]]
    assert "the delivery process has reported nothing for 2" in document["reason"]
    assert document["reason"].endswith(" s (and 1 more)")


def test_an_unhealthy_sensor_comes_first(staged: StagedFleet) -> None:
    staged.deliver(failing(30))
    staged.set(1, "failed", "gave up")
    code, document = health(staged)

    assert (503, "unhealthy", [URL]) == (code, document["status"], [each["target"] for each in document["targets"]])
    assert "gave up" in document["reason"]


def test_what_is_known_of_a_target_is_in_every_document(
    staged: StagedFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    staged.deliver(late(30), failing(3))
    client = client_of(staged)
    for path, name in {"/statusz": "delivery", "/metricz": "delivery", "/api/snapshot": "targets"}.items():
        first, second = client.get(path).get_json()[name]
        assert (1234, 12.5) == (first["backlog"], first["rate"]), path
        assert 30 <= first["backlog_age_seconds"] < 60, path
        assert (3, f"{URL}: no connection") == (second["retries"], second["last_error"]), path
    text = status_text(staged, capsys)
    assert f"delivered to {URL}: 7 readings, 12/s, 1,234 to go, the oldest for 3" in text
    assert f"delivered to {URL}: 7 readings, 0/s, 3 retried; fails since " in text
    assert ": no connection\n" in text


def test_metrics_of_targets(staged: StagedFleet) -> None:
    name = 'a"b'
    staged.deliver(TargetStatus(name, 9, 2, 1, retries=4, backlog=5, backlog_since=time.time() - 7.5))
    found = dict(line.rsplit(" ", 1) for line in metrics(staged))

    label = '{target="a\\"b"}'
    assert 7 <= float(found.pop(f"fleet_delivery_backlog_age_seconds{label}")) < 60
    assert {
        f"fleet_delivery_{each}{label}": value
        for each, value in {
            "healthy": "1",
            "readings_total": "9",
            "duplicates_total": "2",
            "refused_readings_total": "1",
            "retries_total": "4",
            "backlog_readings": "5",
        }.items()
    } == found


def test_a_fleet_that_delivers_nothing_says_nothing_of_it(
    staged: StagedFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    client = client_of(staged)

    assert [] == metrics(staged) == client.get("/statusz").get_json()["delivery"]
    assert "delivery" not in client.get("/metricz").get_json()
    assert "delivered" not in status_text(staged, capsys)


def test_the_page_has_the_targets_before_any_script_runs(staged: StagedFleet) -> None:
    staged.deliver(late(185), failing(30), replace(OTHER, last_error="full", last_error_at=3661.0))
    text = " ".join(client_of(staged).get("/").get_data(as_text=True).split())

    assert 3 == text.count('<th scope="row"><span class="name">')
    assert '<span class="pill unready">late</span></td> <td class="number" data-label="Delivered">7</td>' in text
    assert '<td class="number" data-label="Oldest waits">3 min</td>' in text
    assert '<small class="bad">no connection</small>' in text
    assert '<small class="">last error at 01:01:01: full</small>' in text
    assert '<a href="#delivery">' in text
    assert 'class="verdict degraded"' in text


def test_the_page_of_a_fleet_that_delivers_nothing_has_no_table_of_targets(staged: StagedFleet) -> None:
    assert "delivery" not in client_of(staged).get("/").get_data(as_text=True).replace("delivery.js", "")

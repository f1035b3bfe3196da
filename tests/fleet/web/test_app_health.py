"""The health of a fleet, and the reasons when it is unhealthy."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.monitoring.observation import Observer
from fleet.web.app import create_app
from fleet.web.documents.status import MAX_REASONS
from tests.fleet.staged import SECOND_NS, StagedFleet, sensor_name

pytestmark = pytest.mark.claim("000.use-cases.4", "001.key-features.7", "002.error-handling.7")


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    return StagedFleet(tmp_path / "data")


def health(staged: StagedFleet, path: str = "/healthz", later: float = 0) -> tuple[int, Any]:
    """The status code and the document, `later` seconds from now."""
    observer = Observer(staged.run, tick=0, clock=lambda: time.monotonic_ns() + int(later * SECOND_NS))
    response = create_app(staged.run, observer).test_client().get(path)
    return response.status_code, json.loads(response.data)


@pytest.mark.claim("001.http-monitoring.1")
def test_healthy(staged: StagedFleet) -> None:
    """A fleet whose sensors commit, are done or were stopped is healthy; the time has the form of the seed documents."""
    staged.set(1, "done", heartbeat_ns=0)
    staged.set(2, "stopped", heartbeat_ns=0)
    status, document = health(staged)

    assert (200, "healthy") == (status, document["status"])
    assert document["timestamp"][19:] == "Z"
    assert "reason" not in document


@pytest.mark.parametrize("state", ["unready", "failed"])
def test_an_unhealthy_sensor(staged: StagedFleet, state: str) -> None:
    """One sensor that cannot write makes the fleet unhealthy, with its id and the reason; the others stay healthy."""
    staged.set(1, state, "database or disk is full")
    status, document = health(staged)

    reason = "database or disk is full"
    assert (503, "unhealthy") == (status, document["status"])
    assert f"{sensor_name(1)} is {state}: {reason}" == document["reason"]
    assert [{"sensor_id": sensor_name(1), "state": state, "reason": reason}] == document["reasons"]
    assert 503 == health(staged, f"/workers/{sensor_name(1)}/healthz")[0]
    assert 200 == health(staged, f"/workers/{sensor_name(0)}/healthz")[0]


@pytest.mark.parametrize("state", ["starting", "healthy", "unready"])
def test_hung(staged: StagedFleet, state: str) -> None:
    """A live sensor whose heartbeat is older than 20 seconds is hung, whatever state it last recorded."""
    staged.set(1, state, heartbeat_ns=time.monotonic_ns() - 25 * SECOND_NS)
    status, document = health(staged)

    assert 503 == status
    assert {"sensor_id": sensor_name(1), "state": "hung", "reason": "no heartbeat for 25 seconds"} in document[
        "reasons"
    ]


def test_a_short_silence_is_no_hang(staged: StagedFleet) -> None:
    staged.set(1, heartbeat_ns=time.monotonic_ns() - 15 * SECOND_NS)

    assert 200 == health(staged)[0]


def test_a_fresh_process_has_not_hung_yet(staged: StagedFleet) -> None:
    """The old heartbeat of a dead predecessor does not make its successor hung."""
    now = time.monotonic_ns()
    staged.set(1, "starting", heartbeat_ns=1, started_ns=now, waiting_ns=now)

    assert 200 == health(staged)[0]


@pytest.mark.parametrize("state", ["absent", "pending", "starting", "restarting"])
def test_waiting(staged: StagedFleet, state: str) -> None:
    """A waiting sensor counts as healthy for 10 seconds, and makes the fleet unhealthy afterwards."""
    now = time.monotonic_ns()
    staged.set(1, state, waiting_ns=now)

    assert 200 == health(staged, later=8)[0]
    status, document = health(staged, later=12)
    assert (503, state) == (status, document["reasons"][0]["state"])


@pytest.mark.parametrize("state", ["pending", "starting", "restarting"])
def test_the_grace_is_not_given_again_for_each_attempt(staged: StagedFleet, state: str) -> None:
    """A worker that dies repeatedly before its first commit makes the fleet unhealthy 10 seconds after it was last healthy,
    however new its present process is, and even if the fleet is scaled meanwhile."""
    now = time.monotonic_ns()
    staged.set(1, state, started_ns=now, heartbeat_ns=now, waiting_ns=now - 12 * SECOND_NS)
    staged.write_roster(age=1)

    assert (503, state) == ((answer := health(staged))[0], answer[1]["reasons"][0]["state"])


def test_a_slow_sensor_may_start_slowly(staged: StagedFleet) -> None:
    """The first commit of one reading in 10 seconds is due 10 seconds after the start at the latest."""
    now = time.monotonic_ns()
    staged.set(1, "starting", started_ns=now, heartbeat_ns=now, waiting_ns=now)
    staged.members = tuple(replace(member, rate=0.1) for member in staged.members)
    staged.write_roster()

    assert 200 == health(staged, later=18)[0]
    assert 503 == health(staged, later=21)[0]


def test_a_sensor_that_was_added_late_may_wait_too(staged: StagedFleet) -> None:
    """The 10 seconds of a sensor that came with a later roster begin with that roster, not with the fleet."""
    staged.set(1, "pending", started_ns=0, heartbeat_ns=0)
    assert 503 == health(staged)[0]

    staged.write_roster(age=1)
    assert 200 == health(staged)[0]


def test_reasons_are_bounded(tmp_path: Path) -> None:
    """The document lists the first reasons only, and has the number of unhealthy sensors."""
    staged = StagedFleet(tmp_path / "many", 100)
    for number in range(100):
        staged.set(number, "failed", "no")
    _, document = health(staged)

    assert (MAX_REASONS, 100) == (len(document["reasons"]), document["unhealthy"])
    assert document["reason"].endswith("(and 99 more)")

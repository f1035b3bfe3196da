"""One definition of health: `fleet status`, `/healthz`, the metrics, `fleet top` and the history agree in every state."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.commands.status import build_report, status
from fleet.commands.top.screen import header_lines
from fleet.commands.top.table import build_table
from fleet.commands.top.view import ViewState
from fleet.datadir.directory import DataDirectory
from fleet.monitoring.observation import Observer
from fleet.runtime.commands import Answer
from fleet.runtime.control_server import ControlServer
from tests.fleet.staged import SECOND_NS, StagedFleet, client_of, sensor_name
from worker.scoreboard import STATES
from worker.supervision.event_loop import EventLoop

STATUS: Answer = {
    "pid": 1,
    "draining": False,
    "events": [],
    "reload": {"problems": [], "needs_restart": []},
    "rollout": None,
    "interventions": {"injections": [], "paused": 0, "probabilities": 0},
}
WAITING = ("absent", "pending", "starting", "restarting")


@contextmanager
def answering(data: Path) -> Iterator[None]:
    """A held data directory, with a control socket that answers `status`."""
    directory = DataDirectory(data)
    loop, ended = EventLoop(), threading.Event()

    def serve() -> None:
        while not ended.is_set():
            loop.run_once(loop.now + 0.02)

    server = ControlServer(directory.control, loop, lambda _: STATUS)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with (directory.run / "lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    finally:
        ended.set()
        thread.join()
        server.close()


def assert_all_agree(staged: StagedFleet, *, healthy: bool, well: int) -> None:
    """`well` sensors of three are healthy; the others wait, or make the fleet unhealthy."""
    with answering(staged.data):
        assert (0 if healthy else 1) == status.main(["--data", str(staged.data)], standalone_mode=False)
        report = build_report(DataDirectory(staged.data), STATUS)
    assert (healthy, well) == (not report["unwell"], report["healthy"])
    client = client_of(staged)
    document = client.get("/healthz")
    assert (200 if healthy else 503) == document.status_code
    assert [reason["sensor_id"] for reason in document.get_json().get("reasons", [])] == [
        reason["sensor_id"] for reason in report["unwell"]
    ]
    assert well == client.get("/metricz").get_json()["workers"]["healthy"]
    assert f"\nfleet_unhealthy_sensors {len(report['unwell'])}\n" in client.get("/metrics").text
    observation = Observer(staged.run, tick=0).observe()
    assert header_lines(observation, build_table(observation), ViewState(), 80)[0].startswith(f"{well}/3 healthy")
    assert [well] == observation.history.recent()["healthy"]


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    return StagedFleet(tmp_path / "data")


@pytest.mark.parametrize("state", STATES)
def test_all_agree_in_every_state(staged: StagedFleet, state: str) -> None:
    """A state that the sensor has just entered."""
    now = time.monotonic_ns()
    staged.set(1, state, heartbeat_ns=now, waiting_ns=now if state in WAITING else 0)

    unhealthy = state in ("unready", "failed")
    assert_all_agree(staged, healthy=not unhealthy, well=2 if unhealthy or state in WAITING else 3)


@pytest.mark.parametrize("state", ["starting", "healthy", "unready", "paused"])
def test_all_agree_on_a_hung_sensor(staged: StagedFleet, state: str) -> None:
    now = time.monotonic_ns()
    staged.set(1, state, heartbeat_ns=now - 25 * SECOND_NS, waiting_ns=now)

    assert_all_agree(staged, healthy=False, well=2)


@pytest.mark.parametrize("state", WAITING)
def test_all_agree_on_an_overdue_sensor(staged: StagedFleet, state: str) -> None:
    now = time.monotonic_ns()
    staged.set(1, state, heartbeat_ns=now, waiting_ns=now - 12 * SECOND_NS)

    assert_all_agree(staged, healthy=False, well=2)


@pytest.mark.parametrize(("hang_seconds", "silence", "healthy"), [(60.0, 25, True), (60.0, 61, False), (2.0, 3, False)])
def test_a_sensor_hangs_after_the_hang_seconds_of_the_config(
    staged: StagedFleet, hang_seconds: float, silence: int, healthy: bool
) -> None:
    """They are in the roster, where all readers find them."""
    staged.set(1, heartbeat_ns=time.monotonic_ns() - silence * SECOND_NS)
    staged.write_roster(hang_seconds=hang_seconds)

    assert_all_agree(staged, healthy=healthy, well=3 if healthy else 2)


def test_the_unwell_are_named_with_their_reason(staged: StagedFleet) -> None:
    staged.set(1, "unready", "Platte voll, 5 °C")

    assert [{"sensor_id": sensor_name(1), "state": "unready", "reason": "Platte voll, 5 °C"}] == build_report(
        DataDirectory(staged.data), STATUS
    )["unwell"]

"""The status file of a live delivery: what each target has, what it lacks, and its errors."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from fleet.config.delivery import Delivery, DeliveryTarget
from fleet.datadir.delivery_status import DELIVERY_STATUS_FILE, DeliveryStatus, TargetStatus, read_delivery_status
from fleet.delivery.live import LiveDelivery
from tests.fleet.verify.damage import make_identities, select, write_database

SENSORS = 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for identity in make_identities(SENSORS):
        write_database(folder / f"{identity.sensor_id}.db", 49, sensors=[identity])
    return folder


def stored(data: Path) -> int:
    return sum(int(select(path, "SELECT count(*) FROM sensor_readings")[0][0]) for path in data.glob("*.db"))


def deliver(data: Path, *targets: str, drain_seconds: float = 0.5) -> tuple[TargetStatus, ...]:
    """Deliver after all workers have ended, as the process does at the end of a run."""
    begun = time.time()
    status_file = data.parent / DELIVERY_STATUS_FILE
    here, workers = socket.socketpair()
    workers.close()
    with here:
        config = Delivery(
            to=tuple(DeliveryTarget(to=each) for each in targets), interval=0.05, drain_seconds=drain_seconds
        )
        assert 0 == LiveDelivery(config, data, status_file, 0).run(here)
    status = read_delivery_status(data.parent)
    assert status is not None
    assert begun <= status.written_at <= time.time()
    return status.targets


def test_a_target_that_has_everything_has_no_backlog(data: Path, tmp_path: Path) -> None:
    (target,) = deliver(data, f"jsonl:{tmp_path}/out.jsonl", drain_seconds=30)

    assert (stored(data), 0, None, True) == (target.delivered, target.backlog, target.backlog_since, target.complete)
    assert target.rate > 0
    assert (0, None, None) == (target.retries, target.error, target.last_error)


def test_a_target_that_fails_has_a_backlog_and_the_error(data: Path, tmp_path: Path) -> None:
    """All that it lacks is counted although no sweep has got beyond the first database; another target goes on."""
    begun = time.time()
    down, well = deliver(data, server_that_is_down(), f"jsonl:{tmp_path}/out.jsonl")

    assert (0, stored(data), False) == (down.delivered, down.backlog, down.complete)
    assert down.error == down.last_error
    assert "no connection" in str(down.error)
    assert down.retries > 0
    assert down.backlog_since is not None
    assert down.failing_since is not None
    assert begun <= min(down.backlog_since, down.failing_since) <= down.last_error_at <= time.time()  # type: ignore[operator]
    assert (stored(data), 0, True) == (well.delivered, well.backlog, well.complete)


def test_another_process_of_the_same_run_goes_on_with_the_counts(data: Path, tmp_path: Path) -> None:
    name = f"jsonl:{tmp_path}/out.jsonl"
    before = TargetStatus(name, 1000, 10, 1, retries=5, backlog_since=7.0, last_error="full", last_error_at=8.0)
    DeliveryStatus((before,)).write(tmp_path / DELIVERY_STATUS_FILE)
    (target,) = deliver(data, name, drain_seconds=30)

    assert (1000 + stored(data), 10, 1, 5) == (target.delivered, target.duplicates, target.refused, target.retries)
    assert (None, "full", 8.0) == (target.error, target.last_error, target.last_error_at)


def test_readings_are_marked_when_the_last_target_has_them(data: Path, tmp_path: Path) -> None:
    """Also in a database that has had nothing new since another target got everything."""
    one, other = f"jsonl:{tmp_path}/one.jsonl", f"sqlite:///{tmp_path}/other.db"
    deliver(data, one, server_that_is_down())
    assert 0 == marked(data)
    deliver(data, one, other, drain_seconds=30)

    assert stored(data) == marked(data)


def test_a_target_that_cannot_be_opened_holds_up_no_other(data: Path, tmp_path: Path) -> None:
    """As after a restart of the process, when its folder has gone."""
    before = (TargetStatus(f"jsonl:{tmp_path}/gone/out.jsonl", 1000), TargetStatus("influx://plant/x", 7))
    DeliveryStatus(before).write(tmp_path / DELIVERY_STATUS_FILE)
    gone, well, earlier = deliver(data, f"jsonl:{tmp_path}/gone/out.jsonl", f"jsonl:{tmp_path}/out.jsonl")

    assert before[1] == earlier  # of a target whose URL is not read yet
    assert (f"jsonl:{tmp_path}/gone/out.jsonl", 1000, False) == (gone.name, gone.delivered, gone.complete)
    assert f"{tmp_path}/gone is no folder" in str(gone.error)
    assert (stored(data), True) == (gone.backlog, gone.backlog_since is not None)
    assert (stored(data), True, None) == (well.delivered, well.complete, well.error)
    assert 0 == marked(data)


def test_a_target_that_can_no_longer_be_opened_lacks_what_is_new(data: Path, tmp_path: Path) -> None:
    """As long as it is known by the URL that is given."""
    (tmp_path / "out").mkdir()
    name = f"jsonl:{tmp_path}/out/readings.jsonl"
    deliver(data, name, drain_seconds=30)
    (tmp_path / "out").rename(tmp_path / "moved")
    (gone,) = deliver(data, name)

    assert (0, None) == (gone.backlog, gone.backlog_since)


def test_a_target_that_can_be_opened_later_has_everything(data: Path, tmp_path: Path) -> None:
    threading.Timer(0.5, (tmp_path / "late").mkdir).start()
    (late,) = deliver(data, f"jsonl:{tmp_path}/late/out.jsonl", drain_seconds=30)

    assert (stored(data), True, None) == (late.delivered, late.complete, late.error)
    assert stored(data) == marked(data)


def server_that_is_down() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/"


def marked(data: Path) -> int:
    query = "SELECT count(*) FROM sensor_readings WHERE synced = 1"
    return sum(int(select(path, query)[0][0]) for path in data.glob("*.db"))

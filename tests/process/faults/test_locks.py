"""Databases that somebody else holds: who wants to write waits, says so, drops nothing, and catches up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest

from fleet.verify.verification import verify
from tests.process.evidence import databases, open_database
from tests.process.faults.conftest import Up, Write
from tests.process.faults.fault_injection import FaultInjector
from tests.process.running_fleet import FleetProcess, fleet, wait_for
from worker.clock import elapsed_ns
from worker.storage.connection import BUSY_TIMEOUT_MS, JOURNAL_SIZE_LIMIT_BYTES

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.claim(
        "000.error-handling.1", "001.architecture.3", "001.troubleshooting.12", "002.introduction-features.8"
    ),
]

CHECKPOINT_BYTES = 1000 * (4096 + 24)
"""The size at which SQLite copies the write-ahead log into the database, if nobody reads what is older."""


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Held by another program, from the next moment at which nobody else has it."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.set_busy_timeout(10_000)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def health(running: FleetProcess, path: str = "/healthz") -> tuple[int, Any]:
    """The answer; (0, None) while nobody answers."""
    try:
        return running.get(path)
    except OSError:
        return 0, None


def lag(running: FleetProcess, sensor: str) -> float:
    """Seconds."""
    return float(running.row(sensor)["lag_us"]) / 1e6


def healthy(running: FleetProcess, seconds: float = 30.0) -> None:
    """Once all sensors are."""
    wait_for(lambda: {"healthy"} == {running.state(sensor) for sensor in running.sensors}, "all are healthy", seconds)


def assert_complete(running: FleetProcess) -> None:
    """End the fleet: everything that was due is there, once, unaltered, in order, under one epoch."""
    seconds = (elapsed_ns() - running.roster.started_ns) / 1e9
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == running.wait()
    for member in running.roster.members:
        assert int(running.row(member.sensor_id)["next_seq"]) >= int(seconds * member.rate), member.sensor_id
    verdict = verify(running.data)
    assert verdict.ok, verdict.findings
    assert len(running.sensors) == verdict.sensors
    for path in databases(running.data):
        with open_database(path) as connection:
            assert {("start",)} == set(connection.execute("SELECT reason FROM epochs"))


def reasons(running: FleetProcess) -> dict[str, dict[str, str]]:
    """Why the fleet is unhealthy, by sensor."""
    return {reason["sensor_id"]: reason for reason in (health(running)[1] or {}).get("reasons", [])}


@pytest.mark.parametrize("layout", ["own", "shared"])
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(200)])])
@pytest.mark.claim("001.troubleshooting.7")
def test_a_database_that_is_locked_for_long(seconds: int, layout: str, up: Up, quick: Write, tmp_path: Path) -> None:
    """Paused and unready, which /healthz and `fleet status` explain, for as long as it takes; afterwards everything
    is made up for within seconds. Who writes elsewhere does not notice."""
    running = up("-c", quick(database=layout)).ready()
    held = running.sensors if layout == "shared" else ["S_000002"]
    database = "sensor_data.db" if layout == "shared" else "S_000002.db"
    with write_lock(tmp_path / "data" / database):
        wait_for(lambda: {"unready"} == {running.state(sensor) for sensor in held}, "they are unready")
        stands = [int(running.row(sensor)["next_seq"]) for sensor in held]
        wait_for(lambda: set(reasons(running)) == set(held), "the fleet is unhealthy for them")
        assert 503 == health(running)[0]
        told = reasons(running)
        assert all(f"{database}: database is locked" in reason["reason"] for reason in told.values())
        status = fleet("status", "--data", running.data)
        assert 1 == status.returncode
        assert all(f"{sensor}: unready: {database}: database is locked" in status.stdout for sensor in held)
        wait_for(lambda: min(lag(running, sensor) for sensor in held) > seconds, "the lag is told", seconds + 30)
        assert stands == [int(running.row(sensor)["next_seq"]) for sensor in held]
        others = [sensor for sensor in running.sensors if sensor not in held]
        assert all(running.state(sensor) == "healthy" and lag(running, sensor) < 5 for sensor in others)

    healthy(running, 10.0)
    wait_for(lambda: max(lag(running, sensor) for sensor in running.sensors) < 2.0, "all has been made up for", 10.0)
    wait_for(lambda: health(running)[0] == 200, "the fleet is healthy", 10.0)
    assert 0 == sum(int(running.row(sensor)["restarts"]) for sensor in running.sensors)
    assert_complete(running)


@pytest.mark.parametrize("writers", [20, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
@pytest.mark.claim("001.simulator.5")
def test_one_of_many_writers_stops_inside_a_transaction(
    writers: int, up: Up, quick: Write, fault_injector: FaultInjector, tmp_path: Path
) -> None:
    """All others wait for the lock that it holds; it is killed after hang_seconds, and everybody goes on. Nobody else
    dies of it."""
    config = quick(count=writers, database="shared", hang=3, batch_interval=1.0)
    running = up("-c", config, "--no-http").ready()
    fault_injector.inject("sensor_data.db", "hold")
    wait_for(fault_injector.injected, "one is stopped")
    stopped = psutil.Process(fault_injector.injected()[0].pid)
    with pytest.raises(apsw.BusyError), closing(apsw.Connection(str(tmp_path / "data" / "sensor_data.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
    assert psutil.STATUS_STOPPED == stopped.status()

    wait_for(lambda: not stopped.is_running(), "it is killed", 20.0)
    healthy(running, 60.0)
    assert 1 == sum(int(running.row(sensor)["restarts"]) for sensor in running.sensors)
    assert 1 == running.output.count("no heartbeat for 3 s")
    assert_complete(running)


def checkpoints(path: Path) -> int:
    """How often the log was begun anew: a number in its header."""
    with path.with_name(path.name + "-wal").open("rb") as log:
        return int.from_bytes(log.read(16)[12:], "big")


def wal_bytes(running: FleetProcess, sensor: str) -> int:
    """As the operator sees it."""
    status, stats = running.get(f"/workers/{sensor}/db_stats")
    assert 200 == status
    return int(stats["wal_size_bytes"])


def test_a_reader_that_stays(up: Up, quick: Write, tmp_path: Path) -> None:
    """As long as it reads, the log grows, because it still needs what is older; the operator sees that, and nobody is
    stopped. Once it is gone the log is begun anew, grows no more, and gives back the room that it took."""
    running = up("-c", quick(count=1), "--rate", 5000).ready()
    path = tmp_path / "data" / "S_000001.db"
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT max(seq) FROM sensor_readings").get
        begun = checkpoints(path)
        wait_for(lambda: wal_bytes(running, "S_000001") > 3 * CHECKPOINT_BYTES, "the log has grown", 60.0)
        assert begun + 1 >= checkpoints(path)
        assert before == reader.execute("SELECT max(seq) FROM sensor_readings").get
        assert "healthy" == running.state("S_000001")

    wait_for(lambda: checkpoints(path) > begun + 2, "the log is begun anew again and again")
    most = wal_bytes(running, "S_000001")
    wait_for(lambda: checkpoints(path) > begun + 4, "and again")
    assert most >= wal_bytes(running, "S_000001")
    wait_for(lambda: wal_bytes(running, "S_000001") <= JOURNAL_SIZE_LIMIT_BYTES, "the log is cut")
    assert_complete(running)


@pytest.mark.parametrize("layout", ["own", "shared"])
@pytest.mark.claim("002.database-sync.1")
def test_a_collector_that_marks_rows_in_long_batches(layout: str, up: Up, quick: Write, tmp_path: Path) -> None:
    """It has the write lock most of the time. The fleet goes on between its batches, and no mark and no reading is
    lost to the other."""
    running = up("-c", quick(database=layout), "--no-http").ready()
    database = tmp_path / "data" / ("sensor_data.db" if layout == "shared" else "S_000002.db")
    ended = threading.Event()
    marked: list[int] = []
    collector = threading.Thread(target=collect, args=(database, ended, marked))
    collector.start()
    try:
        wait_for(lambda: len(marked) >= 100, "a hundred readings are collected", 60.0)
    finally:
        ended.set()
        collector.join()

    healthy(running)
    assert 0 == sum(int(running.row(sensor)["restarts"]) for sensor in running.sensors)
    assert_complete(running)
    with open_database(database) as connection:
        found = connection.execute("SELECT id FROM sensor_readings WHERE synced = 1 ORDER BY id").fetchall()
    assert sorted(marked) == [number for (number,) in found]


def collect(database: Path, ended: threading.Event, marked: list[int]) -> None:
    """Mark what is unmarked, in transactions that take longer than a worker's attempt; the ids go to `marked`."""
    with closing(apsw.Connection(str(database))) as connection:
        connection.set_busy_timeout(10_000)
        while not ended.wait(0.1):
            connection.execute("BEGIN IMMEDIATE")
            batch = connection.execute("UPDATE sensor_readings SET synced = 1 WHERE synced = 0 RETURNING id").fetchall()
            ended.wait(2 * BUSY_TIMEOUT_MS / 1000)
            connection.execute("COMMIT")
            marked += [number for (number,) in batch if isinstance(number, int)]

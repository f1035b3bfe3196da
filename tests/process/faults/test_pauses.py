"""Ten minutes in which nothing runs, as in a laptop that was closed; and a quarter of an hour and more, which is too
long to be made up for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from fleet.verify.verification import verify
from tests.process.evidence import read_records
from tests.process.faults.attack import READINGS_PER_SECOND, backdate, verify_data
from tests.process.faults.conftest import Up, Write
from tests.process.running_fleet import wait_for
from tests.worker.samples import IDENTITY, MISSING, NEW_YEAR, SECOND_US, live_worker, settings
from worker.clock import elapsed_ns
from worker.process import EXIT_COMMITTED, Worker
from worker.scoreboard import Scoreboard
from worker.storage.database import Database

pytestmark = pytest.mark.thorough

SHORT, LONG = 600, 1000
"""Seconds; 900 is the longest pause that is made up for."""


class Laptop:
    """A worker of one sensor, in a thread, on a machine that can be closed for a while."""

    def __init__(self, data: Path) -> None:
        self._slept_ns = 0
        self._board = Scoreboard.create(data / "board", 1)
        spec = live_worker(data / f"{IDENTITY.sensor_id}.db", settings(MISSING, rate=str(READINGS_PER_SECOND)))
        self._origin_ns = spec.run.origin_ns
        self._theirs, self._lifeline = socket.socketpair()
        worker = Worker(spec, 1, self._theirs, self._board, Database(spec.store), self._now)
        self._codes: list[int] = []
        self._thread = threading.Thread(target=lambda: self._codes.append(worker.run()))
        self._thread.start()

    def close(self, seconds: float) -> None:
        """And open it again."""
        self._slept_ns += round(seconds * 1e9)

    @property
    def row(self) -> Any:
        return self._board.snapshot()[0]

    @property
    def due(self) -> int:
        """The number of readings whose time has come, were there no epoch but the first."""
        return (self._now() - self._origin_ns) * READINGS_PER_SECOND // 1_000_000_000 + 1

    def _now(self) -> int:
        return elapsed_ns() + self._slept_ns

    def end(self) -> list[int]:
        """The exit code, unless it ended by an exception."""
        self._lifeline.close()
        self._thread.join()
        self._theirs.close()
        return self._codes


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    laptop = Laptop(tmp_path)
    yield laptop
    laptop.end()


def test_a_laptop_that_was_closed(laptop: Laptop, tmp_path: Path) -> None:
    """All that was due in ten minutes is made up for within seconds, and the worker is on schedule again."""
    wait_for(lambda: laptop.row["commits"] > 1, "it works")

    laptop.close(SHORT)

    wait_for(lambda: laptop.row["next_seq"] > SHORT * READINGS_PER_SECOND, "it catches up", 15.0)
    wait_for(lambda: laptop.due - laptop.row["next_seq"] < READINGS_PER_SECOND, "it is on schedule")
    wait_for(lambda: laptop.row["lag_us"] < SECOND_US, "so it says")
    assert [EXIT_COMMITTED] == laptop.end()
    seen = read_records(tmp_path)[IDENTITY.sensor_id]
    assert [(0, "start")] == seen.epochs
    assert seen.next_seq > SHORT * READINGS_PER_SECOND
    assert verify(tmp_path).ok


def test_a_laptop_that_was_closed_for_too_long(laptop: Laptop, tmp_path: Path) -> None:
    """The worker goes on from the present: what was left out is on record as an epoch, and no number is."""
    wait_for(lambda: laptop.row["commits"] > 1, "it works")

    laptop.close(LONG)

    wait_for(lambda: laptop.row["timestamp_us"] > NEW_YEAR + LONG * SECOND_US, "it goes on")
    assert [EXIT_COMMITTED] == laptop.end()
    seen = read_records(tmp_path)[IDENTITY.sensor_id]
    assert ["start", "skip"] == [reason for _, reason in seen.epochs]
    assert seen.next_seq < 60 * READINGS_PER_SECOND
    assert verify(tmp_path).ok


def test_a_fleet_that_was_down(up: Up, quick: Write, tmp_path: Path) -> None:
    """`resume: skip` goes on from the present, as an epoch on record; `catch_up` makes up for all of it. Either way
    each sensor has all that was due at the end."""
    told = ("-c", quick(count=1), "--no-http", "--for")
    assert 0 == up(*told, "0.5s").wait()
    for policy in ("skip", "catch_up"):
        backdate(copytree(tmp_path / "data", tmp_path / policy), SHORT)
    runs = [up(*told, "1s", "--resume", policy, data=tmp_path / policy) for policy in ("skip", "catch_up")]
    assert [0, 0] == [running.wait() for running in runs]

    (skipped,) = verify_data(tmp_path / "skip", 1, 30).values()
    assert [(0, "start"), (10, "resume")] == skipped.epochs
    (caught_up,) = verify_data(tmp_path / "catch_up", 1).values()
    assert [(0, "start")] == caught_up.epochs
    assert (SHORT + 1) * READINGS_PER_SECOND < caught_up.next_seq < (SHORT + 60) * READINGS_PER_SECOND
    assert verify(tmp_path / "catch_up", complete=True).ok

"""A history that is written first, at full speed, and live readings behind it in the same timeline."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fleet.datadir.directory import DataDirectory
from tests.process.conftest import Up
from tests.process.evidence import read_records
from tests.process.running_fleet import FleetProcess, fleet, wait_for


def start_of(data: Path) -> datetime:
    manifest = DataDirectory(data).read_manifest()
    assert manifest is not None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=manifest.start_us)


def test_the_history_and_the_live_readings_are_one_timeline(up: Up, lively: Path, tmp_path: Path) -> None:
    """Rows, episodes and epochs are those of a fleet that has always run. --for counts from the seam."""
    options = ("-c", lively, "--rate", 4, "--seed", 7, "--no-http", "--sensors-per-worker", 3)
    running = up(*options, "--backfill", "1h", "--for", "2s")
    assert 0 == running.wait(), running.output
    found = read_records(running.data)
    assert "success rate: 100.00% of the readings that were due" in running.output

    other = up(
        *options,
        "--start",
        start_of(running.data).isoformat(),
        "--for",
        "3602s",
        "--speed",
        10_000,
        data=tmp_path / "other",
    )
    assert 0 == other.wait(), other.output
    assert found == read_records(other.data)
    for seen in found.values():
        assert (4 * 3602, [(0, "start")]) == (seen.next_seq, seen.epochs)
    assert abs(datetime.now(UTC) - start_of(running.data) - timedelta(hours=1)) < timedelta(minutes=1)
    manifest = DataDirectory(running.data).read_manifest()
    assert manifest is not None
    assert manifest.backfilled


def test_a_history_survives_kills_and_stops(up: Up, lively: Path) -> None:
    """A later start goes on with it although it skips to now as a rule; none of its readings is left out or changed."""
    running = up("-c", lively, "--seed", 7, "--no-http", "--backfill", "2h")
    kill_in_history(running)
    again = up("-c", lively, "--no-http")  # no --backfill
    interrupt_in_history(again)

    last = up("-c", lively, "--backfill", "2h").ready()
    wait_for(lambda: "the history of 2h is written" in last.output, "the history is written")
    wait_for(lambda: status(last)["states"] == {"healthy": 3}, "all are live")
    assert status(last)["backfill"] is None
    assert 0 == fleet("down", "--data", last.data).returncode
    assert 0 == last.wait()
    for seen in read_records(last.data).values():
        assert [(0, "start")] == seen.epochs
        assert seen.next_seq > 2 * 3600 * 20
    verdict = fleet("verify", "--data", last.data)
    assert 0 == verdict.returncode, verdict.stdout


def kill_in_history(running: FleetProcess) -> None:
    wait_until_backfilling(running)
    for process in running.processes():
        process.send_signal(signal.SIGKILL)
    running.process.wait()
    running.wait_until_gone()


def interrupt_in_history(running: FleetProcess) -> None:
    """Ctrl-C does not wait for the rest of the history, and is a clean end."""
    wait_until_backfilling(running)
    running.interrupt()
    assert 0 == running.wait(), running.output
    assert "of the history is written, the next start goes on with it" in running.output
    assert all(seen.next_seq < 2 * 3600 * 20 for seen in read_records(running.data).values())


def wait_until_backfilling(running: FleetProcess) -> None:
    running.ready()
    wait_for(lambda: {"backfilling"} == {running.state(sensor) for sensor in running.sensors}, "a history is written")


def status(running: FleetProcess) -> dict[str, Any]:
    answer = fleet("status", "--json", "--data", running.data)
    found: dict[str, Any] = json.loads(answer.stdout)
    assert not found["unwell"]
    return found

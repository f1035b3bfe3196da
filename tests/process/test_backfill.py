"""`fleet backfill` as processes: kills at random, a fleet that goes on from a history, targets."""

from __future__ import annotations

import random
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest

from tests.process.running_fleet import ENVIRONMENT, command, fleet, wait_for

pytestmark = pytest.mark.process

HISTORY = ("--from", "2026-01-01", "--to", "2026-01-06", "--rate", "1/20s", "--replicas", 8, "--seed", 5, "--jobs", 2)


def backfill(out: Path, *more: object) -> None:
    done = fleet("backfill", *HISTORY, "--out", out, *more)
    assert 0 == done.returncode, done.stderr


def kill_at_random(out: Path, kills: int, *more: object) -> None:
    """Run the command as often, and kill it, or one of its processes, after a part of a second."""
    chance = random.Random(7)
    for number in range(kills):
        running = subprocess.Popen(
            command("backfill", *HISTORY, "--out", out, *more), env=ENVIRONMENT, stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(0.3 + chance.random())
            children = psutil.Process(running.pid).children() if running.poll() is None else []
            if children and number % 2:
                chance.choice(children).kill()
                time.sleep(0.2)
        finally:
            running.kill()
            running.wait()


def files(out: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob(pattern)}


def test_a_backfill_that_is_killed_again_and_again_has_the_same_bytes(tmp_path: Path) -> None:
    backfill(tmp_path / "undisturbed")
    kill_at_random(tmp_path / "killed", 5)
    backfill(tmp_path / "killed")

    expected = files(tmp_path / "undisturbed", "*.db*")
    assert expected == files(tmp_path / "killed", "*.db*")
    assert 8 == len(expected)
    verified = fleet("verify", "--complete", "--data", tmp_path / "killed")
    assert 0 == verified.returncode, verified.stdout


def test_a_fleet_goes_on_from_a_history_without_a_seam(tmp_path: Path) -> None:
    """With `--resume catch_up` it is as if it had always run: no epoch begins, no number is left out."""
    data = tmp_path / "data"
    history = ("--from", "1h", "--rate", 2, "--replicas", 3, "--seed", 3)
    done = fleet("backfill", *history, "--out", data)
    assert 0 == done.returncode, done.stderr
    lived = fleet("up", "--data", data, "--for", "2s", "--no-http", "--resume", "catch_up")
    assert 0 == lived.returncode, lived.stderr

    databases = sorted(data.glob("*.db"))
    assert 3 == len(databases)
    for database in databases:
        with closing(apsw.Connection(str(database))) as connection:
            assert [(0, "start")] == connection.execute("SELECT first_seq, reason FROM epochs").fetchall()
            assert 7200 < connection.execute("SELECT next_seq FROM checkpoints").get
    assert 0 == fleet("verify", "--complete", "--data", data).returncode
    databases[0].unlink()
    again = fleet("backfill", *history, "--out", data)
    assert 1 == again.returncode
    assert f"{databases[0]}: is missing, although the history was complete" in again.stderr


def test_a_history_is_what_a_fleet_has_written_that_lived_it(tmp_path: Path) -> None:
    """An hour of readings at one a second, lived in two seconds."""
    same = ("--rate", 1800, "--replicas", 2, "--seed", 3)
    made = fleet("backfill", "--from", "2026-01-01", "--for", "2s", *same, "--out", tmp_path / "made")
    assert 0 == made.returncode, made.stderr
    lived = fleet(
        "up", "--start", "2026-01-01T00:00:00Z", "--for", "2s", *same, "--no-http", "--data", tmp_path / "lived"
    )
    assert 0 == lived.returncode, lived.stderr

    for database in (tmp_path / "made").glob("*.db"):
        assert content(database) == content(tmp_path / "lived" / database.name)


def content(database: Path) -> list[Any]:
    with closing(apsw.Connection(str(database))) as connection:
        tables = ("sensor_readings", "anomaly_episodes")
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


def test_a_delivery_of_a_history_that_is_killed_goes_on(tmp_path: Path) -> None:
    data, target = tmp_path / "data", f"sqlite:///{tmp_path / 'central.db'}"
    arguments = ("--from", "2026-01-01", "--for", "3h", "--rate", "1/2s", "--replicas", 2, "--seed", 3, "--to", target)
    running = subprocess.Popen(
        command("backfill", *arguments, "--out", data), env=ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    try:
        wait_for((tmp_path / "central.db").exists, "the delivery has begun")
    finally:
        running.kill()
        running.wait()
    done = fleet("backfill", *arguments, "--out", data)

    assert 0 == done.returncode, done.stderr
    compared = fleet("verify", "--data", data, "--against", target)
    assert 0 == compared.returncode, compared.stdout
    assert [] == [path for path in data.glob("*.db") if path.stat().st_size > 1_000_000]
    elsewhere = fleet("backfill", *arguments[:-1], f"csv:{tmp_path / 'all.csv'}", cwd=tmp_path)
    assert 0 == elsewhere.returncode, elsewhere.stderr
    assert "fleet-backfill-" not in elsewhere.stderr

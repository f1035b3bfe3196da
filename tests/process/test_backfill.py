"""`fleet backfill` as processes: kills at random, a fleet that goes on from a history, targets."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.process.running_fleet import ENVIRONMENT, command, fleet

pytestmark = pytest.mark.process

HISTORY = ("--from", "2026-01-01", "--to", "2026-01-11", "--rate", "1/20s", "--replicas", 8, "--seed", 5, "--jobs", 2)


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
    kill_at_random(tmp_path / "killed", 6)
    backfill(tmp_path / "killed")

    expected = files(tmp_path / "undisturbed", "*.db*")
    assert expected == files(tmp_path / "killed", "*.db*")
    assert 8 == len(expected)
    verified = fleet("verify", "--complete", "--data", tmp_path / "killed")
    assert 0 == verified.returncode, verified.stdout

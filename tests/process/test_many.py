"""Fleets of the size that people start: slow, and the whole machine's."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from tests.process.conftest import Up
from tests.process.evidence import assert_complete, databases
from tests.process.running_fleet import FleetProcess


def memory(running: FleetProcess) -> float:
    """Proportional megabytes of the whole tree."""
    return sum(process.memory_full_info().pss for process in running.processes()) / 1e6


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["own", "shared"])
def test_a_hundred_workers(shape: str, up: Up, tmp_path: Path) -> None:
    """All have committed within 3 seconds of the first start, in under 650 MB, and every reading is there."""
    arguments = ["--shared-db"] if shape == "shared" else []
    running = up("--replicas", 100, "--rate", 10, "--for", "20s", *arguments).ready()
    (took,) = re.findall(r"all workers have committed, ([\d.]+) s", running.output)

    assert float(took) < 3.0
    if hasattr(psutil.Process().memory_full_info(), "pss"):
        assert memory(running) < 650
    assert 0 == running.wait(60)
    assert_complete(tmp_path / "data", 100, 200)
    assert (100 if shape == "own" else 1) == len(databases(tmp_path / "data"))


@pytest.mark.slow
def test_a_thousand_workers(up: Up, tmp_path: Path) -> None:
    """A reading a second each: all of them, and no restart."""
    running = up("--replicas", 1000, "--rate", 1, "--for", "30s")

    assert 0 == running.wait(90)
    assert "restarts: 0" in running.output
    assert_complete(tmp_path / "data", 1000, 30)

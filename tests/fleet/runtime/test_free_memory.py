"""A fleet that does not fit into memory is refused, in one line that says what would fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fleet.errors import UserError
from fleet.runtime import free_memory

pytestmark = pytest.mark.claim("001.troubleshooting.16")

ROOT = Path(__file__).resolve().parents[3]


def test_what_fits_is_allowed() -> None:
    free_memory.check_memory(100, 100, free=700_000_000)
    free_memory.check_memory(20, 10_000, free=900_000_000)


@pytest.mark.parametrize(("workers", "sensors"), [(1000, 1000), (20, 100_000)])
def test_what_does_not_fit_is_refused(workers: int, sensors: int) -> None:
    with pytest.raises(UserError, match=rf"{workers} workers .* need about .* of memory, 2\.0 GB is free") as refused:
        free_memory.check_memory(workers, sensors, free=2_000_000_000)

    assert "enough for 371 workers" in str(refused.value)
    assert "sensors_per_worker" in str(refused.value)


def test_a_container_has_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, usage = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(free_memory, "CGROUP_MEMORY_FILES", ((str(limit), str(usage)),))
    limit.write_text("300000000\n")
    usage.write_text("100000000\n")
    assert 200_000_000 == free_memory.available_memory()

    limit.write_text("max\n")
    assert free_memory.available_memory() > 200_000_000
    limit.unlink()
    assert free_memory.available_memory() > 200_000_000


def test_too_many_replicas_for_this_machine(tmp_path: Path) -> None:
    """One line, exit code 1, and nothing is made."""
    most = 100_000
    if psutil.virtual_memory().available > most * free_memory.BYTES_PER_WORKER:
        pytest.skip("this machine has room for as many as a config may ask for")
    command = [sys.executable, "-m", "fleet", "up", "--replicas", str(most), "--data", str(tmp_path / "data")]
    told = subprocess.run(
        [*command, "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 1 == told.returncode
    assert told.stderr.startswith("fleet: 100000 workers ")
    assert 1 == len(told.stderr.splitlines())
    assert not (tmp_path / "data").exists()

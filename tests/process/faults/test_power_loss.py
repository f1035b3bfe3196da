"""Power failures at any moment, with a disk as bad as may be: what each setting of `synchronous` promises."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.process.faults.crash_states import Disk
from tests.process.faults.delivery_history import Synchronous, record_history
from tests.process.faults.power_loss import simulate_power_losses

pytestmark = [pytest.mark.thorough, pytest.mark.claim("000.testing.4")]


def test_what_is_recorded_is_all_that_happened(tmp_path: Path) -> None:
    """Performed again, the operations give the very files that SQLite wrote."""
    history = record_history(tmp_path / "data", random.Random(1), "normal")
    disk = Disk("process")
    for operation in history.operations:
        disk.perform(operation)

    assert 200 < len(history.commits)
    files = disk.after(random.Random(1))
    index = files.pop(history.store.path.name + "-shm")
    assert {history.store.path.name: history.store.path.read_bytes()} == files
    assert len(index) in (0, 4096)


@pytest.mark.parametrize("sensors", [1, 3])
def test_full_loses_no_delivery(tmp_path: Path, sensors: int) -> None:
    """Whatever had returned before the power failed is there, and the rest follows without a hole."""
    verdict = simulate_power_losses(tmp_path, 2, 60, synchronous="full", sensors=sensors)

    assert () == verdict.findings
    assert 0 == verdict.behind


@pytest.mark.parametrize("sensors", [1, 3])
@pytest.mark.claim("001.troubleshooting.6")
def test_normal_loses_the_last_deliveries_as_a_whole(tmp_path: Path, sensors: int) -> None:
    """It does lose some; but what is left is what some delivery ended with, and all is made up for."""
    verdict = simulate_power_losses(tmp_path, 3, 60, synchronous="normal", sensors=sensors)

    assert () == verdict.findings
    assert 10 < verdict.behind


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_without_a_log_the_last_delivery_may_be_lost(tmp_path: Path, synchronous: Synchronous) -> None:
    """With `wal: false` a commit is the deletion of the journal, for which the directory is not synced: it can come
    back, and with it the state before that one delivery."""
    verdict = simulate_power_losses(tmp_path, 4, 40, synchronous=synchronous, wal=False)

    assert () == verdict.findings
    assert 1 == verdict.most_lost


def test_a_killed_process_loses_nothing_even_where_nothing_is_synced(tmp_path: Path) -> None:
    """What it has written is the operating system's to keep."""
    verdict = simulate_power_losses(tmp_path, 5, 25, synchronous="off", crash="process")

    assert (0, ()) == (verdict.behind, verdict.findings)


def test_without_syncs_databases_are_ruined(tmp_path: Path) -> None:
    """That the findings above are none is worth something only if there could be some; nobody is offered OFF."""
    verdict = simulate_power_losses(tmp_path, 6, 25, synchronous="off")

    assert 10 < len(verdict.findings)


def test_no_setting_helps_against_a_disk_that_lies(tmp_path: Path) -> None:
    verdict = simulate_power_losses(tmp_path, 7, 40, synchronous="full", crash="lying disk")

    assert 3 < len(verdict.findings)
    assert 10 < verdict.behind


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_hundreds_of_power_failures(tmp_path: Path, synchronous: Synchronous) -> None:
    """Another history each time: a seed that finds something is told."""
    seed = random.SystemRandom().randrange(2**32)
    verdict = simulate_power_losses(tmp_path, seed, 1000, synchronous=synchronous)

    assert () == verdict.findings, f"seed {seed}"
    assert (verdict.behind > 0) == (synchronous == "normal"), f"seed {seed}"

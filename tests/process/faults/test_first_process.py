"""A fleet that is the first process of a container: whoever loses its parent becomes its child."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from tests.process.faults.attack import verify_data
from tests.process.faults.conftest import Write
from tests.process.running_fleet import FleetProcess, wait_for

pytestmark = pytest.mark.thorough

CONTAINED = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def contained() -> bool:
    try:
        return subprocess.run([*CONTAINED, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not contained(), reason="only root may make process namespaces")
def test_workers_whose_template_died_are_buried(quick: Write, tmp_path: Path) -> None:
    """It is known how each of them ended, and none stays behind as a zombie."""
    running = FleetProcess(tmp_path / "data", tmp_path / "output", "-c", quick(), "--no-http", wrapper=CONTAINED)
    try:
        running.ready()
        (fleet,) = psutil.Process(running.pid).children()
        (template,) = fleet.children()
        workers = template.children()
        template.kill()
        wait_for(lambda: set(workers) < set(fleet.children()), "its workers are the fleet's children")
        workers[0].kill()
        wait_for(lambda: "killed by SIGKILL, restart in" in running.output, "it is known how it ended")
        wait_for(lambda: {running.state(sensor) for sensor in running.sensors} == {"healthy"}, "it is replaced")

        states = [process.status() for process in fleet.children(recursive=True)]
        assert psutil.STATUS_ZOMBIE not in states
        fleet.terminate()
        assert 0 == running.wait()
    finally:
        running.end()
    verify_data(tmp_path / "data", 3)

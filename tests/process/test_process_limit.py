"""`fleet up` where the system starts no process, as at the limit of `ulimit -u`: lines, no traceback, and no success."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.process.running_fleet import wait_for

LIMITED = """
import errno, os, subprocess, sys

def refused(*_):
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

os.fork = subprocess._fork_exec = refused
from fleet.cli import main
sys.argv[0] = "fleet"
main()
"""
UP = ("up", "--replicas", "2", "--prefix", "S", "--port", "0")


def start(data: Path, *arguments: str) -> subprocess.Popen[str]:
    with (data.parent / "output").open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-c", LIMITED, *UP, "--data", str(data), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


def test_a_fleet_that_can_start_no_process_says_so(tmp_path: Path) -> None:
    """It tries again every second; when it is stopped, what was due is not written, and that is no success."""
    output = tmp_path / "output"
    process = start(tmp_path / "data")
    try:
        lines = [
            f"{name}: no process can be started: Resource temporarily unavailable" for name in ("S_000001", "S_000002")
        ]
        lines += ["http: cannot be started: Resource temporarily unavailable"]
        wait_for(lambda: all(line in output.read_text() for line in lines), "it says so", 60)
        time.sleep(2.5)  # several attempts
        process.send_signal(signal.SIGTERM)

        assert 1 == process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert [1, 1, 1] == [output.read_text().count(line) for line in lines]
    printed = output.read_text() + (tmp_path / "data" / "run" / "fleet.log").read_text()
    assert "Traceback" not in printed
    assert "success rate: not known: 2 sensors ended with readings due" in printed
    assert "S_000001: not started: due readings are left to the next run" in printed


def test_a_fleet_that_cannot_detach_says_so(tmp_path: Path) -> None:
    process = start(tmp_path / "data", "--detach")

    assert 1 == process.wait(60)
    (line,) = (tmp_path / "output").read_text().splitlines()
    assert line.startswith("fleet: no process or thread can be started: a limit of the system is reached")

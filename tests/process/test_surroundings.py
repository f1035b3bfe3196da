"""Surroundings that a command cannot work in: no stdout, a full one, a folder that is gone. One line, no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.process.running_fleet import ENVIRONMENT, command

RUN = "up --replicas 1 --for 0.2s --no-http --data data"


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a fleet command with redirections of a shell; `fleet` stands for the program."""
    text = line.replace("fleet", " ".join(command()), 1)
    return subprocess.run(
        ["/bin/sh", "-c", text], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("streams", ["<&- >&-", "<&- >&- 2>&-"])
def test_a_closed_stdout_keeps_no_fleet_from_running(streams: str, tmp_path: Path) -> None:
    """And no file takes its number: a message would be written into it."""
    done = shell(f"fleet {RUN} {streams}", tmp_path)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert 0 == shell("fleet verify --complete --data data", tmp_path).returncode


@pytest.mark.parametrize("arguments", ["config show", "--help", "config schema"])
def test_a_full_stdout_is_one_line(arguments: str, tmp_path: Path) -> None:
    done = shell(f"fleet {arguments} >/dev/full", tmp_path)

    assert (1, "fleet: the output cannot be written: No space left on device\n") == (done.returncode, done.stderr)


def test_a_full_stderr_changes_no_exit_code(tmp_path: Path) -> None:
    assert 2 == shell("fleet frobnicate 2>/dev/full", tmp_path).returncode
    assert 1 == shell("fleet status 2>/dev/full", tmp_path).returncode


def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = shell(f"rmdir {gone}; fleet {RUN}", gone)

    expected = "fleet: the working directory has been deleted; change to another folder\n"
    assert (1, expected) == (done.returncode, done.stderr)
    assert not os.path.lexists(gone)

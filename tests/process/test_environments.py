"""Hostile surroundings and impatient users: odd paths, no room to write, nobody who listens."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.process.conftest import Up
from tests.process.evidence import assert_complete
from tests.process.running_fleet import DEFAULT_TIMEOUT_SECONDS, ENVIRONMENT, command, fleet, session, wait_for

NAMES = {"spaces": "my data & 'more'", "long": "/".join(["a" * 60] * 4), "unicode": "données °C", "dash": "-data"}


@pytest.mark.parametrize("name", NAMES)
def test_any_path_will_do(name: str, up: Up, lively: Path, tmp_path: Path) -> None:
    """Also one that is longer than the address of a Unix socket may be."""
    data = tmp_path / NAMES[name]
    running = up("-c", lively, "--no-http", data=data).ready()

    assert 0 == fleet("status", "--data", data).returncode
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait()
    assert_complete(data, 3)


def test_a_relative_path_means_where_it_was_typed(up: Up, lively: Path, tmp_path: Path) -> None:
    """And the same from another terminal in the same folder."""
    running = up("-c", lively, "--no-http", data=Path("data"), cwd=tmp_path)
    running.data = tmp_path / "data"
    running.ready()

    assert 0 == fleet("down", "--data", "data", cwd=tmp_path).returncode
    assert 0 == running.wait()
    assert_complete(tmp_path / "data", 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="/proc/self refuses root too, others have no such folder at hand")
def test_a_data_directory_that_cannot_be_written() -> None:
    """One line, exit code 1."""
    told = fleet("up", "--data", "/proc/self/fleet", "--no-http")

    assert (1, "") == (told.returncode, told.stdout)
    (line,) = told.stderr.splitlines()
    assert "/proc/self/fleet" in line


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    """One line, exit code 1, from every command."""
    path = tmp_path / "file"
    path.write_text("not a directory")
    for arguments in (["up", "--no-http"], ["status"], ["down"], ["logs"], ["scale", "3"]):
        told = fleet(*arguments, "--data", path)

        assert (1, "", 1) == (told.returncode, told.stdout, told.stderr.count("\n")), told.stderr
    assert "not a directory" == path.read_text()


def test_a_port_in_use(tmp_path: Path) -> None:
    """One line that names it, before any process starts; a try again with another port works."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        told = fleet("up", "--data", tmp_path / "data", "--port", port, "--for", "1s")

    assert (1, "") == (told.returncode, told.stdout)
    assert str(port) in told.stderr
    assert not list((tmp_path / "data").glob("*.db"))
    assert 0 == fleet("up", "--data", tmp_path / "data", "--port", 0, "--for", "1s", "--replicas", 1).returncode


def test_a_reader_that_leaves(lively: Path, tmp_path: Path) -> None:
    """`fleet up | head -1`: the fleet goes on to its end, as if nothing were."""
    data = tmp_path / "data"
    with subprocess.Popen(
        command("up", "-c", lively, "--data", data, "--no-http", "--for", "2s"),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as piped:
        assert piped.stdout is not None
        assert piped.stderr is not None
        piped.stdout.readline()
        piped.stdout.close()
        code = piped.wait(DEFAULT_TIMEOUT_SECONDS)
        errors = piped.stderr.read()

    assert (0, "") == (code, errors)
    wait_for(lambda: not session(piped.pid), "no process is left", 2.0)
    assert_complete(data, 3, 40)


def test_a_record_that_is_none(up: Up, lively: Path, tmp_path: Path) -> None:
    """One line that says what to do; nothing is overwritten."""
    data = tmp_path / "data"
    assert 0 == up("-c", lively, "--for", "0.5s", "--no-http").wait()
    (data / "fleet.json").write_text("{}")

    told = fleet("up", "-c", lively, "--data", data, "--no-http")

    assert (1, "") == (told.returncode, told.stdout)
    assert str(data / "fleet.json") in told.stderr
    assert "{}" == (data / "fleet.json").read_text()

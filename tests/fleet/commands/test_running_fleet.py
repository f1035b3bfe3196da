"""Commands to a fleet that is just starting, and to none."""

from __future__ import annotations

import fcntl
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet.commands.running_fleet import ask_fleet
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from tests.process.running_fleet import wait_for


def test_a_fleet_that_starts_is_waited_for(tmp_path: Path) -> None:
    """It holds its directory before it takes commands."""
    directory = DataDirectory(tmp_path)
    directory.run.mkdir()
    with (
        (directory.run / "lock").open("w") as lock,
        ThreadPoolExecutor(1) as pool,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        listener.settimeout(10.0)
        answer = pool.submit(ask_fleet, tmp_path, command="status")
        listener.bind(str(directory.control))
        wait_for(lambda: not answer.done(), "it waits")
        listener.listen()
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b'{"ok": true}\n')

        assert {"ok": True} == answer.result(10.0)


def test_where_no_fleet_runs_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        ask_fleet(tmp_path, command="status")

    assert (
        f"{tmp_path}: no fleet is running here; `fleet ps` lists those that run, "
        f"`fleet up --data {tmp_path}` starts one" == str(refused.value)
    )

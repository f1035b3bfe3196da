"""The program of a real server for tests, on a port of its own of the loopback interface."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.process.running_fleet import suspend, wait_for


def find_program(name: str, package: str) -> str:
    """Return the path of a program. Skips the test if the package that has it is not installed."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed ({package} has it)")
    return program


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class ServerProgram:
    """A server that can be killed and started again. It has started once it `answers`."""

    def __init__(self, command: list[str], log: Path, port: int) -> None:
        self.port, self.folder = port, log.parent
        self._command, self._log = command, log
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self._has_started, "the server answers")

    def _has_started(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return self.answers()

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Stopped for a while: it reads what was sent meanwhile when it goes on."""
        process = self.process
        suspend(process)
        try:
            yield
        finally:
            process.resume()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

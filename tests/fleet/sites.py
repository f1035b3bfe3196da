"""A server process for a staged fleet, before a control socket that only notes what it is told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet.datadir import token
from fleet.errors import UserError
from fleet.runtime.commands import Answer, AnyCommand, Restart, Scale
from fleet.runtime.control_server import ControlServer
from fleet.web.connections import TIMEOUT_SECONDS
from tests.fleet.runtime.test_control import Waiting
from tests.fleet.staged import StagedFleet

ROOT = Path(__file__).parents[2]
SERVE = """
import socket, sys
from pathlib import Path
from fleet.web.server import serve
serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]), {}, ["Fleet.Example"])
"""
JSON = "application/json"


class ServerProcess:
    """A server process for a staged fleet of three, whose commands are only noted."""

    def __init__(self, data: Path, sensors: int = 3) -> None:
        self.staged = StagedFleet(data, sensors)
        self.run = self.staged.run
        token.ensure_token(self.run / "token")
        self.token = (self.run / "token").read_text().strip()
        self.commands: list[AnyCommand] = []
        self.loop = Waiting()
        self.control = ControlServer(self.run / "control.sock", self.loop, self.handle)
        self.listener = socket.create_server(("127.0.0.1", 0))
        theirs, self.lifeline = socket.socketpair()
        numbers = self.listener.fileno(), theirs.fileno()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", SERVE, str(numbers[0]), str(self.run), str(numbers[1])],
                cwd=ROOT,
                pass_fds=numbers,
            )
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def handle(self, command: AnyCommand) -> Answer:
        self.commands.append(command)
        match command:
            case Scale():
                return {"before": 3, "count": command.count}
            case Restart():
                raise UserError(f"there is no sensor {command.sensor}")
            case _:
                return {}

    def ask(
        self, path: str, body: bytes | None = None, *, method: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://{self.host}{path}", body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error), dict(error.headers)

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
        """As the page does it; of the headers those given instead, without those that are empty."""
        usual = {"Content_Type": JSON, "Authorization": f"Bearer {self.token}"}
        named = {name: value for name, value in {**usual, **headers}.items() if value}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask(path, data, **named)[:2]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), timeout=20)

    def healthy(self) -> float:
        """Seconds that it takes to say so: the lesser of two times where the first was about a second, for a busy machine
        may stall. Whoever is held up by another is so for TIMEOUT_SECONDS."""
        seconds = self._health_check_seconds()
        return seconds if not 0.8 < seconds < TIMEOUT_SECONDS / 3 else min(seconds, self._health_check_seconds())

    def _health_check_seconds(self) -> float:
        begun = time.monotonic()
        assert 200 == self.ask("/healthz")[0]
        return time.monotonic() - begun

    def close(self) -> None:
        self.lifeline.close()
        self.listener.close()
        self.process.kill()
        self.process.wait()
        self.control.close()
        self.loop.close()


def read(client: socket.socket) -> bytes:
    with suppress(ConnectionError):
        return client.recv(65536)
    return b""

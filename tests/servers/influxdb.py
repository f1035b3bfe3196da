"""Real servers that take line protocol, on ports of their own of the loopback interface: InfluxDB 1 and VictoriaMetrics."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.process.running_fleet import wait_for

DATABASE = "fleet"

CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
auth-enabled = {auth}
"""


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in servers]
    for server in servers:
        server.close()
    return ports


class Server:
    """A program that serves HTTP on `port` and answers `ping`. `password` is who is asking, as USER:PASSWORD."""

    def __init__(self, folder: Path, port: int, command: list[str], ping: str) -> None:
        self.folder, self.port, self._command, self._ping = folder, port, command, ping
        self.password = ""
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, scheme: str = "influx", database: str = DATABASE) -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self._answers, "the server answers")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            self.get(self._ping)
        except OSError:
            return False
        return True

    def get(self, path: str, **parameters: str) -> bytes:
        return self._request(f"{path}?{urllib.parse.urlencode(parameters)}", None)

    def write(self, lines: str) -> None:
        """Write points to the database of InfluxDB by another hand."""
        self._request(f"/write?db={DATABASE}", lines.encode())

    def query(self, statement: str) -> list[dict[str, Any]]:
        """The rows that InfluxDB answers to a statement, times in nanoseconds."""
        form = urllib.parse.urlencode({"q": statement, "db": DATABASE, "epoch": "ns"}).encode()
        (result,) = json.loads(self._request("/query", form))["results"]
        assert "error" not in result, result
        return [
            dict(zip(series["columns"], values, strict=True))
            for series in result.get("series", ())
            for values in series.get("values", ())
        ]

    def _request(self, path: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        if self.password:
            request.add_header("Authorization", f"Basic {base64.b64encode(self.password.encode()).decode()}")
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())


@contextmanager
def influxdb(folder: Path, *, auth: bool = False) -> Iterator[Server]:
    """InfluxDB 1 with an empty database."""
    program = shutil.which("influxd")
    if program is None:
        pytest.skip("influxdb is not installed")
    port, rpc = free_ports(2)
    config = CONFIG.format(port=port, rpc=rpc, folder=folder, auth=str(auth).lower())
    (folder / "influxdb.conf").write_text(config)
    server = Server(folder, port, [program, "-config", str(folder / "influxdb.conf")], "/ping")
    try:
        if not auth:
            server.query(f'CREATE DATABASE "{DATABASE}"')
        yield server
    finally:
        server.kill()


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[Server]:
    program = shutil.which("victoria-metrics")
    if program is None:
        pytest.skip("victoria-metrics is not installed")
    (port,) = free_ports(1)
    options = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/storage", "-retentionPeriod=100y"]
    server = Server(folder, port, [program, *options], "/health")
    try:
        yield server
    finally:
        server.kill()

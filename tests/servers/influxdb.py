"""Real servers that take line protocol, on ports of their own of the loopback interface: InfluxDB 1 and VictoriaMetrics."""

from __future__ import annotations

import base64
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.program import ServerProgram, find_program, free_port

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


class Server(ServerProgram):
    """A program that serves HTTP on `port` and answers `ping`. `password` is who is asking, as USER:PASSWORD."""

    def __init__(self, folder: Path, port: int, command: list[str], ping: str) -> None:
        self._ping, self.password = ping, ""
        super().__init__(command, folder / "server.log", port)

    def url(self, scheme: str = "influx", database: str = DATABASE) -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
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
    program = find_program("influxd", "Debian's influxdb")
    port, rpc = free_port(), free_port()
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
    program = find_program("victoria-metrics", "Debian")
    port = free_port()
    options = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/storage", "-retentionPeriod=100y"]
    server = Server(folder, port, [program, *options], "/health")
    try:
        yield server
    finally:
        server.kill()

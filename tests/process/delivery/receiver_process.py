"""`fleet receive` as a process, spoken to over HTTP or in bytes."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

ROOT = Path(__file__).parents[3]
DEADLINE = 30.0

JSON = {"Content-Type": "application/json"}
BATCH = "/api/readings/batch"

Response = tuple[int, Any, Mapping[str, str]]


class ReceiverProcess:
    """A running one. `database` is what it writes to."""

    def __init__(self, database: Path, *flags: str, token: str | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "RECEIVE_TOKEN"}
        self.database = database
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "fleet", "receive", "--to", str(database), "--port", "0", *flags],
            cwd=ROOT,
            env=environment | ({"RECEIVE_TOKEN": token} if token is not None else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        # What does not start closes its output; what hangs is killed, which does so too.
        watch = threading.Timer(DEADLINE, self.process.kill)
        watch.start()
        self.first_line = self.process.stdout.readline()
        watch.cancel()
        message = re.search(r"http://127\.0\.0\.1:(\d+)/", self.first_line)
        assert message, f"{self.first_line!r} {self.process.communicate()}"
        self.port = int(message[1])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def post(self, document: Any, path: str = BATCH, headers: Mapping[str, str] = {}) -> Response:
        """`document` as JSON, or bytes as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        connection = self.connect()
        try:
            connection.request("POST", path, body, {**JSON, **headers})
            return parse_response(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str) -> Response:
        connection = self.connect()
        try:
            connection.request("GET", path)
            return parse_response(connection.getresponse())
        finally:
            connection.close()

    def signal(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> tuple[int, str, str]:
        """Exit code, the rest of what it printed, and what it complained of, once it has ended by itself."""
        printed, complained = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, printed, complained

    def stop(self) -> str:
        """End it as a user does; its last line."""
        self.signal()
        code, printed, complained = self.wait()
        assert (0, "") == (code, complained)
        return printed

    def stored(self, columns: str = "sensor_id, seq, temperature") -> list[tuple[Any, ...]]:
        """The rows of the database, read while the receiver runs."""
        connection = apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            return connection.execute(
                f"SELECT {columns} FROM sensor_readings ORDER BY source, sensor_id, seq"
            ).fetchall()
        finally:
            connection.close()


def parse_response(response: http.client.HTTPResponse) -> Response:
    body = response.read()
    headers = dict(response.getheaders())
    return response.status, json.loads(body) if "json" in headers["Content-Type"] else body.decode(), headers


@contextmanager
def receiving(database: Path, *flags: str, token: str | None = None) -> Iterator[ReceiverProcess]:
    receiver = ReceiverProcess(database, *flags, token=token)
    try:
        yield receiver
    finally:
        receiver.process.kill()
        receiver.process.communicate()


def reading(number: int, **more: Any) -> dict[str, Any]:
    """As our collector sends it, but for most of its columns."""
    document = {
        "id": number + 1,
        "timestamp": f"2026-01-01T00:00:{number % 60:02d}.000000+00:00",
        "sensor_id": "KIN_000001",
        "temperature": 20.0 + number,
        "seq": number,
        "generation": "g1",
    }
    return document | more


def body(*readings: Any, **more: Any) -> dict[str, Any]:
    return {"readings": list(readings), "source_db": "KIN_000001.db"} | more


def request(content: bytes, *headers: str, length: int | None = None) -> bytes:
    """A POST in bytes."""
    size = len(content) if length is None else length
    lines = [f"POST {BATCH} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {size}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def wait_until_refused(port: int) -> None:
    """Wait until the port is closed."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # it was in the queue of a listener that closed
        assert time.monotonic() < end
        time.sleep(0.02)

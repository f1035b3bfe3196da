"""An HTTP server on a free loopback port that gives scripted responses and records the requests."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from fleet.delivery.batch import NO_ROWS, Batch, Row, SourceDatabase, TableRows

COLUMNS = ("id", "timestamp", "sensor_id", "temperature", "anomaly_type", "synced", "seq")
GENERATION = "0f8fad5b-d9cb-469f-a165-70867728950e"
SOURCE = SourceDatabase(Path("KIN_569899.db"), "north/KIN_569899.db", GENERATION, COLUMNS)


def reading(number: int, temperature: Any = 21.5) -> Row:
    """Row `number`, whose seq is 100 more."""
    return (number, "2026-01-01T00:00:00.000000+00:00", "KIN_569899", temperature, None, 0, number + 100)


def batch(*ids: int, episodes: TableRows = NO_ROWS) -> Batch:
    return Batch(SOURCE, tuple(reading(number) for number in ids), episodes)


def key(number: int) -> str:
    """The key of the reading with that id."""
    return f"{GENERATION}/KIN_569899/{number + 100}"


@dataclass(frozen=True)
class ScriptedResponse:
    """A response. `raw` is sent as it is before the connection is closed; `hangs` sends nothing."""

    status: int = 200
    body: bytes = b"{}"
    headers: Sequence[tuple[str, str]] = (("Content-Type", "application/json"),)
    raw: bytes | None = None
    hangs: bool = False


def json_response(status: int, document: Any, **headers: str) -> ScriptedResponse:
    error_text = [
        ("Content-Type", "application/json"),
        *((name.replace("_", "-"), value) for name, value in headers.items()),
    ]
    return ScriptedResponse(status, json.dumps(document).encode(), error_text)


@dataclass(frozen=True)
class Request:
    path: str
    headers: Message
    body: bytes
    connection: tuple[str, int]

    def document(self) -> Any:
        packed = self.headers.get("Content-Encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


@dataclass
class ResponseScript:
    answers: Sequence[ScriptedResponse]
    requests: list[Request] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def next(self, request: Request) -> ScriptedResponse:
        """The last response is repeated for all further requests."""
        with self.lock:
            self.requests.append(request)
            return self.answers[min(len(self.requests), len(self.answers)) - 1]


class ScriptedServer:
    """Serves from `with` to its end; then no thread of it is left."""

    def __init__(self, *answers: ScriptedResponse, protocol: str = "HTTP/1.1", certificate: Path | None = None) -> None:
        self._script = ResponseScript(answers or (ScriptedResponse(),))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self._script, protocol))
        self._server.daemon_threads = False
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        with self._script.lock:
            return list(self._script.requests)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._script.over.set()
        self._server.shutdown()
        self._thread.join()
        for connection in self._script.connections:  # clients keep them for the next request
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self._server.server_close()


def handler(script: ResponseScript, protocol: str) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol
        timeout = 10
        disable_nagle_algorithm = True

        def setup(self) -> None:
            script.connections.append(self.request)
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = script.next(Request(self.path, self.headers, body, self.client_address))
            if answer.hangs:
                script.over.wait()
            if answer.hangs or answer.raw is not None:
                self.close_connection = True
                self.wfile.write(answer.raw or b"")
                return
            self.send_response_only(answer.status)  # no headers but those of the script
            for name, value in answer.headers:
                self.send_header(name, value)
            if protocol != "HTTP/1.0":
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler

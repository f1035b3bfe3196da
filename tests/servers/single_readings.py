"""An HTTP server that takes one reading per request, as the producer of document 004 expects it, and may be down for a while.

It is down in an orderly way: a request that has arrived is stored and answered, so what was not acknowledged is not there.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import BaseModel, Field, ValidationError

PATH = "/api/v1/sensors/bme280"


class BME280Reading(BaseModel):
    """The schema of document 004."""

    device_id: str
    temperature_c: float = Field(..., ge=-40, le=85)
    humidity: float = Field(..., ge=0, le=100)
    pressure_hpa: float = Field(..., ge=300, le=1100)
    timestamp: datetime | None = None
    metadata: dict[str, Any] | None = None


class ReadingServer:
    """Serves on `port` while it is up. `stored` has the documents, `keys` what their requests are called, in the order of arrival.

    `statuses` are the answers to the next requests, before anything is looked at. `busy` are keys that are answered with 503.
    """

    def __init__(self, schema: type[BaseModel] | None = BME280Reading) -> None:
        self.schema = schema
        self.stored: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.statuses: list[int] = []
        self.busy: set[str] = set()
        self.connections: list[socket.socket] = []
        self.lock = threading.Lock()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def start(self) -> None:
        self.down = False
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler(self))
        self._server.daemon_threads = False
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def stop(self) -> None:
        if self._server is None:
            return
        self.down = True
        self._server.shutdown()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        self._server.server_close()  # waits for the requests that have begun
        self._server = None

    def answer(self, path: str, key: str, body: bytes) -> tuple[int, Any]:
        with self.lock:
            if self.statuses:
                return self.statuses.pop(0), {"detail": "as the test wants it"}
            if key in self.busy:
                return 503, {"detail": "busy"}
            if path != PATH:
                return 404, {"detail": "Not Found"}
            document = json.loads(body)
            try:
                if self.schema is not None:
                    self.schema.model_validate(document)
            except ValidationError as error:
                return 422, {"detail": json.loads(error.json(include_url=False, include_context=False))}
            self.stored.append(document)
            self.keys.append(key)
            return 201, {"id": len(self.stored), **document}


def handler(server: ReadingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            server.connections.append(self.request)
            super().setup()

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return
            status, document = server.answer(self.path, self.headers["Idempotency-Key"], body)
            answer = json.dumps(document).encode()
            self.close_connection = self.close_connection or server.down
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


@contextmanager
def reading_server(schema: type[BaseModel] | None = BME280Reading) -> Iterator[ReadingServer]:
    server = ReadingServer(schema)
    try:
        yield server
    finally:
        server.stop()

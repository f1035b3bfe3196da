"""The HTTP server for requests that bring a body: connections stay open between them, and nobody can be too slow."""

from __future__ import annotations

import socket
import time
from typing import Any

from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPConnection, HTTPRequest

from fleet.delivery.receiver.request_bodies import CHUNK_BYTES
from fleet.web.connections import TIMEOUT_SECONDS
from fleet.web.server import JSONErrorRequest, ListenerServer

UPLOAD_THREADS = 16
UPLOAD_DRAIN_SECONDS = 10.0

HEADER_SECONDS = 10.0
MIN_BODY_BYTES_PER_SECOND = 128 * 1024
"""Bytes of a body per second below which a sender is too slow."""


class DeadlineSocket(socket.SocketIO):
    """Reads until a deadline. A timeout of the socket is for each read only, and one byte at a time would never end."""

    deadline = 0.0

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self.deadline:
            raise TimeoutError("timed out")  # this text is what cheroot knows
        return super().readinto(buffer)


class UploadRequest(JSONErrorRequest):
    """A request with a body of a known length."""

    conn: UploadConnection
    server: UploadServer

    def parse_request(self) -> None:
        self.conn.allow_seconds(HEADER_SECONDS)
        super().parse_request()

    def read_request_headers(self) -> bool:
        if not HTTPRequest.read_request_headers(self):  # type: ignore[no-untyped-call]
            return False
        length = self.inheaders.get(b"Content-Length", b"0")
        if not length.isdigit():  # int() takes -1, and reading so many bytes would wait for the end of the connection
            self.simple_response("400 Bad Request", "Malformed Content-Length Header.")
            return False
        if self.chunked_read:
            self.simple_response("411 Length Required", "Transfer-Encoding: give a Content-Length instead")
            return False
        self.conn.allow_seconds(HEADER_SECONDS + int(length) / MIN_BODY_BYTES_PER_SECOND)
        return True

    def send_headers(self) -> None:
        """Read what is left of the body first: a client that is still sending would not see why it is refused."""
        if self.rfile.remaining > self.server.max_unread_bytes:
            self.close_connection = True
        else:
            while self.rfile.read(CHUNK_BYTES):
                pass
        super().send_headers()


class UploadReader(StreamReader):
    def __init__(self, sock: socket.socket, mode: str, size: int) -> None:
        self.deadline_socket = DeadlineSocket(sock, "rb")
        super(StreamReader, self).__init__(self.deadline_socket, size)  # in place of a file that knows no deadline
        self.bytes_read = 0


class UploadConnection(HTTPConnection):
    """One that knows whether its client has said anything yet."""

    RequestHandlerClass = UploadRequest
    rfile: UploadReader
    has_sent_data = False

    def __init__(self, server: UploadServer, sock: socket.socket, makefile: object = None) -> None:
        super().__init__(server, sock, lambda *file: (UploadReader if file[1] == "rb" else StreamWriter)(*file))

    def allow_seconds(self, seconds: float) -> None:
        """Let what is read now have so long."""
        self.rfile.deadline_socket.deadline = time.monotonic() + seconds


class UploadServer(ListenerServer):
    """A refused body of up to `max_unread_bytes` bytes is read to its end before the answer goes out."""

    ConnectionClass = UploadConnection

    def __init__(self, listener: socket.socket, app: Any, max_unread_bytes: int) -> None:
        super().__init__(listener, app)
        self.max_unread_bytes = max_unread_bytes
        self.max_request_body_size = 0  # the application's business: here it would be refused before it was read
        self.requests.max = UPLOAD_THREADS
        self.numthreads = UPLOAD_THREADS
        self.timeout = TIMEOUT_SECONDS
        self.shutdown_timeout = UPLOAD_DRAIN_SECONDS

    def process_conn(self, conn: UploadConnection) -> None:
        """Hand a connection to a thread once there is something to read: one that says nothing would hold it until it times
        out."""
        if conn.has_sent_data:
            super().process_conn(conn)
        else:
            conn.has_sent_data = True
            self.put_conn(conn)

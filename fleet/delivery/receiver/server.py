"""The receiver as a process: its HTTP server, which limits how long a request may take, and its run until a signal."""

from __future__ import annotations

import ipaddress
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPConnection, HTTPRequest

from fleet.delivery.receiver.app import ReceiverConfig, create_app
from fleet.delivery.receiver.metrics import ReceiverMetrics
from fleet.delivery.receiver.request_bodies import CHUNK_BYTES
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.errors import UserError
from fleet.runtime.http_port import BindError, bind_http
from fleet.web.connections import TIMEOUT_SECONDS
from fleet.web.server import JSONErrorRequest, ListenerServer, run_server
from worker.supervision.signals import SignalSocket

PORT_ADVICE = "take another with --port, or 0 for any free one"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReceiverAddress:
    """The address and the central database of a receiver. Port 0 takes any free port."""

    central: Path
    host: str
    port: int


def receive(address: ReceiverAddress, config: ReceiverConfig, say: Say, warn: Say) -> int:
    """Take deliveries until SIGTERM or Ctrl-C; running requests end first. A second signal ends the process at once.

    For the main thread. UserError if the port or the file is not available.
    """
    try:
        listener, url = bind_http(address.host, address.port, PORT_ADVICE)
    except BindError as error:
        raise UserError(f"--{error.key}: {error}") from error
    with listener, closing(CentralDatabase(address.central)) as central:
        if config.token is None and not is_loopback(listener):
            warn(f"any client that can reach {url} may send readings: set RECEIVE_TOKEN to require a token")
        metrics, started_at = ReceiverMetrics(), time.monotonic()
        server = UploadServer(listener, create_app(central, config, metrics), 2 * config.max_body_bytes)
        with SignalSocket(signal.SIGTERM, signal.SIGINT) as wakeup:
            say(
                f"receiving on {url} into {address.central}"
                + (", misbehaving on purpose" if config.faults.enabled else "")
            )
            serve_until_signal(wakeup, server)
        stop_server(server)
        say(summary(metrics, time.monotonic() - started_at))
    return 0


def is_loopback(listener: socket.socket) -> bool:
    """True if only this machine can connect."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def serve_until_signal(wakeup: SignalSocket, server: UploadServer) -> None:
    """Serve until a signal comes."""
    over, alarm = socket.socketpair()
    ended = threading.Event()
    # Threads inherit the daemon flag, so a client that does not read its response cannot keep the process alive.
    threading.Thread(target=run_server, args=(server, alarm, ended), name="http", daemon=True).start()
    with over, alarm, selectors.DefaultSelector() as selector:
        selector.register(wakeup.socket, selectors.EVENT_READ)
        selector.register(over, selectors.EVENT_READ)
        selector.select()
        if ended.is_set():
            raise RuntimeError("the HTTP server ended by itself")  # its own traceback is in the log above


def stop_server(server: UploadServer) -> None:
    ending = threading.Thread(target=server.stop, name="http-stop", daemon=True)
    ending.start()
    ending.join(2 * UPLOAD_DRAIN_SECONDS)


def summary(metrics: ReceiverMetrics, seconds: float) -> str:
    readings, faults = metrics.readings(), metrics.faults()
    spoilt = (
        f"; on purpose {faults['failed']} failed and {faults['unanswered']} left unanswered"
        if any(faults.values())
        else ""
    )
    return (
        f"received {readings['accepted']} readings in {metrics.deliveries()} deliveries and {seconds:.1f} s:"
        f" {readings['accepted'] - readings['duplicate']} new, {readings['duplicate']} there already,"
        f" {readings['rejected']} rejected ({readings['conflict']} with other content){spoilt}"
    )


UPLOAD_THREADS = 16
UPLOAD_DRAIN_SECONDS = 10.0

HEADER_SECONDS = 10.0
MIN_BODY_BYTES_PER_SECOND = 128 * 1024
"""The minimum rate of a body; a slower sender is disconnected."""


class DeadlineSocket(socket.SocketIO):
    """Reads until a deadline. The timeout of a socket is per read, so a byte at a time would never reach it."""

    deadline = 0.0

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self.deadline:
            raise TimeoutError("timed out")  # cheroot recognises this text
        return super().readinto(buffer)


class UploadRequest(JSONErrorRequest):
    """A request with a body of known length."""

    conn: UploadConnection
    server: UploadServer

    def parse_request(self) -> None:
        self.conn.allow_seconds(HEADER_SECONDS)
        super().parse_request()

    def read_request_headers(self) -> bool:
        if not HTTPRequest.read_request_headers(self):  # type: ignore[no-untyped-call]
            return False
        length = self.inheaders.get(b"Content-Length", b"0")
        if not length.isdigit():  # int() accepts -1, and reading -1 bytes would wait for the end of the connection
            self.simple_response("400 Bad Request", "Malformed Content-Length Header.")
            return False
        if self.chunked_read:
            self.simple_response("411 Length Required", "Transfer-Encoding: give a Content-Length instead")
            return False
        self.conn.allow_seconds(HEADER_SECONDS + int(length) / MIN_BODY_BYTES_PER_SECOND)
        return True

    def send_headers(self) -> None:
        """Read the rest of the body first: a client that is still sending would not read the response."""
        if self.rfile.remaining > self.server.max_unread_bytes:
            self.close_connection = True
        else:
            while self.rfile.read(CHUNK_BYTES):
                pass
        super().send_headers()


class UploadReader(StreamReader):
    """A reader of a DeadlineSocket."""

    def __init__(self, sock: socket.socket, mode: str, size: int) -> None:
        self.deadline_socket = DeadlineSocket(sock, "rb")
        super(StreamReader, self).__init__(self.deadline_socket, size)  # in place of a reader without a deadline
        self.bytes_read = 0


class UploadConnection(HTTPConnection):
    """A connection with a deadline for reading."""

    RequestHandlerClass = UploadRequest
    rfile: UploadReader
    has_sent_data = False

    def __init__(self, server: UploadServer, sock: socket.socket, makefile: object = None) -> None:
        super().__init__(server, sock, lambda *file: (UploadReader if file[1] == "rb" else StreamWriter)(*file))

    def allow_seconds(self, seconds: float) -> None:
        """Set the deadline for reading, `seconds` from now."""
        self.rfile.deadline_socket.deadline = time.monotonic() + seconds


class UploadServer(ListenerServer):
    """An HTTP server for uploads. A rejected body of up to `max_unread_bytes` is read before the response is sent."""

    ConnectionClass = UploadConnection

    def __init__(self, listener: socket.socket, app: Any, max_unread_bytes: int) -> None:
        super().__init__(listener, app)
        self.max_unread_bytes = max_unread_bytes
        self.max_request_body_size = 0  # the application checks it, after reading the body
        self.requests.max = UPLOAD_THREADS
        self.numthreads = UPLOAD_THREADS
        self.timeout = TIMEOUT_SECONDS
        self.shutdown_timeout = UPLOAD_DRAIN_SECONDS

    def process_conn(self, conn: UploadConnection) -> None:
        """Pass a connection to a thread only once it has data: an idle one would occupy the thread until its timeout."""
        if conn.has_sent_data:
            super().process_conn(conn)
        else:
            conn.has_sent_data = True
            self.put_conn(conn)

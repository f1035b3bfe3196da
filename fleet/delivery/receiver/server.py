"""The receiver as a process: its HTTP server, and its run until a signal."""

from __future__ import annotations

import ipaddress
import selectors
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cheroot.server import HTTPRequest

from fleet.delivery.receiver.app import ReceiverConfig, body_bytes, create_app
from fleet.delivery.receiver.connections import UploadConnection, UploadConnectionManager
from fleet.delivery.receiver.metrics import ReceiverMetrics
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.errors import UserError
from fleet.runtime.http_port import BindError, bind_http
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
        server = UploadServer(listener, create_app(central, config, metrics), config)
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
    server.drain(UPLOAD_DRAIN_SECONDS)
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

MAX_HELD_BODIES = 8
"""Bodies of the largest size whose bytes are held at a time, complete or not; beyond, the slowest sender is disconnected."""


class UploadRequest(JSONErrorRequest):
    """A request whose body has been received, unless its headers rule it out."""

    conn: UploadConnection

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
        if int(length) > len(self.conn.rfile):
            self.close_connection = True  # the rest of the body would be taken for the next request
        return True


class UploadServer(ListenerServer):
    """An HTTP server for uploads, which slow senders cannot block (`fleet.delivery.receiver.connections`)."""

    class ConnectionClass(UploadConnection):
        RequestHandlerClass = UploadRequest

    def __init__(self, listener: socket.socket, app: Any, config: ReceiverConfig) -> None:
        super().__init__(listener, app)
        self._config = config
        self.max_request_body_size = 0  # the application checks it
        self.requests.max = UPLOAD_THREADS
        self.numthreads = UPLOAD_THREADS
        self.timeout = HEADER_SECONDS
        self.min_body_bytes_per_second = MIN_BODY_BYTES_PER_SECOND
        self.max_held_bytes = MAX_HELD_BODIES * config.max_body_bytes
        self.shutdown_timeout = UPLOAD_DRAIN_SECONDS
        self._live = weakref.WeakSet[UploadConnection]()
        self.draining, self.drained = threading.Event(), threading.Event()

    def prepare(self) -> None:
        super().prepare()
        default: Any = self._connections  # the stubs leave it out
        default.close()
        self._connections: Any = UploadConnectionManager(self)

    def body_bytes(self, head: bytes) -> int:
        """The bytes of the body that are received before the request is handled."""
        return body_bytes(head, self._config)

    def held_bytes(self) -> int:
        """The bytes of all requests that are not handled yet."""
        return sum(len(connection.rfile) for connection in list(self._live))

    def process_conn(self, conn: UploadConnection) -> None:
        """Pass a connection to a thread once its request has arrived."""
        self._live.add(conn)
        if conn.lingers:
            if conn.drop():
                conn.close()
            else:
                self._connections.watch(conn, selectors.EVENT_READ)
        elif conn.wfile.unsent:
            self._connections.put(conn)
        elif conn.receive():
            super().process_conn(conn)
        else:
            self._connections.watch(conn, selectors.EVENT_READ)

    def drain(self, seconds: float) -> None:
        """Accept no further connection, and wait until the requests that have begun have arrived."""
        self.draining.set()
        self.drained.wait(seconds)

"""The HTTP server process: cheroot on a socket that is bound already, until the supervisor says or is gone.

The supervisor binds the port before it starts anything, and keeps the listening socket: while a server is replaced,
clients wait in the queue instead of being refused.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cheroot import errors, wsgi
from cheroot.server import HTTPRequest

from fleet.monitoring.observation import FleetUnavailable, Observer
from fleet.web.app import create_app
from fleet.web.connections import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    TIMEOUT_SECONDS,
    BufferedConnection,
    BufferedConnectionManager,
)
from fleet.web.malloc import limit_malloc_arenas

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

WORKER_THREADS = 8
MAX_QUEUED_CONNECTIONS = 128
MAX_KEEPALIVE_CONNECTIONS = 64

# A request gets this long to end before the process does.
DRAIN_SECONDS = 0.4

log = logging.getLogger("fleet.http")


class JSONErrorRequest(HTTPRequest):
    """A request whose refusals below the application (too long, malformed) are JSON as all others are."""

    def read_request_line(self) -> bool:
        try:
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]
        except ValueError:  # half an IPv6 address, which urlsplit() does not take
            self.simple_response("400 Bad Request", "Malformed Request-URI")
            return False

    def read_request_headers(self) -> bool:
        understood = bool(super().read_request_headers())  # type: ignore[no-untyped-call]
        length = self.inheaders.get(b"Content-Length", b"0")
        if understood and not (length.isdigit() and int(length) <= len(self.conn.rfile.received)):
            # It was gathered by what it said of its length, and nobody is going to wait for more.
            self.simple_response("400 Bad Request", "Malformed Content-Length Header")
            return False
        if self.inheaders.get(b"Content-Length", b"0") != b"0" or self.inheaders.get(b"Transfer-Encoding"):
            self.close_connection = True  # not all who answer read a body, and what is left would be the next request
        return understood

    def simple_response(self, status: Any, msg: str | bytes = "") -> None:
        told = msg.decode("latin-1") if isinstance(msg, bytes) else str(msg)
        body = json.dumps({"error": told or str(status)[4:]}).encode()
        self.close_connection = True
        head = (
            f"{self.server.protocol} {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        try:
            self.conn.wfile.write(head.encode("latin-1") + body)
        except OSError as error:
            if error.errno not in errors.socket_errors_to_ignore:
                raise


class JSONErrorConnection(BufferedConnection):
    """A connection whose refusals are JSON."""

    RequestHandlerClass = JSONErrorRequest


class ListenerServer(wsgi.Server):
    """Cheroot on the socket that it is given, with limits."""

    keep_alive_conn_limit = MAX_KEEPALIVE_CONNECTIONS
    max_request_header_size = MAX_HEADER_BYTES
    max_request_body_size = MAX_BODY_BYTES
    expiration_interval = 0.2  # also how long the loop takes to notice that it is to stop

    def __init__(self, listener: socket.socket, app: Any) -> None:
        super().__init__(
            listener.getsockname()[:2],
            app,
            numthreads=WORKER_THREADS,
            max=WORKER_THREADS,
            server_name="fleet",
            request_queue_size=MAX_QUEUED_CONNECTIONS,
            accepted_queue_size=MAX_QUEUED_CONNECTIONS,
            accepted_queue_timeout=1,
            timeout=TIMEOUT_SECONDS,
        )
        self.shutdown_timeout = DRAIN_SECONDS
        self._listener = listener

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:  # noqa: A002
        # An answer goes out in two parts, and the second would wait 40 ms for the client to confirm the first.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = self._listener
        return self._listener

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(level, "%s", msg, exc_info=traceback)


class FleetServer(ListenerServer):
    """For requests that are small."""

    ConnectionClass = JSONErrorConnection

    def prepare(self) -> None:
        super().prepare()
        before: Any = self._connections  # of which the stubs know nothing
        before.close()
        self._connections: Any = BufferedConnectionManager(self)

    def process_conn(self, conn: BufferedConnection) -> None:
        """Hand a connection to a thread once there is a whole request to read: browsers open some just in case, and
        each of those would hold a thread until it times out."""
        if conn.wfile.unsent:
            self._connections.put(conn)
        elif conn.receive():
            super().process_conn(conn)
        else:
            self._connections.watch(conn, selectors.EVENT_READ)


def serve(
    listener: socket.socket,
    run_directory: Path,
    stop: FileDescriptorLike,
    path_aliases: Mapping[str, str] = {},
    allowed_hosts: Collection[str] = (),
) -> None:
    """Serve the fleet in `run_directory` on `listener` until `stop` becomes readable or ends, or SIGTERM comes; then
    return within a second. `path_aliases` and `allowed_hosts` are as of `create_app`. For the main thread of a process of its own: SIGINT is ignored from here on."""
    limit_malloc_arenas()
    os.environ.pop("LISTEN_PID", None)  # with it cheroot would serve on descriptor 3, whatever that is here
    observer = Observer(run_directory)
    server = FleetServer(listener, create_app(run_directory, observer, path_aliases, allowed_hosts))
    awake, alarm = socket.socketpair()
    with awake, alarm:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        signal.signal(signal.SIGTERM, lambda *_: alarm.send(b"x"))
        # Threads inherit being daemons, so a database that does not answer cannot keep the process.
        ended = threading.Event()
        threading.Thread(target=run_server, args=(server, alarm, ended), name="http", daemon=True).start()
        wait_until_stopped(observer, (stop, awake))
        if ended.is_set():
            raise RuntimeError("the HTTP server ended by itself")  # its own traceback is in the log above
        ending = threading.Thread(target=server.stop, name="http-stop", daemon=True)
        ending.start()
        ending.join(2 * DRAIN_SECONDS)


def run_server(server: FleetServer, alarm: socket.socket, ended: threading.Event) -> None:
    try:
        server.start()
    finally:
        ended.set()
        with suppress(OSError):  # closed: the end was not ours
            alarm.send(b"x")


def wait_until_stopped(observer: Observer, ends: tuple[FileDescriptorLike, ...]) -> None:
    """Return when one of `ends` is readable. Until then look at the fleet once a second, so that the pace is known
    before anybody asks."""
    with selectors.DefaultSelector() as selector:  # select() ends at descriptor 1024, and a supervisor has more
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        while not selector.select(timeout=1.0):
            with suppress(FleetUnavailable):
                observer.observe()

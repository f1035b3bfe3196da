"""The HTTP server process: cheroot on a listening socket that the supervisor has bound.

The supervisor binds the port before it starts any process, and keeps the listening socket: while a server is replaced,
clients wait in the queue instead of being refused.
"""

from __future__ import annotations

import ctypes
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

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

WORKER_THREADS = 8
MAX_QUEUED_CONNECTIONS = 128
MAX_KEEPALIVE_CONNECTIONS = 64

DRAIN_SECONDS = 0.4
"""Seconds for requests to end before the process does."""

M_ARENA_MAX = -8
"""The number of this malloc option, https://man7.org/linux/man-pages/man3/mallopt.3.html"""

log = logging.getLogger("fleet.http")


class JSONErrorRequest(HTTPRequest):
    """A request that is refused in JSON also below the application (too long, malformed)."""

    def read_request_line(self) -> bool:
        try:
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]
        except ValueError:  # urlsplit() rejects half an IPv6 address
            self.simple_response("400 Bad Request", "Malformed Request-URI")
            return False

    def read_request_headers(self) -> bool:
        is_valid = bool(super().read_request_headers())  # type: ignore[no-untyped-call]
        length = self.inheaders.get(b"Content-Length", b"0")
        if is_valid and not (length.isdigit() and int(length) <= len(self.conn.rfile.received)):
            # The body was received by its length before a thread took the request; no more of it is waited for.
            self.simple_response("400 Bad Request", "Malformed Content-Length Header")
            return False
        if self.inheaders.get(b"Content-Length", b"0") != b"0" or self.inheaders.get(b"Transfer-Encoding"):
            self.close_connection = True  # a view may leave the body unread, and the rest would be the next request
        return is_valid

    def simple_response(self, status: Any, msg: str | bytes = "") -> None:
        reason = msg.decode("latin-1") if isinstance(msg, bytes) else str(msg)
        body = json.dumps({"error": reason or str(status)[4:]}).encode()
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
    """A connection whose requests are refused in JSON."""

    RequestHandlerClass = JSONErrorRequest


class ListenerServer(wsgi.Server):
    """cheroot on a listening socket that exists already, with limits."""

    keep_alive_conn_limit = MAX_KEEPALIVE_CONNECTIONS
    max_request_header_size = MAX_HEADER_BYTES
    max_request_body_size = MAX_BODY_BYTES
    expiration_interval = 0.2  # also the delay after which the loop notices a stop

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
        # An answer is sent in two parts; without this the second waits up to 40 ms for the client to confirm the first.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = self._listener
        return self._listener

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(level, "%s", msg, exc_info=traceback)


class FleetServer(ListenerServer):
    """A server for small requests, which slow clients cannot block (`fleet.web.connections`)."""

    ConnectionClass = JSONErrorConnection

    def prepare(self) -> None:
        super().prepare()
        default: Any = self._connections  # the stubs leave it out
        default.close()
        self._connections: Any = BufferedConnectionManager(self)

    def process_conn(self, conn: BufferedConnection) -> None:
        """Pass a connection to a worker thread once its request is complete. Browsers open spare connections, each of
        which would otherwise hold a thread until it times out."""
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
    """Serve the fleet in `run_directory` on `listener` until `stop` becomes readable, or SIGTERM arrives; then return
    within a second. `path_aliases` and `allowed_hosts` are those of `create_app`. Call it in the main thread of a process
    of its own: SIGINT is ignored from here on."""
    limit_malloc_arenas()
    os.environ.pop("LISTEN_PID", None)  # cheroot would serve on descriptor 3, as systemd passes sockets
    observer = Observer(run_directory)
    server = FleetServer(listener, create_app(run_directory, observer, path_aliases, allowed_hosts))
    wakeup, alarm = socket.socketpair()
    with wakeup, alarm:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C signals the whole group; the supervisor decides
        signal.signal(signal.SIGTERM, lambda *_: alarm.send(b"x"))
        # Worker threads inherit `daemon`, so a database that does not answer cannot keep the process alive.
        ended = threading.Event()
        threading.Thread(target=run_server, args=(server, alarm, ended), name="http", daemon=True).start()
        wait_until_stopped(observer, (stop, wakeup))
        if ended.is_set():
            raise RuntimeError("the HTTP server ended by itself")  # the log has the traceback of its thread
        ending = threading.Thread(target=server.stop, name="http-stop", daemon=True)
        ending.start()
        ending.join(2 * DRAIN_SECONDS)


def limit_malloc_arenas() -> None:
    """Let all threads allocate from one heap. Call it before threads start; without effect where the C library has no such
    option.

    glibc gives each thread a heap, which keeps the memory of a large answer: eight threads that have each built one take
    twice the memory of a single heap. Because of the GIL, threads hardly allocate at the same time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def run_server(server: ListenerServer, alarm: socket.socket, ended: threading.Event) -> None:
    try:
        server.start()
    finally:
        ended.set()
        with suppress(OSError):  # closed, because the process is stopping
            alarm.send(b"x")


def wait_until_stopped(observer: Observer, stops: tuple[FileDescriptorLike, ...]) -> None:
    """Return when one of `stops` is readable. Until then observe the fleet once a second, so that rates and history exist
    before the first request."""
    with selectors.DefaultSelector() as selector:  # select() ends at descriptor 1024, which a supervisor can exceed
        for stop in stops:
            selector.register(stop, selectors.EVENT_READ)
        while not selector.select(timeout=1.0):
            with suppress(FleetUnavailable):
                observer.observe()

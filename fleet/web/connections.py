"""Connections of the HTTP server, which slow clients cannot block.

cheroot has one thread that waits for all connections, and worker threads that handle requests. Here the waiting thread
collects each request, and passes it to a worker thread only when it is complete. It also sends the part of an answer
that a client does not accept at once. A slow or silent client therefore occupies no worker thread.

This module uses private parts of cheroot, whose version is pinned: its buffers, its selector, how it accepts connections.
"""

from __future__ import annotations

import errno
import re
import selectors
import socket
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # cheroot's stubs leave out the private names used here
    ConnectionManager: Any
    HTTPConnection: Any
    StreamReader: Any
else:
    from cheroot.connections import ConnectionManager
    from cheroot.makefile import StreamReader
    from cheroot.server import HTTPConnection

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024  # enough for the ids of a thousand sensors
MAX_REQUEST_BYTES = MAX_HEADER_BYTES + MAX_BODY_BYTES

TIMEOUT_SECONDS = 10
"""Seconds for a request to arrive, from its first byte; for an answer to be accepted; for an idle connection."""

MAX_CONNECTIONS = 512
MIN_CONNECTIONS = 16

MAX_UNSENT_BYTES = 32 * 1024 * 1024
"""Bytes of all answers that wait for their clients to accept them."""

MAX_WAITING_BYTES = 256 * 1024
"""Bytes of an answer in many parts, such as a download, that wait for their client until no further part is made."""

MAX_BUFFERS_PER_SEND = 64
"""Parts of an answer that one system call sends; the kernel takes 1024."""

HEADERS_END = re.compile(rb"\r?\n\r?\n")
CONTENT_LENGTH_HEADER = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


def is_complete_request(received: bytes) -> bool:
    """Whether a request can be answered, or refused, without more of its bytes."""
    end = HEADERS_END.search(received)
    if end is None:
        line = received.find(b"\n")
        return len(received) > MAX_HEADER_BYTES or (line >= 0 and received[:line][-1:] != b"\r")
    lengths = [int(length) for length in CONTENT_LENGTH_HEADER.findall(received, 0, end.end())]
    length = max(lengths, default=0)
    return length > MAX_BODY_BYTES or len(received) >= end.end() + length


class RequestReader(StreamReader):  # type: ignore[misc]
    """The bytes that a client has sent, possibly a part of a request."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "rb", MAX_REQUEST_BYTES)

    @property
    def received(self) -> bytes:
        return bytes(self._read_buf[self._read_pos :])

    def has_data(self) -> bool:
        """Whether a complete request has arrived. cheroot asks this before it waits for the connection again."""
        return is_complete_request(self.received) if self.received else False


class ResponseBuffer:
    """An answer that is not sent yet. The parts are not copied, because many clients may receive the same one.

    Writing blocks only while more than MAX_WAITING_BYTES of earlier parts wait. The answers of documents, which have a head
    and one part, never do.
    """

    bytes_written = 0

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.unsent: deque[memoryview] = deque()

    def write(self, val: bytes) -> int:
        if sum(map(len, self.unsent)) > MAX_WAITING_BYTES:
            self._send_waiting()
        self.unsent.append(memoryview(val))
        return len(val)

    def _send_waiting(self) -> None:
        """Send what waits. Raises an OSError if the client is gone, or has not accepted it within TIMEOUT_SECONDS."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.unsent:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")  # as a socket says it, which cheroot knows
            self._socket.settimeout(left)
            try:
                self._send_some(self._socket)
            finally:
                self._socket.settimeout(TIMEOUT_SECONDS)

    def send(self, sock: socket.socket) -> None:
        """Send as much as the client accepts. Raises BlockingIOError if that is not all, another OSError if the client is
        gone."""
        while self.unsent:
            self._send_some(sock)

    def _send_some(self, sock: socket.socket) -> None:
        sent = sock.sendmsg(islice(self.unsent, MAX_BUFFERS_PER_SEND))
        while self.unsent and sent >= len(self.unsent[0]):
            sent -= len(self.unsent.popleft())
        if self.unsent:
            self.unsent[0] = self.unsent[0][sent:]


class BufferedConnection(HTTPConnection):  # type: ignore[misc]
    """A connection that receives into `rfile` and sends from `wfile` without blocking. `started_at` is when its request,
    or the answer to it, began; `close_after_send` says that no further request may follow."""

    started_at: float | None = None
    close_after_send = False

    def __init__(self, server: Any, sock: socket.socket, _makefile: Any = None) -> None:
        super().__init__(server, sock, make_stream)

    def receive(self) -> bool:
        """Receive the bytes that have arrived. Return whether the request is complete or the connection has ended."""
        self.started_at = self.started_at or time.time()
        before = len(self.rfile.received)
        self.socket.settimeout(0)
        try:
            self.rfile.peek(MAX_REQUEST_BYTES)
        except OSError:  # reset; the next read will fail as well
            return True
        finally:
            self.socket.settimeout(TIMEOUT_SECONDS)
        received = self.rfile.received
        return (
            is_complete_request(received)
            or len(received) >= MAX_REQUEST_BYTES
            or (len(received) == before and self.is_closed_by_peer())
        )

    def is_closed_by_peer(self) -> bool:
        """Whether the client has closed its side of the connection."""
        self.socket.settimeout(0)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT_SECONDS)

    def communicate(self) -> bool:
        """Handle the request that was received. The connection returns to the waiting thread even after its last request,
        because the answer is still to be sent."""
        self.close_after_send = not super().communicate()
        self.started_at = time.time()
        return True

    def send(self) -> bool:
        """Send as much of the answer as the client accepts. Return whether nothing is left, or the client is gone."""
        self.socket.settimeout(0)
        try:
            self.wfile.send(self.socket)
        except BlockingIOError:
            return False
        except OSError:
            self.close_after_send = True
        finally:
            self.socket.settimeout(TIMEOUT_SECONDS)
        return True

    def close(self) -> None:
        if self.wfile.unsent:  # the answer that the server is stopping or overloaded
            self.send()
        super().close()


def make_stream(sock: socket.socket, mode: str, _size: int) -> RequestReader | ResponseBuffer:
    return RequestReader(sock) if "r" in mode else ResponseBuffer(sock)


class BufferedConnectionManager(ConnectionManager):  # type: ignore[misc]
    """The connections that the waiting thread holds. Over MAX_CONNECTIONS the longest-idle connection is closed, over
    MAX_UNSENT_BYTES the one with the oldest answer."""

    def watch(self, connection: BufferedConnection, event: int) -> None:
        """Wait for more of a request, or until the client accepts more of an answer, at most TIMEOUT_SECONDS since the
        request or answer began."""
        connection.last_used = connection.started_at
        self._selector.register(connection.socket.fileno(), event, data=connection)

    def put(self, connection: BufferedConnection) -> None:
        """Send the answer of a handled request, waiting if the client is slow, then wait for the next request."""
        if not connection.send():
            self.watch(connection, selectors.EVENT_WRITE)
        elif connection.close_after_send:
            connection.close()
        else:
            connection.started_at = None
            super().put(connection)

    def _from_server_socket(self, server_socket: socket.socket) -> Any:
        while self._num_connections >= MAX_CONNECTIONS and self._close_longest_idle():
            pass
        try:
            return super()._from_server_socket(server_socket)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self._num_connections < MIN_CONNECTIONS:
                raise
            self._close_longest_idle()
            return None

    def _close_longest_idle(self, with_unsent: bool = False) -> bool:
        """Close the connection that has waited longest, of those with an unsent answer if `with_unsent`. Return whether
        there was one."""
        candidates = [
            (connection.last_used, number, connection)
            for number, connection in self._selector.connections
            if connection != self.server and (connection.wfile.unsent or not with_unsent)
        ]
        if not candidates:
            return False
        _, number, connection = min(candidates)
        self._selector.unregister(number)
        connection.close()
        return True

    def _expire(self, threshold: float) -> None:
        super()._expire(threshold)
        while self._unsent_bytes() > MAX_UNSENT_BYTES and self._close_longest_idle(with_unsent=True):
            pass

    def _unsent_bytes(self) -> int:
        """The size of all unsent answers; an object that several answers share counts once."""
        buffers = [connection.wfile for _, connection in self._selector.connections if connection != self.server]
        return sum({id(part.obj): len(part.obj) for buffer in buffers for part in buffer.unsent}.values())

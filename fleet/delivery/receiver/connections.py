"""Connections of the receiver: a request is handled by a thread only once its body has arrived.

As in `fleet.web.connections`, one thread waits for all connections, so a slow sender occupies no thread that handles
requests. A request that its headers rule out (no token, too long) is answered at once; a longer body of it is not kept.
"""

from __future__ import annotations

import selectors
import socket
import time
from typing import TYPE_CHECKING, Any

from cheroot.server import HTTPConnection

from fleet.web.connections import (
    HEADERS_END,
    MAX_HEADER_BYTES,
    TIMEOUT_SECONDS,
    BufferedConnection,
    BufferedConnectionManager,
    ResponseBuffer,
    is_complete_request,
)

if TYPE_CHECKING:
    from fleet.delivery.receiver.server import UploadServer

RECEIVE_BYTES = 256 * 1024
"""Bytes that are received at once."""

LINGER_SECONDS = 2.0
"""The wait, after the last answer, for a client that still sends: if the connection were closed at once, the client might
not see the answer."""


class RequestBuffer:
    """The bytes that a client has sent and that are not handled yet. cheroot reads a request from it as from a file."""

    bytes_read = 0

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes)

    def append(self, data: bytes) -> None:
        self._bytes += data

    def head(self) -> bytes:
        """The beginning, long enough for all headers."""
        return bytes(self._bytes[: MAX_HEADER_BYTES + 1])

    def read(self, size: int = -1) -> bytes:
        data = bytes(self._bytes if size < 0 else self._bytes[:size])
        del self._bytes[: len(data)]
        return data

    def readline(self, size: int = -1) -> bytes:
        end = self._bytes.find(b"\n") + 1 or len(self._bytes)
        return self.read(end if size < 0 else min(size, end))

    def has_data(self) -> bool:
        """Whether another request has begun. cheroot asks this before it waits for the connection again."""
        return bool(self._bytes)

    def close(self) -> None:
        self._bytes.clear()


class UploadConnection(BufferedConnection):
    """A connection that gathers requests. `lingers` says that the last answer is sent, and what arrives is dropped."""

    server: UploadServer
    rfile: RequestBuffer
    wfile: ResponseBuffer
    lingers = False

    def __init__(self, server: UploadServer, sock: socket.socket, _makefile: object = None) -> None:
        HTTPConnection.__init__(
            self, server, sock, lambda *file: RequestBuffer() if "r" in file[1] else ResponseBuffer(sock)
        )
        self._request_bytes: int | None = None

    def receive(self) -> bool:
        """Receive the bytes that have arrived. Return whether the request is complete or the connection has ended."""
        if self.is_complete():  # it came together with the one before
            return True
        self.started_at = self.started_at or time.time()
        data = self._receive()
        if data is not None:
            self.rfile.append(data)
        return data == b"" or self.is_complete()

    def _receive(self) -> bytes | None:
        """The next bytes, empty at the end of the connection; None if there are none yet."""
        self.socket.settimeout(0)
        try:
            data: bytes = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        finally:
            self.socket.settimeout(TIMEOUT_SECONDS)
        return data

    def is_complete(self) -> bool:
        if self._request_bytes is None:
            head = self.rfile.head()
            end = HEADERS_END.search(head)
            if end is None:
                return bool(head) and is_complete_request(head)
            self._request_bytes = end.end() + self.server.body_bytes(head[: end.end()])
            if self._request_bytes > len(self.rfile) and b"100-continue" in head[: end.end()].lower():
                self._send_continue()
        return len(self.rfile) >= self._request_bytes

    def _send_continue(self) -> None:
        self.socket.settimeout(0)
        try:
            self.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError:
            pass  # the client sends the body after a while anyway
        finally:
            self.socket.settimeout(TIMEOUT_SECONDS)

    def communicate(self) -> bool:
        keep = super().communicate()
        self._request_bytes = None
        return keep

    def begin_lingering(self) -> None:
        self.lingers, self.started_at = True, time.time()
        self.rfile.close()
        self.socket.shutdown(socket.SHUT_WR)

    def drop(self) -> bool:
        """Drop what has arrived. Return whether the connection has ended."""
        return self._receive() == b""

    def waits_since(self) -> float:
        """The time that counts for the timeout: a body may take longer the more of it has arrived."""
        started_at = self.started_at or time.time()
        if self.lingers:
            return started_at + LINGER_SECONDS - float(self.server.timeout)
        return min(time.time(), started_at + len(self.rfile) / self.server.min_body_bytes_per_second)


class UploadConnectionManager(BufferedConnectionManager):
    """The connections that the waiting thread holds. While the server drains, no further ones are accepted."""

    server: UploadServer

    def watch(self, connection: UploadConnection, event: int) -> None:
        connection.last_used = connection.waits_since()
        self._selector.register(connection.socket.fileno(), event, data=connection)

    def put(self, connection: UploadConnection) -> None:
        if connection.close_after_send and connection.send():
            self._linger(connection)
        else:
            super().put(connection)

    def _linger(self, connection: UploadConnection) -> None:
        try:
            connection.begin_lingering()
        except OSError:  # the client is gone
            connection.close()
        else:
            self.watch(connection, selectors.EVENT_READ)

    def _waiting(self) -> list[tuple[int, UploadConnection]]:
        return [(number, one) for number, one in self._selector.connections if one is not self.server]

    def _expire(self, threshold: float) -> None:
        for number, connection in self._waiting():
            if connection.last_used < threshold:
                self._selector.unregister(number)
                if len(connection.rfile):
                    refuse_slow(connection)
                connection.close()
        super()._expire(threshold)
        while self.server.held_bytes() > self.server.max_held_bytes and self._close_longest_receiving():
            pass
        if self.server.draining.is_set():
            self._drain()

    def _close_longest_receiving(self) -> bool:
        """Close the connection that has sent the longest, of those with bytes. Return whether there was one."""
        receiving = [(one.started_at or 0.0, number, one) for number, one in self._waiting() if len(one.rfile)]
        if not receiving:
            return False
        _, number, connection = min(receiving, key=lambda entry: entry[0])
        self._selector.unregister(number)
        connection.close()
        return True

    def _drain(self) -> None:
        if self.server.socket.fileno() >= 0:
            self._selector.unregister(self.server.socket.fileno())
            self.server.socket.close()
        if not any(len(one.rfile) or one.wfile.unsent for _, one in self._waiting()):
            self.server.drained.set()


def refuse_slow(connection: UploadConnection) -> None:
    request: Any = connection.RequestHandlerClass(connection.server, connection)
    request.simple_response("408 Request Timeout", "the request did not arrive in time")

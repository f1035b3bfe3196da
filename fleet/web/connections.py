"""BufferedConnectionManager of the HTTP server: a request is gathered by the one thread that waits for all of them, and handed to a
thread of its own only when it is whole; what a client does not take at once of the answer is sent by the one that waits
again. So those who are slow, or say nothing, keep nobody waiting.

Reaches into cheroot, whose version is pinned: its buffers, its selector, how it accepts.
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

if TYPE_CHECKING:  # its stubs know nothing of what begins with an underscore
    ConnectionManager: Any
    HTTPConnection: Any
    StreamReader: Any
else:
    from cheroot.connections import ConnectionManager
    from cheroot.makefile import StreamReader
    from cheroot.server import HTTPConnection

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024  # room for the ids of a thousand sensors
MAX_REQUEST_BYTES = MAX_HEADER_BYTES + MAX_BODY_BYTES

TIMEOUT_SECONDS = 10
"""Seconds for a request to arrive, from its first byte; for an answer to be taken; for somebody idle."""

MAX_CONNECTIONS = 512
MIN_CONNECTIONS = 16

MAX_UNSENT_BYTES = 32 * 1024 * 1024
"""Bytes of answers that may wait for their clients to take them."""

MAX_BUFFERS_PER_SEND = 64
"""Pieces of an answer that are handed to the kernel together; it takes 1024."""

HEADERS_END = re.compile(rb"\r?\n\r?\n")
CONTENT_LENGTH_HEADER = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


def is_complete_request(received: bytes) -> bool:
    """Whether a request can be answered, or refused, without waiting for more of it."""
    end = HEADERS_END.search(received)
    if end is None:
        line = received.find(b"\n")
        return len(received) > MAX_HEADER_BYTES or (line >= 0 and received[:line][-1:] != b"\r")
    lengths = [int(length) for length in CONTENT_LENGTH_HEADER.findall(received, 0, end.end())]
    length = max(lengths, default=0)
    return length > MAX_BODY_BYTES or len(received) >= end.end() + length


class RequestReader(StreamReader):  # type: ignore[misc]
    """What a client has said, of which some may have arrived."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "rb", MAX_REQUEST_BYTES)

    @property
    def received(self) -> bytes:
        return bytes(self._read_buf[self._read_pos :])

    def has_data(self) -> bool:
        """Whether a whole request is there: less is waited for."""
        return is_complete_request(self.received) if self.received else False


class ResponseBuffer:
    """What a client is told, kept until it goes out: whoever makes it waits for nobody. The pieces are not copied, since
    many may be told the same."""

    bytes_written = 0

    def __init__(self) -> None:
        self.unsent: deque[memoryview] = deque()

    def write(self, val: bytes) -> int:
        self.unsent.append(memoryview(val))
        return len(val)

    def send(self, sock: socket.socket) -> None:
        """Send what the client takes without waiting; BlockingIOError if that is not all, another OSError if it is gone."""
        while self.unsent:
            sent = sock.sendmsg(islice(self.unsent, MAX_BUFFERS_PER_SEND))
            while self.unsent and sent >= len(self.unsent[0]):
                sent -= len(self.unsent.popleft())
            if self.unsent:
                self.unsent[0] = self.unsent[0][sent:]


class BufferedConnection(HTTPConnection):  # type: ignore[misc]
    """A connection whose `rfile` fills up, and whose `wfile` empties, while nobody is waiting for it. `started_at` is when its
    request, or the answer to it, began; `close_after_send` says that no other may follow."""

    started_at: float | None = None
    close_after_send = False

    def __init__(self, server: Any, sock: socket.socket, _makefile: Any = None) -> None:
        super().__init__(server, sock, make_stream)

    def receive(self) -> bool:
        """Take in what has arrived. Whether that is a whole request, or the end."""
        self.started_at = self.started_at or time.time()
        before = len(self.rfile.received)
        self.socket.settimeout(0)
        try:
            self.rfile.peek(MAX_REQUEST_BYTES)
        except OSError:  # reset: whoever reads next will see it as well
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
        """Whether the client will say no more."""
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
        """Answer the request that was gathered. It goes back to those that are waited for even if it is the last."""
        self.close_after_send = not super().communicate()
        self.started_at = time.time()
        return True

    def send(self) -> bool:
        """Send what the client takes now of the answer. Whether that is all, or it is gone."""
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
        if self.wfile.unsent:  # the server is stopping or has too much to do, and says so
            self.send()
        super().close()


def make_stream(sock: socket.socket, mode: str, _size: int) -> RequestReader | ResponseBuffer:
    return RequestReader(sock) if "r" in mode else ResponseBuffer()


class BufferedConnectionManager(ConnectionManager):  # type: ignore[misc]
    """Those that are waited for. Of too many the one that has been waited for longest goes, and of too much that nobody
    takes the oldest answer."""

    def watch(self, connection: BufferedConnection, event: int) -> None:
        """Its request is not whole yet, or its answer not sent; it has TIMEOUT_SECONDS from when that began."""
        connection.last_used = connection.started_at
        self._selector.register(connection.socket.fileno(), event, data=connection)

    def put(self, connection: BufferedConnection) -> None:
        """It was answered: wait until the client has taken that, and then for its next request."""
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

    def _close_longest_idle(self, unsent: bool = False) -> bool:
        """Close the one that has been waited for longest, if there is any; `unsent` asks for one with an answer."""
        waiting = [
            (each.last_used, number, each)
            for number, each in self._selector.connections
            if each != self.server and (each.wfile.unsent or not unsent)
        ]
        if not waiting:
            return False
        _, number, connection = min(waiting)
        self._selector.unregister(number)
        connection.close()
        return True

    def _expire(self, threshold: float) -> None:
        super()._expire(threshold)
        while self._unsent_bytes() > MAX_UNSENT_BYTES and self._close_longest_idle(unsent=True):
            pass

    def _unsent_bytes(self) -> int:
        """Bytes that are kept for clients to take; what many are told is kept once."""
        answers = [each.wfile for _, each in self._selector.connections if each != self.server]
        return sum({id(piece.obj): len(piece.obj) for answer in answers for piece in answer.unsent}.values())

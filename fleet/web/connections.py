"""Connections of the HTTP server: a request is gathered by the one thread that waits for all of them, and handed to a
thread of its own only when it is whole, so that those who are slow, or say nothing, keep nobody waiting.

Reaches into cheroot, whose version is pinned: its buffers, its selector, how it accepts.
"""

from __future__ import annotations

import errno
import re
import selectors
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # its stubs know nothing of what begins with an underscore
    ConnectionManager: Any
    HTTPConnection: Any
    StreamReader: Any
    StreamWriter: Any
else:
    from cheroot.connections import ConnectionManager
    from cheroot.makefile import StreamReader, StreamWriter
    from cheroot.server import HTTPConnection

HEADER_BYTES = 16 * 1024
BODY_BYTES = 16 * 1024
ROOM = HEADER_BYTES + BODY_BYTES

TIMEOUT = 10
"""Seconds for a request to arrive, from its first byte; for an answer to be taken; for somebody idle."""

MOST_CONNECTIONS = 512
FEWEST_CONNECTIONS = 16

END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


def whole(received: bytes) -> bool:
    """Whether a request can be answered, or refused, without waiting for more of it."""
    end = END_OF_HEAD.search(received)
    if end is None:
        line = received.find(b"\n")
        return len(received) > HEADER_BYTES or (line >= 0 and received[:line][-1:] != b"\r")
    lengths = [int(length) for length in LENGTH.findall(received, 0, end.end())]
    length = max(lengths, default=0)
    return length > BODY_BYTES or len(received) >= end.end() + length


class Reader(StreamReader):  # type: ignore[misc]
    """What a client has said, of which some may have arrived."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "rb", ROOM)

    @property
    def received(self) -> bytes:
        return bytes(self._read_buf[self._read_pos :])

    def has_data(self) -> bool:
        """Whether a whole request is there: less is waited for."""
        return whole(self.received) if self.received else False


class Writer(StreamWriter):  # type: ignore[misc]
    """An answer. `since` is when it was begun, None as long as there is none."""

    since: float | None = None

    def write(self, val: bytes, *args: Any, **kwargs: Any) -> int:
        self.since = self.since or time.monotonic()
        return int(super().write(val, *args, **kwargs))


class Connection(HTTPConnection):  # type: ignore[misc]
    """A connection whose `rfile` fills up while nobody is waiting for it. `since` is when its request began."""

    since: float | None = None

    def __init__(self, server: Any, sock: socket.socket, _makefile: Any = None) -> None:
        super().__init__(server, sock, make)

    def gather(self) -> bool:
        """Take in what has arrived. Whether that is a whole request, or the end."""
        self.since = self.since or time.time()
        before = len(self.rfile.received)
        self.socket.settimeout(0)
        try:
            self.rfile.peek(ROOM)
        except OSError:  # reset: whoever reads next will see it as well
            return True
        finally:
            self.socket.settimeout(TIMEOUT)
        received = self.rfile.received
        return whole(received) or len(received) >= ROOM or (len(received) == before and self.ended())

    def ended(self) -> bool:
        """Whether the client will say no more."""
        self.socket.settimeout(0)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)

    def communicate(self) -> bool:
        """Answer the request that was gathered. Whether there may be another one."""
        self.since = self.wfile.since = None
        self.server.answering[self] = None
        try:
            return bool(super().communicate())
        finally:
            del self.server.answering[self]

    def cut(self) -> None:
        """Nobody takes its answer: whoever is sending it has to stop."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


def make(sock: socket.socket, mode: str, _size: int) -> Reader | Writer:
    return Reader(sock) if "r" in mode else Writer(sock, mode)


class Connections(ConnectionManager):  # type: ignore[misc]
    """Those that are waited for. Of too many the one that has been silent longest goes, and one whose client does not
    take its answer is cut off."""

    def wait_for(self, connection: Connection) -> None:
        """Its request is not whole yet; it has TIMEOUT from when it began."""
        connection.last_used = connection.since
        self._selector.register(connection.socket.fileno(), selectors.EVENT_READ, data=connection)

    def _from_server_socket(self, server_socket: socket.socket) -> Any:
        while self._num_connections >= MOST_CONNECTIONS and self._let_go():
            pass
        try:
            return super()._from_server_socket(server_socket)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self._num_connections < FEWEST_CONNECTIONS:
                raise
            self._let_go()
            return None

    def _let_go(self) -> bool:
        """Close the one that has been waited for longest, if there is any."""
        waiting = [(each.last_used, number, each) for number, each in self._selector.connections if each != self.server]
        if not waiting:
            return False
        _, number, connection = min(waiting)
        self._selector.unregister(number)
        connection.close()
        return True

    def _expire(self, threshold: float) -> None:
        super()._expire(threshold)
        late = time.monotonic() - TIMEOUT
        for connection in list(self.server.answering):
            since = connection.wfile.since
            if since is not None and since < late:
                connection.cut()

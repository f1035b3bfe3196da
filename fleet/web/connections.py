"""Connections of the HTTP server: a request is gathered by the one thread that waits for all of them, and handed to a
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

HEADER_BYTES = 16 * 1024
BODY_BYTES = 64 * 1024  # room for the ids of a thousand sensors
ROOM = HEADER_BYTES + BODY_BYTES

TIMEOUT = 10
"""Seconds for a request to arrive, from its first byte; for an answer to be taken; for somebody idle."""

MOST_CONNECTIONS = 512
FEWEST_CONNECTIONS = 16

MOST_UNSENT = 32 * 1024 * 1024
"""Bytes of answers that may wait for their clients to take them."""

AT_ONCE = 64
"""Pieces of an answer that are handed to the kernel together; it takes 1024."""

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


class Answer:
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
            sent = sock.sendmsg(islice(self.unsent, AT_ONCE))
            while self.unsent and sent >= len(self.unsent[0]):
                sent -= len(self.unsent.popleft())
            if self.unsent:
                self.unsent[0] = self.unsent[0][sent:]


class Connection(HTTPConnection):  # type: ignore[misc]
    """A connection whose `rfile` fills up, and whose `wfile` empties, while nobody is waiting for it. `since` is when its
    request, or the answer to it, began; `last` says that no other may follow."""

    since: float | None = None
    last = False

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
        """Answer the request that was gathered. It goes back to those that are waited for even if it is the last."""
        self.last = not super().communicate()
        self.since = time.time()
        return True

    def send(self) -> bool:
        """Send what the client takes now of the answer. Whether that is all, or it is gone."""
        self.socket.settimeout(0)
        try:
            self.wfile.send(self.socket)
        except BlockingIOError:
            return False
        except OSError:
            self.last = True
        finally:
            self.socket.settimeout(TIMEOUT)
        return True

    def close(self) -> None:
        if self.wfile.unsent:  # the server is stopping or has too much to do, and says so
            self.send()
        super().close()


def make(sock: socket.socket, mode: str, _size: int) -> Reader | Answer:
    return Reader(sock) if "r" in mode else Answer()


class Connections(ConnectionManager):  # type: ignore[misc]
    """Those that are waited for. Of too many the one that has been waited for longest goes, and of too much that nobody
    takes the oldest answer."""

    def wait_for(self, connection: Connection, event: int) -> None:
        """Its request is not whole yet, or its answer not sent; it has TIMEOUT from when that began."""
        connection.last_used = connection.since
        self._selector.register(connection.socket.fileno(), event, data=connection)

    def put(self, connection: Connection) -> None:
        """It was answered: wait until the client has taken that, and then for its next request."""
        if not connection.send():
            self.wait_for(connection, selectors.EVENT_WRITE)
        elif connection.last:
            connection.close()
        else:
            connection.since = None
            super().put(connection)

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

    def _let_go(self, unsent: bool = False) -> bool:
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
        while self._unsent() > MOST_UNSENT and self._let_go(unsent=True):
            pass

    def _unsent(self) -> int:
        """Bytes that are kept for clients to take; what many are told is kept once."""
        answers = [each.wfile for _, each in self._selector.connections if each != self.server]
        return sum({id(piece.obj): len(piece.obj) for answer in answers for piece in answer.unsent}.values())

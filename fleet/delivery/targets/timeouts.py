"""The line to a server: connections on which neither sending nor answering may take for ever.

The timeout of a socket is for each read only, and one byte at a time would never end.
"""

from __future__ import annotations

import io
import socket
import time
from functools import partial
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection


class DeadlineReader(io.RawIOBase):
    """Reads from a socket until `latest` on the monotonic clock, then raises TimeoutError."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, latest: float) -> None:
        self._raw, self._socket, self._latest = raw, sock, latest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._latest - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class DeadlineResponse(HTTPResponse):
    """An answer that is to be there, whole, within so many seconds."""

    def __init__(self, sock: socket.socket, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = io.BufferedReader(DeadlineReader(self.fp.detach(), sock, time.monotonic() + seconds))


class _TimeoutMixin:
    """`seconds` are what a request may take to be sent, and what its answer may take."""

    sock: Any
    response_class: Any

    def __init__(self, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._seconds = seconds
        self.response_class = partial(DeadlineResponse, seconds=seconds)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the connection that this is mixed into
        self.sock.settimeout(self._seconds)  # until now it was the one for connecting

    def request(self, *arguments: Any, **named: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._seconds)  # until now it was what was left for the answer before
        super().request(*arguments, **named)  # type: ignore[misc]


class HttpConnection(_TimeoutMixin, HTTPConnection):
    """Over TCP."""


class HttpsConnection(_TimeoutMixin, HTTPSConnection):
    """Over TLS."""

"""The line to a server: connections on which neither sending nor answering may take for ever.

The timeout of a socket is for each read only, and one byte at a time would never end.
"""

from __future__ import annotations

import io
import time
from functools import partial
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection


class Punctual(io.RawIOBase):
    """Reads until `latest` on the monotonic clock, then raises TimeoutError."""

    def __init__(self, raw: io.RawIOBase, latest: float) -> None:
        self._raw, self._latest = raw, latest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._latest:
            raise TimeoutError("timed out")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class PunctualResponse(HTTPResponse):
    """An answer that is to be there, whole, within so many seconds."""

    def __init__(self, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.fp = io.BufferedReader(Punctual(self.fp.detach(), time.monotonic() + seconds))


class _Line:
    """`seconds` are what a request may take to be sent, and what its answer may take."""

    sock: Any
    response_class: Any

    def __init__(self, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._seconds = seconds
        self.response_class = partial(PunctualResponse, seconds=seconds)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the connection that this is mixed into
        self.sock.settimeout(self._seconds)  # until now it was the one for connecting


class Line(_Line, HTTPConnection):
    """Over TCP."""


class SecureLine(_Line, HTTPSConnection):
    """Over TLS."""

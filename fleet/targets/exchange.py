"""One POST and its answer, or what it means that there was none."""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from fleet.collection.target import Failed, Unusable
from fleet.targets.address import Address
from fleet.targets.answers import Answer
from fleet.targets.line import Line, SecureLine
from fleet.targets.patience import Again

GULP = 64 * 1024
"""Bytes that are read at once."""

INTERRUPTED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""TLS errors that only say that the connection broke."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds: for a connection, and for an answer, all of it; sending the request may take as long."""

    connect: float = 5.0
    read: float = 30.0


class Lines(HTTPConnectionPool):
    ConnectionCls = Line


class SecureLines(HTTPSConnectionPool):
    ConnectionCls = SecureLine


class Exchange:
    """Posts to one address, from several threads; each holds one of `connections` until its answer is read. No redirect is
    followed, no proxy used."""

    def __init__(self, to: Address, deadlines: Deadlines, connections: int) -> None:
        self._to, self._deadlines = to, deadlines
        self._pool = pool(to, deadlines, connections)

    def post(self, body: bytes, headers: HTTPHeaderDict, most: int) -> Answer:
        """The answer, `most` bytes of it at the most: a 2xx that is longer is Unusable. Raises Again or Unusable if there
        is none."""
        try:
            response = self._pool.urlopen(
                "POST", self._to.request, body, headers, retries=False, redirect=False, preload_content=False
            )
            return answer(response, self._read(response, most))
        except HTTPError as error:
            raise meaning(error, self._deadlines) from error

    def close(self) -> None:
        self._pool.close()

    def _read(self, response: BaseHTTPResponse, most: int) -> bytes:
        body, whole = b"", False
        try:
            while len(body) <= most and not whole:
                gulp = response.read1(GULP)
                body, whole = body + gulp, not gulp
        except ReadTimeoutError as error:
            raise Again(f"no whole answer within {self._deadlines.read:g} s") from error
        finally:
            if not whole:
                response.close()  # nobody waits for the rest
            response.release_conn()
        if not whole and 200 <= response.status < 300:
            raise Unusable(f"answered {response.status} with more than {most} bytes, which were not read to their end")
        return body


def pool(to: Address, deadlines: Deadlines, connections: int) -> HTTPConnectionPool:
    # At lower levels urllib3 tells paths with their queries, which may hold a key.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    timeout = Timeout(connect=deadlines.connect, read=deadlines.read)
    given: dict[str, Any] = {"timeout": timeout, "maxsize": connections, "block": True, "seconds": deadlines.read}
    if to.scheme == "http":
        return Lines(to.host, to.port, **given)
    return SecureLines(to.host, to.port, ssl_context=ssl.create_default_context(), **given)


def answer(response: BaseHTTPResponse, body: bytes) -> Answer:
    headers = response.headers
    # HTTP/1.0 has no other way to say it than to hang up; in 1.1 it takes one of these.
    framed = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
    declared = framed or response.version == 10 or "close" in headers.get("connection", "").lower()
    return Answer(
        status=response.status,
        content_type=headers.get("content-type", ""),
        body=body,
        ended=declared or response.status in {204, 205},
        after=retry_after(headers),
        location=headers.get("location", ""),
    )


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds; 0 if the server did not say, or not so that it can be understood. A date is compared with the server's
    own clock, if it says what that shows."""
    said = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", said):
        return float(said)
    try:
        date = parsedate_to_datetime(said).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        now = time.time()
    return max(0.0, date - now)


def meaning(error: HTTPError, deadlines: Deadlines) -> Failed:
    """What it means for the batch that urllib3 gave up."""
    if isinstance(error, SSLError):
        return tls_meaning(error)
    if isinstance(error, ProtocolError) and isinstance(error.args[-1], TimeoutError):
        return Again(f"it did not take the request within {deadlines.read:g} s")
    again = {
        NameResolutionError: "the name of the host is not known",
        NewConnectionError: f"no connection: {getattr(error.__cause__, 'strerror', None) or error.__cause__}",
        ConnectTimeoutError: f"no connection within {deadlines.connect:g} s",
        ReadTimeoutError: f"no answer within {deadlines.read:g} s",
        ProtocolError: "the connection broke before there was a whole answer",
    }
    for kind, message in again.items():  # the more particular before those that they derive from
        if isinstance(error, kind):
            return Again(message)
    return Unusable(f"its answer cannot be read ({type(error).__name__})")


def tls_meaning(error: SSLError) -> Failed:
    cause = next((one for one in (*error.args, error.__cause__) if isinstance(one, ssl.SSLError)), None)
    if isinstance(cause, INTERRUPTED):
        return Again("the TLS connection broke before there was a whole answer")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unusable(
            f"its certificate is not to be trusted: {cause.verify_message} (SSL_CERT_FILE may name its authority)"
        )
    return Unusable(f"no TLS with it: {getattr(cause, 'reason', None) or 'unknown reason'}")

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

from fleet.delivery.target import DeliveryFailed, TargetMisconfigured
from fleet.delivery.targets.answers import HttpResponse
from fleet.delivery.targets.retry import RetryableFailure
from fleet.delivery.targets.timeouts import HttpConnection, HttpsConnection
from fleet.delivery.targets.url import TargetAddress

READ_CHUNK_BYTES = 64 * 1024
"""Bytes that are read at once."""

TLS_DISCONNECT_ERRORS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""TLS errors that only say that the connection broke."""


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Seconds: for a connection, and for an answer, all of it; sending the request may take as long."""

    connect: float = 5.0
    read: float = 30.0


class HttpPool(HTTPConnectionPool):
    ConnectionCls = HttpConnection


class HttpsPool(HTTPSConnectionPool):
    ConnectionCls = HttpsConnection


class HttpClient:
    """Posts to one address, from several threads; each holds one of `connections` until its answer is read. No redirect is
    followed, no proxy used."""

    def __init__(self, to: TargetAddress, timeouts: HttpTimeouts, connections: int) -> None:
        self._to, self._timeouts = to, timeouts
        self._pool = pool(to, timeouts, connections)

    def post(self, body: bytes, headers: HTTPHeaderDict, max_bytes: int) -> HttpResponse:
        """The answer, `max_bytes` bytes of it at the most: a 2xx that is longer is TargetMisconfigured. Raises RetryableFailure or TargetMisconfigured if there
        is none."""
        try:
            response = self._pool.urlopen(
                "POST", self._to.request_target, body, headers, retries=False, redirect=False, preload_content=False
            )
            return to_http_response(response, self._read(response, max_bytes))
        except HTTPError as error:
            raise classify_error(error, self._timeouts) from error

    def close(self) -> None:
        self._pool.close()

    def _read(self, response: BaseHTTPResponse, max_bytes: int) -> bytes:
        body, whole = b"", False
        try:
            while len(body) <= max_bytes and not whole:
                chunk = response.read1(READ_CHUNK_BYTES)
                body, whole = body + chunk, not chunk
        except ReadTimeoutError as error:
            raise RetryableFailure(f"no whole answer within {self._timeouts.read:g} s") from error
        finally:
            if not whole:
                response.close()  # nobody waits for the rest
            response.release_conn()
        if not whole and 200 <= response.status < 300:
            raise TargetMisconfigured(
                f"answered {response.status} with more than {max_bytes} bytes, which were not read to their end"
            )
        return body


def pool(to: TargetAddress, timeouts: HttpTimeouts, connections: int) -> HTTPConnectionPool:
    # At lower levels urllib3 tells paths with their queries, which may hold a key.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    timeout = Timeout(connect=timeouts.connect, read=timeouts.read)
    given: dict[str, Any] = {"timeout": timeout, "maxsize": connections, "block": True, "seconds": timeouts.read}
    if to.scheme == "http":
        return HttpPool(to.host, to.port, **given)
    return HttpsPool(to.host, to.port, ssl_context=ssl.create_default_context(), **given)


def to_http_response(response: BaseHTTPResponse, body: bytes) -> HttpResponse:
    headers = response.headers
    # HTTP/1.0 has no other way to say it than to hang up; in 1.1 it takes one of these.
    framed = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
    declared = framed or response.version == 10 or "close" in headers.get("connection", "").lower()
    return HttpResponse(
        status=response.status,
        content_type=headers.get("content-type", ""),
        body=body,
        ended=declared or response.status in {204, 205},
        retry_after=retry_after(headers),
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


def classify_error(error: HTTPError, timeouts: HttpTimeouts) -> DeliveryFailed:
    """What it means for the batch that urllib3 gave up."""
    if isinstance(error, SSLError):
        return classify_tls_error(error)
    if isinstance(error, ProtocolError) and isinstance(error.args[-1], TimeoutError):
        return RetryableFailure(f"it did not take the request within {timeouts.read:g} s")
    again = {
        NameResolutionError: "the name of the host is not known",
        NewConnectionError: f"no connection: {getattr(error.__cause__, 'strerror', None) or error.__cause__}",
        ConnectTimeoutError: f"no connection within {timeouts.connect:g} s",
        ReadTimeoutError: f"no answer within {timeouts.read:g} s",
        ProtocolError: "the connection broke before there was a whole answer",
    }
    for kind, message in again.items():  # the more particular before those that they derive from
        if isinstance(error, kind):
            return RetryableFailure(message)
    return TargetMisconfigured(f"its answer cannot be read ({type(error).__name__})")


def classify_tls_error(error: SSLError) -> DeliveryFailed:
    cause = next((one for one in (*error.args, error.__cause__) if isinstance(one, ssl.SSLError)), None)
    if isinstance(cause, TLS_DISCONNECT_ERRORS):
        return RetryableFailure("the TLS connection broke before there was a whole answer")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TargetMisconfigured(
            f"its certificate is not to be trusted: {cause.verify_message} (SSL_CERT_FILE may name its authority)"
        )
    return TargetMisconfigured(f"no TLS with it: {getattr(cause, 'reason', None) or 'unknown reason'}")

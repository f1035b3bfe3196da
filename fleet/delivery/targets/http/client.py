"""A client for HTTP POST: the address, the connections with deadlines, and the meaning of their errors."""

from __future__ import annotations

import io
import logging
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from hashlib import blake2b
from http.client import HTTPResponse, parse_headers
from typing import Any
from urllib.parse import SplitResult, urlsplit

from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
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
from fleet.delivery.targets.http.response import HttpResponse
from fleet.delivery.targets.retry import RetryableFailure
from fleet.errors import UserError
from fleet.escaping import escape_short

READ_CHUNK_BYTES = 64 * 1024
"""Bytes that are read at once."""

TLS_DISCONNECT_ERRORS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""TLS errors that only say that the connection broke."""


PLAIN_ANSWERS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""Reasons of a failed handshake with a server that does not speak TLS."""

TRUST_ADVICE = "SSL_CERT_FILE may name its authority"
CERTIFICATE_ADVICE = {
    10: "it has to be renewed",
    62: "name the host as its certificate does",
    64: "name the host as its certificate does",
}
"""What to do, by the number of OpenSSL's error: expired, another host, another address."""

HOST = re.compile(r"[\w.:%~-]+", re.ASCII)
"""A name or an address; without this, urllib3 raises errors of its own for a space in it."""

DEFAULT_PATH = "/api/readings/batch"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """The address that batches are posted to. `name` identifies it, with a digest in place of the query, which may be secret."""

    scheme: str
    host: str
    port: int
    request_target: str
    name: str


def parse_address(url: str) -> TargetAddress:
    """Parse the URL after `--to`. UserError, which does not repeat the URL if it may hold a password."""
    wanted = "wanted http://HOST[:PORT][/PATH] or https://..."
    if re.match(r"(?:[a-zA-Z]*:)?[/\\]*[^/?#]*@", url):
        raise UserError(
            "--to: the URL has a user or a password in it, which every user of this machine can see: "
            "put them into the environment variables COLLECT_TOKEN or COLLECT_HEADERS"
        )
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise UserError(f"--to: {url.partition('?')[0]}: {error}; {wanted}") from error
    if parts.scheme not in DEFAULT_PORTS or not HOST.fullmatch(host) or port == 0:
        raise UserError(f"--to: {escape_short(url.partition('?')[0])}: {wanted}")
    path = DEFAULT_PATH if parts.path in {"", "/"} else parts.path
    request = f"{path}?{parts.query}" if parts.query else path
    if not re.fullmatch(r"[!-~]+", request):
        raise UserError(
            f"--to: {escape_short(url.partition('?')[0])!r}: a space or a letter outside ASCII is written as %20 or so"
        )
    return TargetAddress(
        parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], request, display_name(parts, host, path)
    )


def display_name(parts: SplitResult, host: str, path: str) -> str:
    shown_host = f"[{host}]" if ":" in host else host
    if parts.port and parts.port != DEFAULT_PORTS[parts.scheme]:
        shown_host += f":{parts.port}"
    query = f"?({blake2b(parts.query.encode(), digest_size=4).hexdigest()})" if parts.query else ""
    return f"{parts.scheme}://{shown_host}{path}{query}"


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Timeouts in seconds: `connect` for a connection, `read` for a whole response and also for sending the request."""

    connect: float = 5.0
    read: float = 30.0


class DeadlineReader(io.RawIOBase):
    """Reads from a socket until `latest` on the monotonic clock, then raises TimeoutError.

    The timeout of a socket is per read, so a server that sends one byte at a time would never reach it.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, latest: float) -> None:
        self._raw, self._socket, self._latest = raw, sock, latest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._latest - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class DeadlineResponse(HTTPResponse):
    """A response that must be read whole within `seconds`."""

    def __init__(self, sock: socket.socket, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = io.BufferedReader(DeadlineReader(self.fp.detach(), sock, time.monotonic() + seconds))

    def _read_status(self) -> tuple[str, int, str]:
        """The first final status. http.client passes over 100 alone, and takes 102 and 103 as the answer."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # the stubs leave it out
            if not 102 <= status < 200:
                return version, status, reason
            parse_headers(self.fp)


class _TimeoutMixin:
    """Limits the time for sending a request, and the time for its response, to `seconds` each."""

    sock: Any
    response_class: Any

    def __init__(self, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._seconds = seconds
        self.response_class = partial(DeadlineResponse, seconds=seconds)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # defined by the connection class beside it
        self.sock.settimeout(self._seconds)  # the timeout for connecting no longer applies

    def request(self, *arguments: Any, **named: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._seconds)  # the rest of the previous response's time no longer applies
        super().request(*arguments, **named)  # type: ignore[misc]


class HttpConnection(_TimeoutMixin, HTTPConnection):
    """Over TCP."""


class HttpsConnection(_TimeoutMixin, HTTPSConnection):
    """Over TLS."""


class HttpPool(HTTPConnectionPool):
    ConnectionCls = HttpConnection


class HttpsPool(HTTPSConnectionPool):
    ConnectionCls = HttpsConnection


class HttpClient:
    """Posts to one address. Thread-safe: each thread holds one of `connections` until the response is read.

    Follows no redirect and uses no proxy.
    """

    def __init__(self, address: TargetAddress, timeouts: HttpTimeouts, connections: int) -> None:
        self._address, self._timeouts = address, timeouts
        self._pool = create_pool(address, timeouts, connections)

    def post(self, body: bytes, headers: HTTPHeaderDict, max_bytes: int) -> HttpResponse:
        """Post a body and return the response, of at most `max_bytes` bytes.

        Raises TargetMisconfigured for a longer 2xx; RetryableFailure or TargetMisconfigured if there is no response.
        """
        try:
            response = self._pool.urlopen(
                "POST",
                self._address.request_target,
                body,
                headers,
                retries=False,
                redirect=False,
                preload_content=False,
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
                response.close()  # the rest is not needed
            response.release_conn()
        if not whole and 200 <= response.status < 300:
            raise TargetMisconfigured(
                f"answered {response.status} with more than {max_bytes} bytes, which were not read to their end"
            )
        return body


def create_pool(address: TargetAddress, timeouts: HttpTimeouts, connections: int) -> HTTPConnectionPool:
    # At lower levels urllib3 logs paths with their queries, which may hold a key.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    timeout = Timeout(connect=timeouts.connect, read=timeouts.read)
    options: dict[str, Any] = {"timeout": timeout, "maxsize": connections, "block": True, "seconds": timeouts.read}
    if address.scheme == "http":
        return HttpPool(address.host, address.port, **options)
    return HttpsPool(address.host, address.port, ssl_context=ssl.create_default_context(), **options)


def to_http_response(response: BaseHTTPResponse, body: bytes) -> HttpResponse:
    headers = response.headers
    # HTTP/1.0 can end a body only by closing the connection; HTTP/1.1 needs one of these headers.
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
    """The Retry-After header in seconds, 0 if it is absent or malformed. A date is compared with the server's own Date
    header, if there is one."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        now = time.time()
    return max(0.0, date - now)


def classify_error(error: HTTPError, timeouts: HttpTimeouts) -> DeliveryFailed:
    """The meaning of an error of urllib3 for the batch."""
    if isinstance(error, SSLError):
        return classify_tls_error(error)
    if isinstance(error, ProtocolError) and isinstance(error.args[-1], TimeoutError):
        return RetryableFailure(f"it did not take the request within {timeouts.read:g} s")
    retryable = {
        NameResolutionError: "the name of the host is not known",
        NewConnectionError: f"no connection: {getattr(error.__cause__, 'strerror', None) or error.__cause__}",
        ConnectTimeoutError: f"no connection within {timeouts.connect:g} s",
        ReadTimeoutError: f"no answer within {timeouts.read:g} s",
        ProtocolError: "the connection broke before there was a whole answer",
    }
    for kind, message in retryable.items():  # subclasses before their base classes
        if isinstance(error, kind):
            return RetryableFailure(message)
    return TargetMisconfigured(f"its answer cannot be read ({type(error).__name__})")


def classify_tls_error(error: SSLError) -> DeliveryFailed:
    cause = next((one for one in (*error.args, error.__cause__) if isinstance(one, ssl.SSLError)), None)
    if isinstance(cause, TLS_DISCONNECT_ERRORS):
        return RetryableFailure("the TLS connection broke before there was a whole answer")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TargetMisconfigured(
            f"its certificate is not to be trusted: {cause.verify_message} ({CERTIFICATE_ADVICE.get(cause.verify_code, TRUST_ADVICE)})"
        )
    reason = getattr(cause, "reason", None) or "unknown reason"
    advice = " (does it speak http:// there?)" if reason in PLAIN_ANSWERS else ""
    return TargetMisconfigured(f"no TLS with it: {reason}{advice}")

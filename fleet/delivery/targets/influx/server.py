"""A server that takes line protocol over HTTP as a target: InfluxDB 1 and 2, VictoriaMetrics, QuestDB and others.

A reading that arrives twice is one point there. InfluxDB answers when the points are on disk; VictoriaMetrics keeps the last
seconds in memory, and says nothing of a line that it leaves out.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from typing import Self

from urllib3 import HTTPHeaderDict

from fleet.delivery.batch import Batch
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.compare.matching import MatchedReadings
from fleet.delivery.target import BatchRejected, DeliveryFailed, Receipt, TargetMisconfigured
from fleet.delivery.targets.http.client import HttpClient, HttpTimeouts
from fleet.delivery.targets.http.credentials import Credentials
from fleet.delivery.targets.http.response import (
    CONTENT_TOO_LARGE,
    RETRYABLE_STATUSES,
    UNPROCESSABLE,
    HttpResponse,
    Redact,
    response_reason,
    status_phrase,
)
from fleet.delivery.targets.http.target import GZIP_LEVEL, MAX_RESPONSE_BYTES
from fleet.delivery.targets.influx.address import DEFAULT_VERSION, InfluxAddress, parse_address
from fleet.delivery.targets.influx.lines import history_lines, reading_lines
from fleet.delivery.targets.influx.query import InfluxTable
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryableFailure, RetryPolicy
from fleet.errors import UserError

TOKEN_VARIABLE, USERNAME_VARIABLE, PASSWORD_VARIABLE = "INFLUX_TOKEN", "INFLUX_USERNAME", "INFLUX_PASSWORD"
CREDENTIALS_HINT = f"{TOKEN_VARIABLE}, or {USERNAME_VARIABLE} and {PASSWORD_VARIABLE}, say who is asking"

TIMEOUTS = HttpTimeouts()
CONNECTIONS = 64

BAD_REQUEST = 400


class InfluxTarget:
    """A server. Each thread holds a connection while it delivers."""

    def __init__(
        self, address: InfluxAddress, credentials: Credentials, retry: RetryPolicy, *, gzip: bool = False
    ) -> None:
        self._address, self._credentials, self._retry, self._gzip = address, credentials, retry, gzip
        self._client = HttpClient(address.write, TIMEOUTS, CONNECTIONS)

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        retry = RetryPolicy(options.retry_seconds, stop=options.stop, on_retry=options.on_retry)
        return cls(
            parse_address(url),
            read_credentials(options.environment).with_login(options.login),
            retry,
            gzip=options.gzip,
        )

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        address = parse_address(url, "--against")
        if address.version != DEFAULT_VERSION:
            raise UserError(
                "--against: InfluxDB 2 is asked as version 1: leave out version=2, and map the bucket (DBRP)"
            )
        return MatchedReadings(
            InfluxTable(
                address, read_credentials(options.environment).with_login(options.login), options.table, options.sensor
            )
        )

    @property
    def name(self) -> str:
        return self._address.write.name

    def deliver(self, batch: Batch) -> Receipt:
        """Write the readings, with retries. One that line protocol cannot represent is rejected without being sent."""
        try:
            readings = reading_lines(batch, self._address.format)
            lines = [*history_lines(batch, self._address.format), *readings.lines]
            if lines:
                self._write("\n".join(lines).encode())
        except DeliveryFailed as error:
            raise type(error)(f"{self.name}: {error}") from error
        return Receipt(frozenset(readings.ids), rejected=readings.rejected)

    def cursor(self, source: str) -> None:
        """None: the server keeps no such record."""

    def close(self) -> None:
        self._client.close()

    def _write(self, body: bytes) -> None:
        headers = HTTPHeaderDict({"User-Agent": "fleet-collector", "Content-Type": "text/plain; charset=utf-8"})
        for header, value in self._credentials.headers.items():
            headers[header] = value
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
        self._retry.call(
            lambda: check_response(self._client.post(body, headers, MAX_RESPONSE_BYTES), self._credentials.redact)
        )


def read_credentials(environment: Mapping[str, str]) -> Credentials:
    """Read a token, or a user and a password. UserError names the variable, never its content."""
    token, user = environment.get(TOKEN_VARIABLE, "").strip(), environment.get(USERNAME_VARIABLE, "")
    if token:
        if not (token.isascii() and token.isprintable()):
            raise UserError(f"environment variable {TOKEN_VARIABLE}: wanted the token alone, in ASCII")
        return Credentials({"Authorization": f"Token {token}"})
    if user:
        pair = f"{user}:{environment.get(PASSWORD_VARIABLE, '')}"
        return Credentials({"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})
    return Credentials()


def check_response(response: HttpResponse, redact: Redact) -> None:
    """Check that all points were stored: the status is 204, or the body is empty.

    Of a partial write (400) some are stored; they are sent again in parts until those that the server refuses are found.
    Raises RetryableFailure, BatchRejected or TargetMisconfigured.
    """
    status = response.status
    if 200 <= status < 300:
        if response.body.strip():
            raise TargetMisconfigured(
                f"answered {status} with a body: that acknowledges nothing, is it a server for lines?"
            )
        if not response.ended:
            raise RetryableFailure("the answer was cut short")
        return
    reason = response_reason(response, redact)
    message = ": ".join(filter(None, (f"answered {status} {status_phrase(status)}".rstrip(), reason)))
    if status in RETRYABLE_STATUSES or status >= 500:
        raise RetryableFailure(message, response.retry_after)
    if status in (BAD_REQUEST, CONTENT_TOO_LARGE, UNPROCESSABLE):
        raise BatchRejected(message)
    hints = {401: CREDENTIALS_HINT, 403: CREDENTIALS_HINT, 404: "create the database or bucket first"}
    raise TargetMisconfigured(f"{message} ({hints[status]})" if status in hints else message)

"""Readings as JSON to an HTTP server, which acknowledges them by its answer (`fleet.delivery.targets.answers`)."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace

from urllib3 import HTTPHeaderDict

from fleet.delivery.batch import Batch
from fleet.delivery.target import DeliveryFailed, Receipt
from fleet.delivery.targets.answers import receipt_for
from fleet.delivery.targets.credentials import Credentials
from fleet.delivery.targets.http_client import HttpClient, HttpTimeouts
from fleet.delivery.targets.payload import Payload, build_payload
from fleet.delivery.targets.retry import RetryPolicy
from fleet.delivery.targets.url import parse_address

GZIP_LEVEL = 1
"""A thousand readings come to a twentieth of their size in 3 ms; level 6 takes twice as long for a tenth less."""

MAX_RESPONSE_BYTES, MAX_RESPONSE_BYTES_PER_READING = 64 * 1024, 1024
"""As much of an answer as is read: room for the key of each reading and a reason."""

NO_CREDENTIALS, DEFAULT_TIMEOUTS = Credentials(), HttpTimeouts()


class HttpTarget:
    """A server that takes batches by POST. Safe for several threads; each holds one of `connections` while it delivers.

    Certificates are verified against the system's authorities and those that SSL_CERT_FILE names. No redirect is
    followed, no proxy used.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials = NO_CREDENTIALS,
        *,
        gzip: bool = False,
        retry: RetryPolicy | None = None,
        timeouts: HttpTimeouts = DEFAULT_TIMEOUTS,
        connections: int = 64,
    ) -> None:
        """UserError if the URL is none to post to."""
        self._address = parse_address(url)
        self._credentials, self._gzip = credentials, gzip
        self._retry = retry or RetryPolicy()
        self._client = HttpClient(self._address, timeouts, connections)

    @property
    def name(self) -> str:
        return self._address.name

    def deliver(self, batch: Batch) -> Receipt:
        """Post the batch until it is answered or patience is over. A reading that JSON has no words for is rejected here;
        if nothing is left, nothing is posted."""
        try:
            payload = build_payload(batch)
            if not payload.batch.rows and payload.refused and not (batch.episodes.rows or batch.epochs.rows):
                return Receipt(frozenset(), rejected=payload.refused)
            receipt = self._retry.call(self._attempt(payload))
        except DeliveryFailed as error:
            raise type(error)(f"{self.name}: {error}") from error
        return replace(receipt, rejected={**payload.refused, **receipt.rejected})

    def cursor(self, source: str) -> None:
        """A server keeps no such record that it would tell."""

    def close(self) -> None:
        self._client.close()

    def _attempt(self, payload: Payload) -> Callable[[], Receipt]:
        body = gzip.compress(payload.body, GZIP_LEVEL, mtime=0) if self._gzip else payload.body
        headers = HTTPHeaderDict({"User-Agent": "fleet-collector", "Accept": "application/json"})
        for title, value in self._credentials.headers.items():
            headers[title] = value
        headers["Content-Type"] = "application/json"
        headers["Idempotency-Key"] = payload.batch.token
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
        most = MAX_RESPONSE_BYTES + MAX_RESPONSE_BYTES_PER_READING * len(payload.batch.rows)
        return lambda: receipt_for(self._client.post(body, headers, most), payload.batch, self._credentials.redact)

"""An HTTP server as a target: readings are posted as JSON, and its response acknowledges them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from urllib3 import HTTPHeaderDict

from fleet.delivery.batch import Batch
from fleet.delivery.json_documents import dump_json, history_documents, unserializable, without_readings
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.target import DeliveryFailed, Receipt, Target
from fleet.delivery.targets.http.client import HttpClient, HttpTimeouts, parse_address
from fleet.delivery.targets.http.credentials import Credentials, read_credentials
from fleet.delivery.targets.http.each import HttpEachTarget, parse_each
from fleet.delivery.targets.http.response import receipt_for
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError

GZIP_LEVEL = 1
"""Level 1 shrinks a thousand readings to a twentieth in 3 ms; level 6 takes twice as long and saves a tenth more."""

MAX_RESPONSE_BYTES, MAX_RESPONSE_BYTES_PER_READING = 64 * 1024, 1024
"""The limit of a response: room for the key of each reading and a reason."""

NO_CREDENTIALS, DEFAULT_TIMEOUTS = Credentials(), HttpTimeouts()


class HttpTarget:
    """A server that accepts batches by POST. Each thread holds one of `connections` while it delivers.

    Certificates are verified against the system's authorities and those in SSL_CERT_FILE. Redirects are not followed and
    proxies are not used.
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
        record: Record = ROW,
    ) -> None:
        """UserError if the URL cannot be posted to."""
        self._record = record
        self._address = parse_address(url)
        self._credentials, self._gzip = credentials, gzip
        self._retry = retry or RetryPolicy()
        self._client = HttpClient(self._address, timeouts, connections)

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Target:
        credentials = read_credentials(options.environment).with_login(options.login)
        retry = RetryPolicy(options.retry_seconds, stop=options.stop, on_retry=options.on_retry)
        if each := parse_each(url, options.record):
            return HttpEachTarget(each, credentials, options.record, retry, gzip=options.gzip)
        return cls(url, credentials, gzip=options.gzip, retry=retry, record=options.record)

    @classmethod
    def read_back(cls, _url: str, _options: ReadBackOptions) -> NoReturn:
        """UserError, always. It does not repeat the URL, which may hold a secret."""
        raise UserError(
            "--against: a server that takes readings over HTTP cannot be asked what it holds: name the database that it "
            "writes to, as in sqlite:///central.db for `fleet receive --to central.db`"
        )

    @property
    def name(self) -> str:
        return self._address.name

    def deliver(self, batch: Batch) -> Receipt:
        """Post the batch, with retries. A reading that JSON cannot represent is rejected without being posted."""
        try:
            payload = build_payload(batch, self._record)
            if not payload.batch.rows and payload.rejected and not (batch.episodes.rows or batch.epochs.rows):
                return Receipt(frozenset(), rejected=payload.rejected)
            receipt = self._retry.call(self._attempt(payload))
        except DeliveryFailed as error:
            raise type(error)(f"{self.name}: {error}") from error
        return replace(receipt, rejected={**payload.rejected, **receipt.rejected})

    def cursor(self, source: str) -> None:
        """None: the protocol has no request for a cursor."""

    def close(self) -> None:
        self._client.close()

    def _attempt(self, payload: Payload) -> Callable[[], Receipt]:
        body = gzip.compress(payload.body, GZIP_LEVEL, mtime=0) if self._gzip else payload.body
        headers = HTTPHeaderDict({"User-Agent": "fleet-collector", "Accept": "application/json"})
        for header, value in self._credentials.headers.items():
            headers[header] = value
        headers["Content-Type"] = "application/json"
        headers["Idempotency-Key"] = payload.batch.token
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
        max_bytes = MAX_RESPONSE_BYTES + MAX_RESPONSE_BYTES_PER_READING * len(payload.batch.rows)
        return lambda: receipt_for(self._client.post(body, headers, max_bytes), payload.batch, self._credentials.redact)


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a request. `batch` has the readings in it, `rejected` the reasons for those that it cannot represent, by id."""

    batch: Batch
    body: bytes
    rejected: Mapping[int, str]


def build_payload(batch: Batch, record: Record = ROW) -> Payload:
    """Build the body. BatchRejected if JSON cannot represent an episode or epoch."""
    rejected = unserializable(batch)
    if rejected:
        batch = without_readings(batch, rejected)
    documents = batch.documents() if record is ROW else record.documents(batch)
    body: dict[str, object] = {"readings": documents, "source_db": batch.source.name}
    if batch.source.further:
        body["columns"] = dict(batch.source.further)
    for name, table in (("episodes", batch.episodes), ("epochs", batch.epochs)):
        if table.rows:
            body[name] = history_documents(name, table, batch)
    return Payload(batch, dump_json(body), rejected)

"""An HTTP server as a target that takes one reading per request: `http://HOST/PATH#each`, or any address with the record
`bme280`.

The fragment of a URL is never sent, so it cannot be a part of the address that the server knows.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import quote, urldefrag, urlsplit

from urllib3 import HTTPHeaderDict

from fleet.delivery.batch import Batch, Row, SourceDatabase
from fleet.delivery.json_documents import dump_json, unserializable, without_readings
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.target import BatchRejected, DeliveryFailed, Receipt, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.http.client import HttpClient, HttpTimeouts, parse_address
from fleet.delivery.targets.http.credentials import Credentials
from fleet.delivery.targets.http.response import receipt_for
from fleet.delivery.targets.retry import RetryPolicy
from fleet.errors import UserError
from fleet.escaping import escape_short

FRAGMENT = "each"
DEFAULT_CONNECTIONS, MAX_CONNECTIONS = 8, 64

BME280_RECORD, BME280_PATH = "bme280", "/api/v1/sensors/bme280"
"""The record whose server takes one reading per request, and the path that it is posted to if the URL has none."""

MAX_RESPONSE_BYTES = 64 * 1024
GZIP_LEVEL = 1
DEFAULT_TIMEOUTS = HttpTimeouts(read=10.0)


@dataclass(frozen=True, slots=True)
class EachAddress:
    """The URL without its fragment, and the number of connections. With one, the readings of a database arrive in order."""

    url: str
    connections: int


def parse_each(url: str, record: Record) -> EachAddress | None:
    """Parse the fragment; None if the URL takes batches. UserError for a fragment that means nothing."""
    address, fragment = urldefrag(url)
    name, _, count = fragment.partition("=")
    if fragment and name != FRAGMENT:
        raise UserError(
            f"--to: {escape_short(url)}: #{escape_short(fragment)} means nothing: #each posts each reading on its own, #each=1 in order"
        )
    if count and not (count.isdecimal() and 1 <= int(count) <= MAX_CONNECTIONS):
        raise UserError(
            f"--to: {escape_short(url)}: #each={escape_short(count)}: wanted a number of connections from 1 to {MAX_CONNECTIONS}"
        )
    if not fragment and record.name != BME280_RECORD:
        return None
    parts = urlsplit(address)
    if parts.path in {"", "/"}:
        if record.name != BME280_RECORD:
            raise UserError("--to: #each needs the path that a reading is posted to: http://HOST/PATH#each")
        address = parts._replace(path=BME280_PATH).geturl()
    return EachAddress(address, int(count) if count else DEFAULT_CONNECTIONS)


@dataclass(slots=True)
class Requests:
    """The requests of a batch: readings that are waiting, by id, and what has become of the others."""

    waiting: dict[int, tuple[Row, bytes, str]]
    accepted: set[int] = field(default_factory=set)
    rejected: dict[int, str] = field(default_factory=dict)
    doubt: str = ""


class HttpEachTarget:
    """A server that accepts one reading by POST. The answers mean what they mean for a batch: 2xx acknowledges the reading, 422
    and 413 refuse it.

    Each request has the key of its reading as its Idempotency-Key: when an answer was lost, the reading is posted again.
    """

    def __init__(
        self,
        address: EachAddress,
        credentials: Credentials,
        record: Record = ROW,
        retry: RetryPolicy | None = None,
        *,
        gzip: bool = False,
        timeouts: HttpTimeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        """UserError if the URL cannot be posted to."""
        self._address = parse_address(address.url)
        self._credentials, self._record, self._gzip = credentials, record, gzip
        self._retry = retry or RetryPolicy()
        self._connections = address.connections
        self._client = HttpClient(self._address, timeouts, address.connections)
        self._executor = ThreadPoolExecutor(address.connections, thread_name_prefix="post")
        self._lock = threading.Lock()
        self._has_accepted = False
        self._ahead: dict[str, set[int]] = {}
        """By source, readings that were accepted while an earlier one was not: they come again, and are not posted again."""

    @property
    def name(self) -> str:
        return self._address.name

    def deliver(self, batch: Batch) -> Receipt:
        """Post each reading, with retries. After a failure no further one is posted."""
        if batch.episodes.rows or batch.epochs.rows:
            raise BatchRejected(f"{self.name}: a request has one reading, and no place for episodes and epochs")
        unsuitable = unserializable(batch)
        good = without_readings(batch, unsuitable) if unsuitable else batch
        with self._lock:
            known = self._ahead.get(batch.source.key, set()) & set(good.ids)
        requests = self._requests(without_readings(good, dict.fromkeys(known, "")) if known else good)
        doubt = ""
        try:
            self._post_all(batch.source, requests)
        except DeliveryFailed as error:
            if not requests.accepted and not requests.rejected:
                raise type(error)(f"{self.name}: {error}") from error
            doubt = str(error)
        self._check_target(requests)
        accepted = frozenset(requests.accepted | known)
        self._remember(batch, accepted, requests.waiting.keys())
        return Receipt(accepted, len(known), unsuitable | requests.rejected, doubt or requests.doubt)

    def cursor(self, source: str) -> None:
        """None: the protocol has no request for a cursor."""

    def close(self) -> None:
        self._executor.shutdown()
        self._client.close()

    def _requests(self, batch: Batch) -> Requests:
        documents = self._record.documents(batch)
        parts = zip(batch.ids, batch.rows, documents, batch.keys(), strict=True)
        return Requests({number: (row, dump_json(document), key) for number, row, document, key in parts})

    def _post_all(self, source: SourceDatabase, requests: Requests) -> None:
        """Post until nothing is waiting, or the attempts were in vain. DeliveryFailed is the last failure."""
        while requests.waiting and not self._retry.stop.is_set():
            before = len(requests.waiting)
            try:
                self._retry.call(lambda: self._post_waiting(source, requests))
                return
            except TargetUnavailable:
                if len(requests.waiting) == before:
                    raise

    def _post_waiting(self, source: SourceDatabase, requests: Requests) -> None:
        """Post what is waiting, several at once. DeliveryFailed: the first failure, which ends the others."""
        numbers = iter(list(requests.waiting))
        failures: list[DeliveryFailed] = []

        def work() -> None:
            while not failures and not self._retry.stop.is_set():
                with self._lock:
                    number = next(numbers, None)
                if number is None:
                    return
                try:
                    self._post(source, number, requests)
                except DeliveryFailed as error:
                    failures.append(error)

        running = [self._executor.submit(work) for _ in range(min(self._connections, len(requests.waiting)))]
        for each in running:
            each.result()
        if failures:
            raise failures[0]

    def _post(self, source: SourceDatabase, number: int, requests: Requests) -> None:
        row, body, key = requests.waiting[number]
        headers = HTTPHeaderDict({"User-Agent": "fleet-collector", "Accept": "application/json"})
        for header, value in self._credentials.headers.items():
            headers[header] = value
        headers["Content-Type"] = "application/json"
        headers["Idempotency-Key"] = quote(key)
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
        response = self._client.post(body, headers, MAX_RESPONSE_BYTES)
        try:
            receipt = receipt_for(response, Batch(source, (row,)), self._credentials.redact)
        except BatchRejected as error:
            receipt = Receipt(frozenset(), rejected={number: str(error)})
        with self._lock:
            requests.accepted |= receipt.accepted
            requests.rejected |= receipt.rejected
            requests.doubt = requests.doubt or receipt.doubt
            if receipt.accepted or receipt.rejected:
                del requests.waiting[number]

    def _check_target(self, requests: Requests) -> None:
        """TargetMisconfigured if the server has never accepted a reading, and now refuses all of a batch."""
        self._has_accepted = self._has_accepted or bool(requests.accepted)
        if requests.rejected and not self._has_accepted:
            raise TargetMisconfigured(f"{self.name} refuses every reading: {next(iter(requests.rejected.values()))}")

    def _remember(self, batch: Batch, accepted: frozenset[int], waiting: Collection[int]) -> None:
        first = min(waiting, default=None)
        with self._lock:
            ahead = self._ahead.pop(batch.source.key, set()) - set(batch.ids)
            if first is not None:
                ahead |= {number for number in accepted if number > first}
            if ahead:
                self._ahead[batch.source.key] = ahead

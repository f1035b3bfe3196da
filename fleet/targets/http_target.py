"""Readings as JSON to an HTTP server, which acknowledges them by its answer (`fleet.targets.answers`)."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace

from urllib3 import HTTPHeaderDict

from fleet.collection.batch import Batch
from fleet.collection.target import Failed, Receipt
from fleet.targets.address import address
from fleet.targets.answers import judged
from fleet.targets.credentials import Credentials
from fleet.targets.exchange import Deadlines, Exchange
from fleet.targets.parcel import Parcel, packed
from fleet.targets.patience import Patience

GZIP_LEVEL = 1
"""A thousand readings come to a twentieth of their size in 3 ms; level 6 takes twice as long for a tenth less."""

ANSWER_BYTES, ANSWER_BYTES_PER_READING = 64 * 1024, 1024
"""As much of an answer as is read: room for the key of each reading and a reason."""

NO_CREDENTIALS, USUAL_DEADLINES = Credentials(), Deadlines()


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
        patience: Patience | None = None,
        deadlines: Deadlines = USUAL_DEADLINES,
        connections: int = 64,
    ) -> None:
        """UserError if the URL is none to post to."""
        self._address = address(url)
        self._credentials, self._gzip = credentials, gzip
        self._patience = patience or Patience()
        self._exchange = Exchange(self._address, deadlines, connections)

    @property
    def name(self) -> str:
        return self._address.name

    def deliver(self, batch: Batch) -> Receipt:
        """Post the batch until it is answered or patience is over. A reading that JSON has no words for is rejected here;
        if nothing is left, nothing is posted."""
        try:
            parcel = packed(batch)
            if not parcel.batch.rows and parcel.refused and not (batch.episodes.rows or batch.epochs.rows):
                return Receipt(frozenset(), rejected=parcel.refused)
            receipt = self._patience.call(self._attempt(parcel))
        except Failed as error:
            raise type(error)(f"{self.name}: {error}") from error
        return replace(receipt, rejected={**parcel.refused, **receipt.rejected})

    def cursor(self, source: str) -> None:
        """A server keeps no such record that it would tell."""

    def close(self) -> None:
        self._exchange.close()

    def _attempt(self, parcel: Parcel) -> Callable[[], Receipt]:
        body = gzip.compress(parcel.body, GZIP_LEVEL, mtime=0) if self._gzip else parcel.body
        headers = HTTPHeaderDict({"User-Agent": "fleet-collector", "Accept": "application/json"})
        for title, value in self._credentials.headers.items():
            headers[title] = value
        headers["Content-Type"] = "application/json"
        headers["Idempotency-Key"] = parcel.batch.token
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
        most = ANSWER_BYTES + ANSWER_BYTES_PER_READING * len(parcel.batch.rows)
        return lambda: judged(self._exchange.post(body, headers, most), parcel.batch, self._credentials.hidden)

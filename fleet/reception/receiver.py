"""The receiving end of a sweep as a WSGI application: batches of readings come in by POST, each reading is kept once."""

from __future__ import annotations

import hmac
import json
import threading
import time
from dataclasses import dataclass, field
from errno import ECONNABORTED
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from fleet.central.database import CentralDatabase
from fleet.reception.deliveries import Malformed, Unpacked, unpack
from fleet.reception.desk import Desk, Unwritable
from fleet.reception.metrics import CONTENT_TYPE, ReceiverMetrics
from fleet.reception.misbehaviour import Lot, Lots, Manners
from fleet.reception.request_bodies import Unacceptable, encoding, read_body, unzipped
from fleet.reception.sent_readings import Oversized, Refused

PATHS = ("/api/readings/batch", "/api/readings", "/ingest")
"""All the same: the first is the ancestor's, the last is what its documentation says."""

MEGABYTE = 1_000_000
RETRY_AFTER = "1"
DECODERS = 2
"""Bodies that are taken apart at a time: each takes ten times its size meanwhile."""

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a receiver asks of its senders and grants them. `most_bytes` is the limit of a body, before and after it is
    decompressed. Without a `token` anybody may send."""

    most_bytes: int = 32 * MEGABYTE
    token: str | None = field(default=None, repr=False)
    manners: Manners = field(default_factory=Manners)


class Receiver:
    """The views."""

    def __init__(self, central: CentralDatabase, terms: Terms, metrics: ReceiverMetrics) -> None:
        self._desk, self._terms, self._metrics = Desk(central), terms, metrics
        self._lots = Lots(terms.manners)
        self._decoders = threading.BoundedSemaphore(DECODERS)
        self._begun = time.monotonic()

    def batch(self) -> Response:
        """Take a delivery. Whatever was not taken is named in the answer; without one, nobody knows."""
        if self._terms.token is not None and not authorised(self._terms.token):
            raise Unacceptable(401, "Authorization: a bearer token is needed, the one that RECEIVE_TOKEN names here")
        body = read_body(request.environ, self._terms.most_bytes)
        self._metrics.count_body(len(body))
        lot = self._lots.draw()
        with self._metrics.seconds.time():
            time.sleep(lot.delay)
            if lot.fails:
                self._metrics.count_fault("failed")
                raise Unwritable("failed on purpose")
            document = self._taken(self._unpacked(body))
        return self._acknowledgement(document, lot)

    def _unpacked(self, body: bytes) -> Unpacked:
        with self._decoders:
            try:
                return unpack(unzipped(body, self._terms.most_bytes) if encoding(request.environ) == "gzip" else body)
            except Malformed as error:
                raise Unacceptable(400, str(error)) from None
            except Oversized as error:
                raise Unacceptable(413, str(error)) from None

    def _taken(self, delivery: Unpacked) -> dict[str, Any]:
        duplicates, conflicts = 0, list[Refused]()
        for batch in delivery.batches:
            repeated, refused = self._desk.take(batch)
            duplicates += repeated
            conflicts += refused
        accepted = sum(len(batch.rows) for batch in delivery.batches) - len(conflicts)
        refused = [*delivery.refused, *conflicts]
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("conflict", len(conflicts))):
            self._metrics.count_readings(outcome, count)
        self._metrics.count_readings("rejected", len(refused))
        return {"accepted": accepted, "duplicates": duplicates, "rejected": [told(one) for one in refused]}

    def _acknowledgement(self, document: dict[str, Any], lot: Lot) -> Response:
        if lot.unanswered:
            self._metrics.count_fault("unanswered")
            # The server takes this for a client that went away, and closes the connection.
            raise ConnectionAbortedError(ECONNABORTED, "left without an answer on purpose")
        return answer(document)

    def summary(self) -> Response:
        """What the central database holds, and what came since the receiver was started."""
        document = {
            "central": str(Path(self._desk.central.path)),
            "holds": self._desk.holds(),
            "seconds": round(time.monotonic() - self._begun, 3),
            "deliveries": self._metrics.deliveries(),
            "readings": self._metrics.readings(),
            "bytes": self._metrics.body_bytes(),
            "spoilt_on_purpose": self._metrics.faults(),
        }
        return answer(document)

    def health(self) -> Response:
        """Whether the central database can be written: 200, or 503 with the reason."""
        try:
            self._desk.probe()
        except Unwritable as error:
            return answer({"status": "unhealthy", "reason": str(error)}, 503)
        return answer({"status": "healthy"})

    def metrics(self) -> Response:
        """For Prometheus."""
        return Response(self._metrics.exposition(), content_type=CONTENT_TYPE)

    def count(self, response: Response) -> Response:
        self._metrics.count_request(response.status_code)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response


def create_app(central: CentralDatabase, terms: Terms, metrics: ReceiverMetrics) -> Flask:
    """The WSGI application that takes deliveries into `central`."""
    app = Flask("fleet.collection", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # what is not answered here is the server's: connections that break
    receiver = Receiver(central, terms, metrics)
    for path in PATHS:
        app.add_url_rule(path, endpoint=path, view_func=receiver.batch, methods=["POST"])
    for path, view in {"/": receiver.summary, "/health": receiver.health, "/metrics": receiver.metrics}.items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET"])
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Unacceptable, unacceptable)
    app.register_error_handler(Unwritable, unwritable)
    app.after_request(receiver.count)
    return app


def authorised(token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # The header is Latin-1 to WSGI, whatever the sender meant.
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token.encode())


def answer(document: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(document), status, mimetype="application/json")


def told(refused: Refused) -> dict[str, Any]:
    known = {"key": refused.key, "id": refused.id, "reason": refused.reason}
    return {name: value for name, value in known.items() if value is not None}


def refused(error: HTTPException) -> Response:
    response = answer({"error": error.description or error.name}, error.code or 500)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers["Allow"] = value
    return response


def unacceptable(error: Unacceptable) -> Response:
    response = answer({"error": str(error)}, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def unwritable(error: Unwritable) -> Response:
    response = answer({"error": str(error)}, 503)
    response.headers["Retry-After"] = RETRY_AFTER
    return response

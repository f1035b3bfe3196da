"""The receiver as a WSGI application: it takes batches of readings by POST and stores each reading once."""

from __future__ import annotations

import hmac
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from errno import ECONNABORTED
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from fleet.delivery.receiver.faults import FaultConfig, RequestFault, RequestFaultGenerator
from fleet.delivery.receiver.metrics import CONTENT_TYPE, ReceiverMetrics
from fleet.delivery.receiver.request_bodies import RequestRejected, body_length, encoding, gunzip, read_body
from fleet.delivery.receiver.store import CentralStore, StoreUnavailable
from fleet.delivery.receiver.uploads import BodyTooLarge, MalformedBody, ParsedUpload, RejectedReading, parse_upload
from fleet.delivery.targets.sqlite.central_database import CentralDatabase
from fleet.web.connections import MAX_BODY_BYTES

UPLOAD_PATHS = ("/api/readings/batch", "/api/readings", "/ingest")
"""The paths for batches, all equivalent. The first is that of the ancestor's collector, the last that of its documentation."""

MEGABYTE = 1_000_000
RETRY_AFTER_SECONDS = "1"
MAX_CONCURRENT_DECODES = 2
"""Bodies that are parsed at a time: each needs ten times its size in memory."""

RESPONSE_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class ReceiverConfig:
    """The configuration of a receiver. `max_body_bytes` limits a body before and after decompression. Without a `token`,
    any client may send."""

    max_body_bytes: int = 32 * MEGABYTE
    token: str | None = field(default=None, repr=False)
    faults: FaultConfig = field(default_factory=FaultConfig)


class Receiver:
    """The views of the application."""

    def __init__(self, central: CentralDatabase, config: ReceiverConfig, metrics: ReceiverMetrics) -> None:
        self._store, self._config, self._metrics = CentralStore(central), config, metrics
        self._faults = RequestFaultGenerator(config.faults)
        self._decoders = threading.BoundedSemaphore(MAX_CONCURRENT_DECODES)
        self._started_at = time.monotonic()

    def batch(self) -> Response:
        """Store the batches of a body. The response lists the readings that were rejected."""
        check_token(request.environ, self._config.token)
        body = read_body(request.environ, self._config.max_body_bytes)
        self._metrics.count_body(len(body))
        fault = self._faults.draw()
        with self._metrics.seconds.time():
            time.sleep(fault.delay)
            if fault.fails:
                self._metrics.count_fault("failed")
                raise StoreUnavailable("failed on purpose")
            document = self._store_batches(self._parse_body(body))
        return self._acknowledgement(document, fault)

    def _parse_body(self, body: bytes) -> ParsedUpload:
        with self._decoders:
            try:
                return parse_upload(
                    gunzip(body, self._config.max_body_bytes) if encoding(request.environ) == "gzip" else body
                )
            except MalformedBody as error:
                raise RequestRejected(400, str(error)) from None
            except BodyTooLarge as error:
                raise RequestRejected(413, str(error)) from None

    def _store_batches(self, upload: ParsedUpload) -> dict[str, Any]:
        duplicates, conflicts, note = 0, list[RejectedReading](), ""
        for batch in upload.batches:
            repeated, rejected, said = self._store.store(batch)
            note = note or said
            duplicates += repeated
            conflicts += rejected
        accepted = sum(len(batch.rows) for batch in upload.batches) - len(conflicts)
        rejected = [*upload.rejected, *conflicts]
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("conflict", len(conflicts))):
            self._metrics.count_readings(outcome, count)
        self._metrics.count_readings("rejected", len(rejected))
        return {
            "accepted": accepted,
            "duplicates": duplicates,
            "rejected": [rejection_document(one) for one in rejected],
            **({"note": note} if note else {}),
        }

    def _acknowledgement(self, document: dict[str, Any], fault: RequestFault) -> Response:
        if fault.unanswered:
            self._metrics.count_fault("unanswered")
            # The server treats this as a client that disconnected, and closes the connection.
            raise ConnectionAbortedError(ECONNABORTED, "left without an answer on purpose")
        return answer(document)

    def summary(self) -> Response:
        """The numbers of the central database, and of the deliveries since the receiver started."""
        document = {
            "central": str(Path(self._store.central.path)),
            "holds": self._store.counts(),
            "seconds": round(time.monotonic() - self._started_at, 3),
            "deliveries": self._metrics.deliveries(),
            "readings": self._metrics.readings(),
            "bytes": self._metrics.body_bytes(),
            "spoilt_on_purpose": self._metrics.faults(),
        }
        return answer(document)

    def health(self) -> Response:
        """200 if the central database can be written, 503 with the reason if not."""
        try:
            self._store.probe()
        except StoreUnavailable as error:
            return answer({"status": "unhealthy", "reason": str(error)}, 503)
        return answer({"status": "healthy"})

    def metrics(self) -> Response:
        """The metrics for Prometheus."""
        return Response(self._metrics.exposition(), content_type=CONTENT_TYPE)

    def count(self, response: Response) -> Response:
        self._metrics.count_request(response.status_code)
        for name, value in RESPONSE_HEADERS.items():
            response.headers[name] = value
        return response


def create_app(central: CentralDatabase, config: ReceiverConfig, metrics: ReceiverMetrics) -> Flask:
    """The WSGI application that stores deliveries in `central`."""
    app = Flask("fleet.delivery", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # other exceptions are the server's to handle: broken connections
    receiver = Receiver(central, config, metrics)
    for path in UPLOAD_PATHS:
        app.add_url_rule(path, endpoint=path, view_func=receiver.batch, methods=["POST"])
    for path, view in {"/": receiver.summary, "/health": receiver.health, "/metrics": receiver.metrics}.items():
        app.add_url_rule(path, endpoint=path, view_func=view, methods=["GET"])
    app.register_error_handler(HTTPException, render_http_error)
    app.register_error_handler(RequestRejected, render_rejection)
    app.register_error_handler(StoreUnavailable, render_unavailable)
    app.after_request(receiver.count)
    return app


def check_token(environ: Mapping[str, Any], token: str | None) -> None:
    """Check that the sender of a WSGI request presents the token. Raises RequestRejected."""
    scheme, _, sent = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    # WSGI decodes headers as Latin-1.
    known = scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode("latin-1"), (token or "").encode())
    if token is not None and not known:
        raise RequestRejected(401, "Authorization: a bearer token is needed, the one that RECEIVE_TOKEN names here")


def body_bytes(head: bytes, config: ReceiverConfig) -> int:
    """The bytes of a body that are to be received before the request with these headers is handled.

    The body of a request that is refused by its headers is received only if it is short: then the connection can be kept.
    """
    environ = parse_head(head)
    length = environ.get("CONTENT_LENGTH", "0")
    refused = int(length) if re.fullmatch(r"[0-9]{1,9}", length) and int(length) <= MAX_BODY_BYTES else 0
    if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] not in UPLOAD_PATHS:
        return refused
    try:
        check_token(environ, config.token)
        return body_length(environ, config.max_body_bytes)
    except RequestRejected:
        return refused


def parse_head(head: bytes) -> dict[str, str]:
    """The names of WSGI for the parts of a request that decide on its body."""
    line, *headers = head.decode("latin-1").split("\n")
    method, _, target = line.strip().partition(" ")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": unquote(urlsplit_path(target.partition(" ")[0]))}
    for header in headers:
        name, _, value = header.partition(":")
        variable = name.strip().upper().replace("-", "_")
        prefix = "" if variable in {"CONTENT_LENGTH", "CONTENT_TYPE"} else "HTTP_"
        environ[prefix + variable] = value.strip()
    return environ


def urlsplit_path(target: str) -> str:
    try:
        return urlsplit(target).path
    except ValueError:
        return ""


def answer(document: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(document), status, mimetype="application/json")


def rejection_document(rejected: RejectedReading) -> dict[str, Any]:
    known = {"key": rejected.key, "id": rejected.id, "reason": rejected.reason}
    return {name: value for name, value in known.items() if value is not None}


def render_http_error(error: HTTPException) -> Response:
    response = answer({"error": error.description or error.name}, error.code or 500)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers["Allow"] = value
    return response


def render_rejection(error: RequestRejected) -> Response:
    response = answer({"error": str(error)}, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def render_unavailable(error: StoreUnavailable) -> Response:
    response = answer({"error": str(error)}, 503)
    response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    return response

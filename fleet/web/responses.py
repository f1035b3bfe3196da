"""Answers in JSON, with and without caching, and values from the query string.

A document that depends on the scoreboard alone is encoded once per observation (`cached_json`, `conditional_json`). One
that is read from databases is built for each request (`json_response`, `compressed_json`): the cache builds one document
at a time, and a locked database must not delay the others.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

from flask import Response, request
from werkzeug.exceptions import BadRequest

from fleet.errors import UserError
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document
from fleet.web.documents.ranges import TimeRange, parse_range

MIN_GZIP_BYTES = 500
"""Size in bytes from which compression is worth its time."""


def encode_json(document: Document | list[Document]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A folder whose name is in Latin-1 cannot be encoded as UTF-8; it is escaped as JSON does it: \udcff.
    return text.encode(errors="backslashreplace")


def json_response(document: Document | list[Document], status: int = 200) -> Response:
    return json_body_response(encode_json(document), status)


def json_body_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, mimetype="application/json")


def cached_json(observation: Observation, build: Callable[[], Document], query: tuple[object, ...] = ()) -> Response:
    """Answer with a document that is built once per observation, path and `query`."""
    return json_body_response(observation.body_cache.get((request.path, query), lambda: encode_json(build())))


def conditional_json(observation: Observation, etag: str, build: Callable[[], Document]) -> Response:
    """Answer as `cached_json`, gzipped if the client accepts it, and with 304 if the client has the document of `etag`."""
    if request.if_none_match.contains(etag):
        response = Response(status=304)
    else:
        cache = observation.body_cache
        body = cache.get((request.path, "plain"), lambda: encode_json(build()))
        compressed = None
        if accepts_gzip():
            compressed = cache.get((request.path, "gzip"), lambda: gzip.compress(body, 4, mtime=0))
        response = negotiated_response(body, compressed)
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache"  # a client may keep it, and must ask each time if it is current
    return response


def compressed_json(document: Document) -> Response:
    """Answer with a document, gzipped if the client accepts it."""
    body = encode_json(document)
    is_compressed = accepts_gzip() and len(body) >= MIN_GZIP_BYTES
    return negotiated_response(body, gzip.compress(body, 5, mtime=0) if is_compressed else None)


def accepts_gzip() -> bool:
    return request.accept_encodings.quality("gzip") > 0


def negotiated_response(body: bytes, compressed: bytes | None) -> Response:
    response = json_body_response(body if compressed is None else compressed)
    response.headers["Vary"] = "Accept-Encoding"
    if compressed is not None:
        response.headers["Content-Encoding"] = "gzip"
    return response


def integer_argument(name: str, default: int, minimum: int, maximum: int) -> int:
    """Return a whole number from the query string. Raises BadRequest, which names the allowed range."""
    number = optional_integer_argument(name, minimum, maximum)
    return default if number is None else number


def optional_integer_argument(name: str, minimum: int, maximum: int) -> int | None:
    """Return a whole number from the query string, None if it is absent. Raises BadRequest."""
    text = request.args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and minimum <= int(text) <= maximum):
        raise BadRequest(f"{name}={text[:40]!r}: allowed is a whole number from {minimum} to {maximum}")
    return int(text)


def range_arguments() -> TimeRange:
    """Return the range of `from` and `to` in the query string. Raises BadRequest."""
    try:
        return parse_range(request.args.get("from"), request.args.get("to"))
    except UserError as error:
        raise BadRequest(str(error)) from None


def choice_argument(name: str, allowed: tuple[str, ...]) -> str | None:
    """Return one of `allowed` from the query string, None if it is absent. Raises BadRequest."""
    text = request.args.get(name)
    if text is not None and text not in allowed:
        raise BadRequest(f"{name}={text[:40]!r}: allowed is one of {', '.join(allowed)}")
    return text

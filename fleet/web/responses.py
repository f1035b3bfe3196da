"""What the views of the HTTP side have in common: answers in JSON, numbers in a query."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

from flask import Response, request
from werkzeug.exceptions import BadRequest

from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document

MIN_GZIP_BYTES = 500
"""Bytes of an answer that is worth packing."""


class SensorNotFound(Exception):
    """Nobody of that name is in the fleet."""


def encode_json(document: Document) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # What no UTF-8 can spell, such as a folder whose name is in Latin-1, is spelled as JSON escapes it: \udcff.
    return text.encode(errors="backslashreplace")


def json_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, mimetype="application/json")


def integer_argument(name: str, default: int | None, minimum: int, maximum: int) -> int | None:
    """A whole number from the query; raises BadRequest, which names what is allowed."""
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and minimum <= int(text) <= maximum):
        raise BadRequest(f"{name}={text[:40]!r}: allowed is a whole number from {minimum} to {maximum}")
    return int(text)


def choice_argument(name: str, allowed: tuple[str, ...]) -> str | None:
    """One of some words from the query; raises BadRequest, which names them."""
    text = request.args.get(name)
    if text is not None and text not in allowed:
        raise BadRequest(f"{name}={text[:40]!r}: allowed is one of {', '.join(allowed)}")
    return text


def gzipped_response(document: Document) -> Response:
    """A document, gzipped for a client that takes it so."""
    body = encode_json(document)
    return encoded_response(
        body, gzip.compress(body, 5, mtime=0) if accepts_gzip() and len(body) >= MIN_GZIP_BYTES else None
    )


def cached_response(observation: Observation, path: str, tag: str, build: Callable[[], Document]) -> Response:
    """A document that is encoded and gzipped once for each observation. A client that has the one of that tag already
    is told so."""
    if request.if_none_match.contains(tag):
        response = Response(status=304)
    else:
        body = observation.body_cache.get((path, "plain"), lambda: encode_json(build()))
        small = (
            observation.body_cache.get((path, "gzip"), lambda: gzip.compress(body, 4, mtime=0))
            if accepts_gzip()
            else None
        )
        response = encoded_response(body, small)
    response.set_etag(tag)
    response.headers["Cache-Control"] = "no-cache"  # to be kept, and asked after every time
    return response


def accepts_gzip() -> bool:
    return request.accept_encodings.quality("gzip") > 0


def encoded_response(body: bytes, small: bytes | None) -> Response:
    response = json_response(body if small is None else small)
    response.headers["Vary"] = "Accept-Encoding"
    if small is not None:
        response.headers["Content-Encoding"] = "gzip"
    return response

"""What the views of the HTTP side have in common: answers in JSON, numbers in a query."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

from flask import Response, request
from werkzeug.exceptions import BadRequest

from fleet.web.observation import Observation
from fleet.web.sensors import Document

SMALLEST_PACKED = 500
"""Bytes of an answer that is worth packing."""


class NoSensor(Exception):
    """Nobody of that name is in the fleet."""


def encoded(document: Document) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # What no UTF-8 can spell, such as a folder whose name is in Latin-1, is spelled as JSON escapes it: \udcff.
    return text.encode(errors="backslashreplace")


def answer(body: bytes, status: int = 200) -> Response:
    return Response(body, status, mimetype="application/json")


def whole(name: str, default: int | None, least: int, most: int) -> int | None:
    """A whole number from the query; raises BadRequest, which names what is allowed."""
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise BadRequest(f"{name}={text[:40]!r}: allowed is a whole number from {least} to {most}")
    return int(text)


def choice(name: str, allowed: tuple[str, ...]) -> str | None:
    """One of some words from the query; raises BadRequest, which names them."""
    text = request.args.get(name)
    if text is not None and text not in allowed:
        raise BadRequest(f"{name}={text[:40]!r}: allowed is one of {', '.join(allowed)}")
    return text


def packed(document: Document) -> Response:
    """A document, gzipped for a client that takes it so."""
    body = encoded(document)
    return sent(body, gzip.compress(body, 5, mtime=0) if takes_gzip() and len(body) >= SMALLEST_PACKED else None)


def kept(observation: Observation, path: str, tag: str, build: Callable[[], Document]) -> Response:
    """A document that is encoded and gzipped once for each observation. A client that has the one of that tag already
    is told so."""
    if request.if_none_match.contains(tag):
        response = Response(status=304)
    else:
        body = observation.bodies.get((path, "plain"), lambda: encoded(build()))
        small = (
            observation.bodies.get((path, "gzip"), lambda: gzip.compress(body, 4, mtime=0)) if takes_gzip() else None
        )
        response = sent(body, small)
    response.set_etag(tag)
    response.headers["Cache-Control"] = "no-cache"  # to be kept, and asked after every time
    return response


def takes_gzip() -> bool:
    return request.accept_encodings.quality("gzip") > 0


def sent(body: bytes, small: bytes | None) -> Response:
    response = answer(body if small is None else small)
    response.headers["Vary"] = "Accept-Encoding"
    if small is not None:
        response.headers["Content-Encoding"] = "gzip"
    return response

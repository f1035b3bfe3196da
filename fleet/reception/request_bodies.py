"""Bodies of requests: read as long as they may be, unpacked as far as they may grow."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Protocol

CHUNK = 64 * 1024

GZIP = 16 + zlib.MAX_WBITS

JSON = "application/json"


class Unacceptable(Exception):
    """A request whose body is not read, or of no use. `str(error)` is one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """The body of a WSGI request as it came over the wire, of at most `limit` bytes. Raises Unacceptable."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        raise Unacceptable(411, "Content-Length is missing")
    media = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media != JSON:
        raise Unacceptable(415, f"Content-Type: {media[:60]!a}: allowed is {JSON}")
    if encoding(environ) not in {"", "identity", "gzip"}:
        raise Unacceptable(415, f"Content-Encoding: {encoding(environ)[:60]!a}: allowed is gzip")
    if int(length) > limit:
        raise Unacceptable(413, f"the body has {length} bytes: allowed are {limit}")
    body = b"".join(chunks(environ["wsgi.input"], int(length)))
    if len(body) < int(length):
        raise Unacceptable(400, f"the body ended after {len(body)} of {length} bytes")
    return body


def chunks(stream: Stream, length: int) -> list[bytes]:
    """In pieces: asked for all at once, cheroot makes a buffer of that size for each packet."""
    found = []
    while length > 0 and (chunk := stream.read(min(CHUNK, length))):
        found.append(chunk)
        length -= len(chunk)
    return found


def encoding(environ: Mapping[str, Any]) -> str:
    return str(environ.get("HTTP_CONTENT_ENCODING", "")).strip().lower()


def unzipped(body: bytes, limit: int) -> bytes:
    """What a gzip file holds, of at most `limit` bytes. Raises Unacceptable."""
    file = zlib.decompressobj(GZIP)
    try:
        found = file.decompress(body, limit + 1)
    except zlib.error as error:
        raise Unacceptable(400, f"the body is no gzip: {error}") from None
    if len(found) > limit:
        raise Unacceptable(413, f"the body has more than {limit} bytes once it is decompressed: allowed are {limit}")
    if not file.eof or file.unused_data:
        raise Unacceptable(400, "the body is not one whole gzip file")
    return found

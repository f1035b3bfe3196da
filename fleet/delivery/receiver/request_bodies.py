"""The bodies of requests: reading and decompressing them within limits."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Protocol

CHUNK_BYTES = 64 * 1024

GZIP_WBITS = 16 + zlib.MAX_WBITS

JSON_MEDIA_TYPE = "application/json"


class RequestRejected(Exception):
    """A request that is rejected with a status. `str(error)` is one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ByteReader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def body_length(environ: Mapping[str, Any], limit: int) -> int:
    """The length of the body of a WSGI request, by its headers. Raises RequestRejected if it is not to be read."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        raise RequestRejected(411, "Content-Length is missing")
    media = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media != JSON_MEDIA_TYPE:
        raise RequestRejected(415, f"Content-Type: {media[:60]!a}: allowed is {JSON_MEDIA_TYPE}")
    if encoding(environ) not in {"", "identity", "gzip"}:
        raise RequestRejected(415, f"Content-Encoding: {encoding(environ)[:60]!a}: allowed is gzip")
    if int(length) > limit:
        raise RequestRejected(413, f"the body has {length} bytes: allowed are {limit}")
    return int(length)


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """Read the body of a WSGI request, of at most `limit` bytes. Raises RequestRejected."""
    length = body_length(environ, limit)
    body = b"".join(body_chunks(environ["wsgi.input"], length))
    if len(body) < length:
        raise RequestRejected(400, f"the body ended after {len(body)} of {length} bytes")
    return body


def body_chunks(stream: ByteReader, length: int) -> list[bytes]:
    """Read a body in chunks: cheroot allocates a buffer of the requested size for each packet."""
    chunks = []
    while length > 0 and (chunk := stream.read(min(CHUNK_BYTES, length))):
        chunks.append(chunk)
        length -= len(chunk)
    return chunks


def encoding(environ: Mapping[str, Any]) -> str:
    return str(environ.get("HTTP_CONTENT_ENCODING", "")).strip().lower()


def gunzip(body: bytes, limit: int) -> bytes:
    """Decompress a gzip file, to at most `limit` bytes. Raises RequestRejected."""
    file = zlib.decompressobj(GZIP_WBITS)
    try:
        content = file.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestRejected(400, f"the body is no gzip: {error}") from None
    if len(content) > limit:
        raise RequestRejected(413, f"the body has more than {limit} bytes once it is decompressed: allowed are {limit}")
    if not file.eof or file.unused_data:
        raise RequestRejected(400, "the body is not one whole gzip file")
    return content

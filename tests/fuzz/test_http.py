"""Whatever is asked of the HTTP server, in whatever bytes: it answers in one of its own forms, and goes on."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fleet.staged import StagedFleet
from tests.fleet.web.test_server import Served
from tests.fuzz.bounds import examples
from tests.fuzz.http_requests import GOOD_PATHS, QUERIES, requests

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    staged = StagedFleet(tmp_path_factory.mktemp("http") / "data")
    staged.write(0, 5, "spike")
    served = Served(staged)
    try:
        assert {"status": "alive"} == served.get("/livez")
        yield served
        assert served.process.poll() is None
        served.lifeline.close()
        served.ended()  # and it said nothing: no traceback of a thread or of a connection
    finally:
        served.close()


def answers(served: Served, said: bytes) -> bytes:
    """All that comes back until the server ends the connection."""
    with served.connect() as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        heard = b""
        client.sendall(said)
        with contextlib.suppress(OSError):  # it has been ended from the other side
            client.shutdown(socket.SHUT_WR)
        while more := client.recv(65536):
            heard += more
            assert len(heard) < 5_000_000
        return heard
    return heard


def assert_forms(heard: bytes) -> None:
    """The first answer is one that the product means: its status is no 5xx but that of a fleet which is not well, and a
    refusal is JSON with an error. (HTTP/0.9 and HEAD have no form, and an end without an answer is one too.)"""
    if not heard.startswith(b"HTTP/"):
        assert b"" == heard
        return
    head, _, body = heard.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status < 500 or status in (501, 503, 505), heard[:2000]
    if body.startswith(b"HTTP/"):  # HEAD has no body, and this is the answer to what came after it
        assert_forms(body)
    elif status >= 400 and body and b"application/json" in head:
        document = json.JSONDecoder().raw_decode(body.decode())[0]
        assert "error" in document or status == 503
    assert status < 400 or b"application/json" in head, heard[:2000]


@examples(400)
@given(request=requests())
def test_a_request_of_any_kind(served: Served, request: bytes) -> None:
    """Methods, paths, queries, headers and bodies of any kind."""
    assert_forms(answers(served, request))


@examples(80)
@given(
    said=st.binary(max_size=200)
    | st.sampled_from((b"\r\n" * 50_000, b"\0" * 70_000, b"G" * 70_000, b"\x16\x03\x01" * 9))
)
def test_bytes_of_any_kind(served: Served, said: bytes) -> None:
    """What is no HTTP at all."""
    assert_forms(answers(served, said))


@examples(40)
@given(said=st.lists(requests(), min_size=2, max_size=5), cut=st.integers(0, 400))
def test_requests_in_a_row(served: Served, said: list[bytes], cut: int) -> None:
    """On one connection, the last one cut off."""
    joined = b"".join(said)
    assert_forms(answers(served, joined[: max(len(joined) - cut, 1)]))

    assert served.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[0] in (200, 503)


@examples(150)
@given(
    path=st.sampled_from(GOOD_PATHS),
    query=st.sampled_from(QUERIES) | st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x21), max_size=30),
)
def test_a_query_of_any_kind(served: Served, path: str, query: str) -> None:
    """Is ignored or refused by name; the answer is whole. (Nobody beats here: the fleet looks hung after a while.)"""
    heard = answers(served, f"GET {path}?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = heard.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in ((200, 400, 503) if path.endswith("healthz") else (200, 400)), heard[:2000]
    if b"application/json" in head:
        json.loads(body)

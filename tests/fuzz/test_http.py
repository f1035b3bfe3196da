"""Whatever is asked of the HTTP server, in whatever bytes: it answers in one of its own forms, and goes on."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fleet.staged import Staged, name
from tests.fleet.test_server import Served
from tests.fuzz.bounds import examples

PATHS = (
    *(
        "/",
        "/livez",
        "/healthz",
        "/statusz",
        "/metricz",
        "/samplez",
        "/db_stats",
        "/grid",
        "/workers",
        "/static/fleet.css",
    ),
    *(
        f"/workers/{name(0)}{rest}"
        for rest in ("", "/healthz", "/statusz", "/metricz", "/samplez", "/db_stats", "/episodes")
    ),
    *(
        "//",
        "//workers",
        "/workers/",
        "/workers//healthz",
        "/./workers",
        "/../etc/passwd",
        "/static/../server.py",
        "/static/",
    ),
    *(
        "/static/%2e%2e/server.py",
        "/static/%00",
        "/static/" + "x" * 300,
        "/workers/%00",
        "/workers/%2f",
        "/workers/%ff",
    ),
    *(
        "/workers/" + "x" * 5000,
        "/workers/é",
        "/WORKERS",
        "/workers;a=b",
        "/workers%3flimit=1",
        "*",
        "",
        "workers",
        "http:",
    ),
    *(
        "http://other/workers",
        "http://[::1",
        "//[/workers",
        "/workers#x",
        "/%",
        "/%zz",
        "/%u0041",
        "/\\workers",
        "/a b",
    ),
)
QUERIES = (
    *(
        "limit=1",
        "limit=",
        "limit",
        "limit=-1",
        "limit=1e3",
        "limit=999999999999",
        "limit=%00",
        "limit=٣",
        "limit=²",
        "limit=1&limit=x",
    ),
    *(
        "offset=5",
        "offset=%ff",
        "state=healthy",
        "state=hung",
        "state=%e2%80%a8",
        "state=" + "x" * 3000,
        "&&&",
        "=",
        "%",
        "a[]=1",
    ),
    *("limit=1" + "&a=b" * 2000, "limit=1;offset=2", "?limit=1", "limit=+1", "limit=%31", "\x1b[31m", "é=é"),
)
METHODS = (
    "GET",
    "GET",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PATCH",
    "FOO",
    "get",
    "",
    "G@T",
    "X" * 3000,
)
VERSIONS = (
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "HTTP/0.9",
    "HTTP/1",
    "HTTP/1.1.1",
    "HTTP/x.y",
    "http/1.1",
    "",
    "FTP/1.1",
    "HTTP/1.1 x",
)
HEADERS = (
    *(
        "Content-Length: 0",
        "Content-Length: 5",
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 99999999999999",
    ),
    *(
        "Content-Length: 70000",
        "Content-Length: 5, 5",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: x",
        "Expect: 100-continue",
    ),
    *(
        "Transfer-Encoding: chunked, gzip",
        "Expect: x",
        "Connection: keep-alive",
        "Connection: Upgrade",
        "Upgrade: websocket",
    ),
    *(
        "Host: ",
        "Host: a b",
        "Host: \xff",
        "Host: x:99999",
        "Host: [",
        "Host: ../x",
        "Accept-Encoding: gzip;q=x",
        "Range: bytes=5-1",
    ),
    *(
        "Range: bytes=-99999",
        "Range: x",
        'If-None-Match: "',
        "If-Modified-Since: never",
        "If-Modified-Since: Thu, 99 Foo 9999",
    ),
    *(
        "If-Range: x",
        "Cookie: =;=",
        "Authorization: Basic \xff",
        "Accept: */*;q=z",
        "X: " + "y" * 20_000,
        "X: \0",
        "X : y",
        ": y",
    ),
    *(
        "no colon",
        " folded",
        "X:\ty",
        "\xff: y",
        "Content-Type: multipart/form-data; boundary=",
        'Forwarded: for="',
        "X-Forwarded-Host: \r",
    ),
    *(
        "A: b\n\tc",
        "Content-Type: \xff; charset=\xfe",
        "Date: \x1b[31m",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ),
)
BODIES = (
    b"",
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\n",
    b"-1\r\n",
    b"ffffffffffffffff\r\n",
    b"\xff" * 100,
    b"x" * 70_000,
)

odd = st.binary(max_size=12)
targets = st.one_of(
    st.sampled_from(PATHS).map(lambda path: path.encode()),
    st.tuples(st.sampled_from(PATHS), st.sampled_from(QUERIES)).map("?".join).map(str.encode),
    odd.map(lambda data: b"/workers/" + quote_from_bytes(data).encode()),
    odd.map(lambda data: b"/workers?limit=" + quote_from_bytes(data).encode()),
    odd.map(lambda data: b"/" + data),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The bytes of one request, most of them nearly right."""
    words = [draw(st.sampled_from(METHODS)).encode(), draw(targets), draw(st.sampled_from(VERSIONS)).encode()]
    host = draw(st.sampled_from((["Host: x"], ["Host: x"], ["Host: x"], [], ["Host: x", "Host: y"])))
    headers = [line.encode("latin-1") for line in (*host, *draw(st.lists(st.sampled_from(HEADERS), max_size=3)))]
    headers += draw(st.lists(odd, max_size=1))
    end = draw(st.sampled_from((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r")))
    space = draw(st.sampled_from((b" ", b" ", b" ", b"  ", b"\t")))
    return end.join((space.join(words), *headers, b"", b"")) + draw(st.sampled_from(BODIES))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    staged = Staged(tmp_path_factory.mktemp("http") / "data")
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
    if status >= 400 and body and b"application/json" in head:
        document = json.JSONDecoder().raw_decode(body.decode())[0]
        assert "error" in document or status == 503
    assert status < 400 or b"application/json" in head, heard[:2000]


@examples(250)
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

    assert served.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] in (200, 503)


@examples(40)
@given(
    path=st.sampled_from(PATHS[:18]),
    query=st.sampled_from(QUERIES) | st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x21), max_size=30),
)
def test_a_query_of_any_kind(served: Served, path: str, query: str) -> None:
    """Is ignored or refused by name; the answer is whole."""
    heard = answers(served, f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = heard.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in (200, 400)
    if b"application/json" in head:
        json.loads(body)

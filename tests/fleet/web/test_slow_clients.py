"""Slow, large and silent clients, which must not delay the others."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fleet.runtime.commands import Scale
from fleet.web.connections import MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_UNSENT_BYTES, TIMEOUT_SECONDS
from fleet.web.server import WORKER_THREADS
from tests.fleet.sites import JSON, ServerProcess, read

pytestmark = pytest.mark.thorough

LARGE = 100_000_000


def test_a_large_body_is_not_read(site: ServerProcess) -> None:
    """A body of 100 MB, of unknown or of malformed length is refused unread."""
    head = f"POST /api/scale HTTP/1.1\r\nHost: {site.host}\r\nContent-Type: {JSON}\r\n"
    head += f"Authorization: Bearer {site.token}\r\n"
    for more, status in (
        (f"Content-Length: {LARGE}\r\n", b"413"),
        ("Content-Length: -1\r\n", b"400"),
        ("Content-Length: +1\r\n", b"400"),
        ("Content-Length:\r\n 100\r\n", b"400"),
        ("Content-Length: many\r\n", b"400"),
        ("Transfer-Encoding: chunked\r\n", b"411"),
        ("", b"411"),
    ):
        with site.connect() as client:
            client.sendall(f"{head}{more}\r\n".encode())
            with suppress(ConnectionError):  # it is closed with the rest unread
                for _ in range(LARGE // 100_000 if "1000" in more else 1):
                    client.sendall(b"x" * 1000)
            assert status == read(client)[9:12], more
        assert site.healthy() < 1
    assert [] == site.commands


WORDS: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda _: b"",
    "half a line": lambda _: b"GET /hea",
    "half a head": lambda _: b"POST /api/scale HTTP/1.1\r\nHost: localhost\r\nX: ",
    "half a body": lambda _: b"POST /api/scale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n{",
}


@pytest.mark.parametrize("words", WORDS)
def test_a_thousand_incomplete_requests_delay_no_other(site: ServerProcess, words: str) -> None:
    """/healthz answers within a second throughout; over the limit the longest-idle connections are closed."""
    assert MAX_CONNECTIONS < 1000
    with ExitStack() as clients:
        for number in range(1000):
            client = clients.enter_context(site.connect())
            with suppress(ConnectionError):
                client.sendall(WORDS[words](number))
            if number % 200 == 199:
                assert site.healthy() < 1
        assert site.healthy() < 1
    assert site.healthy() < 1
    assert [] == site.commands


def test_a_request_may_arrive_in_pieces(site: ServerProcess) -> None:
    """Byte by byte, and two at once: each is answered once it is complete."""
    body = b'{"count": 5}'
    head = f"POST /api/scale HTTP/1.1\r\nHost: {site.host}\r\nContent-Type: {JSON}\r\nConnection: close\r\n"
    whole = f"{head}Authorization: Bearer {site.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with site.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(whole)):
            client.sendall(whole[number : number + 1])
        assert b"200" == read(client)[9:12]
    assert [5] == [command.count for command in site.commands if isinstance(command, Scale)]
    with site.connect() as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2 + b"GET /livez HTTP/1.1\r\n")
        answers = read(client)
        while answers.count(b"alive") < 2:
            answers += read(client)
        client.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
        assert b"alive" in b"".join(iter(lambda: read(client), b""))


def test_a_head_without_end_is_refused(site: ServerProcess) -> None:
    with site.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEADER_BYTES)
        assert b"413" == read(client)[9:12]


LIGHTS = b"GET /static/lights.bin.gz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def large(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose answers exceed the buffers of its sockets."""
    site = ServerProcess(tmp_path / "data", sensors=2000)
    site.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # inherited by every connection
    try:
        yield site
    finally:
        site.close()


def narrow(site: ServerProcess, request: bytes, buffer: int = 16384) -> socket.socket:
    """Return a client that has sent a request, and has little room for the answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(20)
    client.connect(site.listener.getsockname())
    client.sendall(request)
    return client


def workers(offset: int = 0) -> bytes:
    return f"GET /workers?offset={offset} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def rest(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: read(client), b""))


def listed(answer: bytes) -> int | None:
    """Return the number of sensors in an answer, None if it was cut off."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.splitlines() if line.startswith(b"Content-Length:"))
    return len(json.loads(body)["workers"]) if len(body) == length else None


def test_clients_that_do_not_read_delay_no_other(site: ServerProcess) -> None:
    """Three times as many clients as threads send requests and read nothing: /healthz answers within a second
    throughout."""
    with ExitStack() as clients:
        for _ in range(3 * WORKER_THREADS):
            clients.enter_context(narrow(site, LIGHTS * 200, buffer=1024))
        for _ in range(30):
            assert site.healthy() < 1
            time.sleep(0.05)


def test_a_slow_reader_gets_the_whole_answer(large: ServerProcess) -> None:
    """An answer that a client reads within two seconds is complete."""
    with narrow(large, workers()) as client:
        pieces = []
        while piece := client.recv(16384):
            pieces.append(piece)
            time.sleep(0.03)
    assert 2000 == listed(b"".join(pieces))


def test_over_the_limit_the_oldest_answer_is_dropped(large: ServerProcess) -> None:
    """Clients that do not read cannot fill the memory; the last one still gets its whole answer."""
    with narrow(large, workers()) as client:
        size = len(rest(client))
    with ExitStack() as clients:
        waiting = []
        for number in range(MAX_UNSENT_BYTES // size + 20):
            client = clients.enter_context(narrow(large, workers(number)))
            waiting.append(client)
            assert client.recv(1)
        first, last = (b"H" + rest(client) for client in (waiting[0], waiting[-1]))
    assert (None, 2001 - len(waiting)) == (listed(first), listed(last))


@pytest.mark.slow
def test_an_answer_that_is_read_too_slowly_is_cut_off(large: ServerProcess) -> None:
    """A client that reads a little at a time is cut off after the timeout."""
    with narrow(large, workers()) as client:
        begun, answer = time.monotonic(), client.recv(4000)
        while more := client.recv(4000):
            answer += more
            time.sleep(0.5)
    assert listed(answer) is None
    assert TIMEOUT_SECONDS - 1 < time.monotonic() - begun < 3 * TIMEOUT_SECONDS

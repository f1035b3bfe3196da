"""Clients that are slow, large or silent: nobody else waits for them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fleet.control.commands import Scale
from fleet.web.connections import HEADER_BYTES, MOST_CONNECTIONS, TIMEOUT
from fleet.web.server import THREADS
from tests.fleet.sites import JSON, Site, read

pytestmark = pytest.mark.thorough

LARGE = 100_000_000


def test_a_large_body_is_not_read(site: Site) -> None:
    """Of 100 MB not even the beginning; nor one of which nobody says how long it is."""
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
    assert [] == site.done


WORDS: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda _: b"",
    "half a line": lambda _: b"GET /hea",
    "half a head": lambda _: b"POST /api/scale HTTP/1.1\r\nHost: localhost\r\nX: ",
    "half a body": lambda _: b"POST /api/scale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n{",
}


@pytest.mark.parametrize("words", WORDS)
def test_a_thousand_who_do_not_finish_keep_nobody_waiting(site: Site, words: str) -> None:
    """Health is told within a second throughout, and of too many the oldest go."""
    assert MOST_CONNECTIONS < 1000
    with ExitStack() as clients:
        for number in range(1000):
            client = clients.enter_context(site.connect())
            with suppress(ConnectionError):
                client.sendall(WORDS[words](number))
            if number % 200 == 199:
                assert site.healthy() < 1
        assert site.healthy() < 1
    assert site.healthy() < 1
    assert [] == site.done


def test_a_request_may_arrive_in_pieces(site: Site) -> None:
    """Byte by byte, and two at once: each is answered once it is whole."""
    body = b'{"count": 5}'
    head = f"POST /api/scale HTTP/1.1\r\nHost: {site.host}\r\nContent-Type: {JSON}\r\nConnection: close\r\n"
    whole = f"{head}Authorization: Bearer {site.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with site.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(whole)):
            client.sendall(whole[number : number + 1])
        assert b"200" == read(client)[9:12]
    assert [5] == [command.count for command in site.done if isinstance(command, Scale)]
    with site.connect() as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2 + b"GET /livez HTTP/1.1\r\n")
        answers = read(client)
        while answers.count(b"alive") < 2:
            answers += read(client)
        client.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
        assert b"alive" in b"".join(iter(lambda: read(client), b""))


def test_a_head_without_end_is_refused(site: Site) -> None:
    with site.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * HEADER_BYTES)
        assert b"413" == read(client)[9:12]


def sip(clients: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(0.5):
        for client in clients:
            with suppress(ConnectionError, BlockingIOError):
                client.recv(4000, socket.MSG_DONTWAIT)


@pytest.mark.slow
def test_who_does_not_take_an_answer_is_cut_off(tmp_path: Path) -> None:
    """More of them than there are threads, each taking a little now and then, hold these for a while, and not for as long
    as they like."""
    site = Site(tmp_path / "data", sensors=2000)
    site.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # handed on to every connection
    try:
        with ExitStack() as clients:
            taking = [clients.enter_context(socket.socket()) for _ in range(THREADS + 2)]
            for client in taking:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
                client.connect(site.listener.getsockname())
                client.sendall(b"GET /workers HTTP/1.1\r\nHost: localhost\r\n\r\n")
            over = threading.Event()
            sipping = threading.Thread(target=sip, args=(taking, over))
            sipping.start()
            try:
                assert site.healthy() < 2 * TIMEOUT
            finally:
                over.set()
                sipping.join()
    finally:
        site.close()

"""An HTTP server that is busy, hangs, disconnects or is absent: the retries and their limits."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import pytest

from fleet.delivery.target import BatchRejected, Receipt, TargetUnavailable
from fleet.delivery.targets.http.client import HttpTimeouts
from fleet.delivery.targets.http.target import HttpTarget
from tests.fleet.delivery.delivering import (
    FIRST_ID,
    SHORT_TIMEOUTS,
    delivery_error,
    raw_server,
    read_request,
    retry_without_waiting,
)
from tests.fleet.delivery.scripted_server import ScriptedResponse, ScriptedServer, batch, json_response


def test_a_server_that_is_busy_is_asked_again_with_the_same_batch() -> None:
    answers = json_response(503, {"error": "busy"}), json_response(429, {}), json_response(200, {})
    with ScriptedServer(*answers) as server:
        assert Receipt(FIRST_ID) == HttpTarget(server.url, retry=retry_without_waiting(3)).deliver(batch(1))

    assert 3 == len(server.requests)
    assert 1 == len({(request.body, request.headers["Idempotency-Key"]) for request in server.requests})


def test_a_server_that_stays_busy_is_unavailable() -> None:
    with ScriptedServer(json_response(503, {"error": "out of disk"})) as server:
        message = delivery_error(server.url, TargetUnavailable)

    assert "answered 503 Service Unavailable: out of disk (tried 2 times)" == message
    assert 2 == len(server.requests)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:09 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 9.0),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 -0100", "Date": "Wed, 21 Oct 2015 08:27:50 GMT"}, 10.0),
        ({"Retry_After": "86400"}, 30.0),
        ({"Retry_After": "Wed, 21 Oct 2999 07:28:00 GMT", "Date": "yesterday"}, 30.0),
    ],
)
def test_a_server_that_says_when_is_asked_again_then(headers: dict[str, str], pause: float) -> None:
    """Retry-After in seconds or as a date by the server's clock, up to the limit of the retries."""
    pauses: list[float] = []
    answers = (
        ScriptedResponse(503, b"", [(name.replace("_", "-"), value) for name, value in headers.items()]),
        ScriptedResponse(),
    )
    with ScriptedServer(*answers) as server:
        HttpTarget(server.url, retry=retry_without_waiting(2, pauses)).deliver(batch(1))

    assert [pytest.approx(pause, abs=1.5)] == pauses


@pytest.mark.parametrize("when", ["", "-1", "soon", "1e9", "9" * 5000, "Wed, 21 Oct 2015 07:28:00 GMT", "٣"])
def test_a_server_that_does_not_say_when_is_asked_again_soon(when: str) -> None:
    pauses: list[float] = []
    with ScriptedServer(
        json_response(503, {}, Retry_After=when.encode().decode("latin-1")), ScriptedResponse()
    ) as server:
        HttpTarget(server.url, retry=retry_without_waiting(2, pauses)).deliver(batch(1))

    assert pauses[0] <= 0.2


def test_a_server_that_hangs_is_given_up_in_time() -> None:
    with ScriptedServer(ScriptedResponse(hangs=True)) as server:
        assert "no answer within 0.3 s (tried 2 times)" == delivery_error(
            server.url, TargetUnavailable, 2, SHORT_TIMEOUTS
        )


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", "no whole answer within 0.7 s (tried once)"),
        (b"HTTP/1.1 200 OK\r\nContent-Type:", "no answer within 0.7 s (tried once)"),
    ],
)
def test_a_server_that_answers_for_ever_is_given_up_in_time(begin: bytes, message: str) -> None:
    """Each byte arrives in time, but the whole response or header does not."""
    over = threading.Event()

    def trickle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(begin)
        try:
            while not over.wait(0.02):
                connection.sendall(b" ")
        except OSError:
            pass

    with raw_server(trickle) as url:
        try:
            assert message == delivery_error(url, TargetUnavailable, attempts=1, timeouts=HttpTimeouts(read=0.7))
        finally:
            over.set()


def test_a_request_may_take_longer_than_a_connection() -> None:
    """The timeout for connecting does not limit sending, which has its own timeout."""

    def patient(connection: socket.socket) -> None:
        time.sleep(0.5)  # longer than the timeout for connecting; none of the body is read meanwhile
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    large = batch(*range(1, 20_001))
    with raw_server(patient) as url:
        receipt = HttpTarget(url, retry=retry_without_waiting(1), timeouts=HttpTimeouts(connect=0.3, read=20)).deliver(
            large
        )
    assert frozenset(large.ids) == receipt.accepted

    over = threading.Event()
    with raw_server(lambda _: over.wait(20)) as url:
        target = HttpTarget(url, retry=retry_without_waiting(1), timeouts=HttpTimeouts(read=0.5))
        with closing(target), pytest.raises(TargetUnavailable, match=r"it did not take the request within 0.5 s"):
            target.deliver(large)
        over.set()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
    ],
)
def test_an_answer_that_is_cut_short_acknowledges_nothing(raw: bytes) -> None:
    """It is retried, wherever it was cut."""
    with ScriptedServer(ScriptedResponse(raw=raw)) as server:
        assert "(tried 2 times)" in delivery_error(server.url, TargetUnavailable)
    with ScriptedServer(ScriptedResponse(raw=raw), ScriptedResponse()) as server:
        assert Receipt(FIRST_ID) == HttpTarget(server.url, retry=retry_without_waiting()).deliver(batch(1))


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_may_end_in_any_way_that_http_has(raw: bytes) -> None:
    with ScriptedServer(ScriptedResponse(raw=raw)) as server:
        assert Receipt(FIRST_ID) == HttpTarget(server.url, retry=retry_without_waiting(1)).deliver(batch(1))


def test_the_simplest_of_servers_will_do() -> None:
    with ScriptedServer(ScriptedResponse(body=b""), protocol="HTTP/1.0") as server:
        assert Receipt(FIRST_ID) == HttpTarget(server.url, retry=retry_without_waiting(1)).deliver(batch(1))


def test_a_host_where_nobody_listens_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    assert "no connection: Connection refused (tried 2 times)" == delivery_error(url, TargetUnavailable)


def test_a_host_that_nobody_knows_is_unavailable() -> None:
    assert "the name of the host is not known (tried once)" == delivery_error(
        "http://host.invalid", TargetUnavailable, attempts=1
    )


def test_a_host_that_lets_nobody_in_is_given_up_in_time() -> None:
    """The server's backlog is full, so no connection is made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        message = delivery_error(url, TargetUnavailable, attempts=1, timeouts=HttpTimeouts(connect=0.3, read=0.3))
        for client in waiting:
            client.close()

    assert message == "no connection within 0.3 s (tried once)"


def test_a_batch_that_is_refused_before_it_was_read_is_split() -> None:
    """The server responds with the reason and disconnects in the middle of the body."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with raw_server(refuse) as url, pytest.raises(BatchRejected, match="answered 413"):
        HttpTarget(url, retry=retry_without_waiting(1)).deliver(batch(*range(1, 3000)))


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_an_interim_answer_is_passed_over(interim: bytes) -> None:
    """Until the final one, however many there are."""

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 %s\r\nLink: </a>\r\n\r\n" % interim * 3)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with raw_server(talk) as url:
        assert FIRST_ID == HttpTarget(url, retry=retry_without_waiting(1)).deliver(batch(1)).accepted

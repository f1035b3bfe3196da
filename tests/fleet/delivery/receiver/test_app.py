"""The application of `fleet receive`: accepted and rejected requests; each reading is stored once."""

from __future__ import annotations

import gzip
import json
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.delivery.receiver.request_bodies import RequestRejected, gunzip
from tests.process.delivery.receiver_process import JSON, ReceiverProcess, body, reading, receiving, request

pytestmark = pytest.mark.process

TOKEN = "s3cret-t0ken"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    """For tests that do not mind what others have sent; each has a generation of its own."""
    with receiving(tmp_path_factory.mktemp("receiver") / "central.db", "--max-body", "1") as receiver:
        yield receiver


@pytest.mark.parametrize("path", ["/api/readings/batch", "/api/readings", "/ingest"])
def test_readings_are_taken_once(shared: ReceiverProcess, path: str) -> None:
    """Whatever the boundaries of the batches they come in again."""
    readings = [reading(number, generation=path) for number in range(4)]
    first = shared.post(body(*readings[:3]), path)
    again = shared.post(body(*readings[1:]), path)

    assert (200, {"accepted": 3, "duplicates": 0, "rejected": []}) == first[:2]
    assert (200, {"accepted": 3, "duplicates": 2, "rejected": []}) == again[:2]
    assert 4 == taken(shared, path)


def test_a_reading_with_other_content_is_an_alarm(shared: ReceiverProcess) -> None:
    """It is rejected and on record, and what was there first stays."""
    shared.post(body(reading(0, generation="alarm")))
    _, answer, _ = shared.post(body(reading(0, generation="alarm", temperature=99.0), reading(1, generation="alarm")))
    with closing(apsw.Connection(str(shared.database))) as connection:
        conflicts = connection.execute(
            "SELECT columns, json_extract(reading, '$.temperature') FROM conflicts JOIN sources USING (source)"
            " WHERE generation = 'alarm'"
        ).fetchall()

    assert 1 == answer["accepted"]
    assert [("alarm/KIN_000001/0", 1)] == [(one["key"], one["id"]) for one in answer["rejected"]]
    assert "temperature" in answer["rejected"][0]["reason"]
    assert [("temperature", 99.0)] == conflicts


def test_bad_readings_are_rejected_and_the_others_taken(shared: ReceiverProcess) -> None:
    """Each is named by what is known of it."""
    readings = [reading(0), reading(1, temperature="hot"), reading(2, sensor_id=None), "x"]
    status, answer, _ = shared.post(body(*readings[:3], readings[3], generation="partly"))

    assert (200, 1) == (status, answer["accepted"])
    assert [
        {"reason": "reading 3 of the body is no object"},
        {"key": "g1/KIN_000001/1", "id": 2, "reason": "temperature: 'hot' is no real number"},
        {"id": 3, "reason": "sensor_id: is missing"},
    ] == answer["rejected"]


def test_what_the_central_table_has_no_column_for_is_kept(shared: ReceiverProcess) -> None:
    shared.post(body(reading(0, generation="extra", battery=3.5)))

    assert '{"battery": 3.5}' in [extra for (extra,) in shared.stored("extra")]


def test_a_body_may_be_compressed(shared: ReceiverProcess) -> None:
    content = gzip.compress(json.dumps(body(reading(0, generation="gzip"))).encode())

    assert 200 == shared.post(content, headers={"Content-Encoding": "gzip"})[0]
    assert 1 == taken(shared, "gzip")


def test_a_connection_serves_many_requests(shared: ReceiverProcess) -> None:
    """Also those that are refused before their body is read."""
    with closing(shared.connect()) as connection:
        statuses = []
        for number in range(4):
            content = json.dumps(body(reading(number, generation="kept"))).encode()
            kind = JSON if number % 2 == 0 else {"Content-Type": "text/plain"}
            connection.request("POST", "/ingest", content, kind)
            response = connection.getresponse()
            statuses.append(response.status)
            response.read()
            own = connection.sock.getsockname()
            if number == 0:
                first = own

    assert [200, 415, 200, 415] == statuses
    assert first == own


GZIP = {"Content-Encoding": "gzip"}
BOMB = gzip.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    ("content", "headers", "status", "reason"),
    [
        (b"<html>", {}, 400, "the body is no JSON"),
        (b"{}", {}, 400, "the body has no list 'readings'"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "Content-Type: 'text/plain'"),
        (b"{}", {"Content-Encoding": "br"}, 415, "Content-Encoding: 'br'"),
        (b"{}", GZIP, 400, "the body is no gzip"),
        (gzip.compress(b"{}" * 50, mtime=0)[:-9], GZIP, 400, "the body is not one whole gzip file"),
        (
            gzip.compress(b"{}", mtime=0) + gzip.compress(b"{}", mtime=0),
            GZIP,
            400,
            "the body is not one whole gzip file",
        ),
        (b" " * 1_000_001, {}, 413, "the body has 1000001 bytes"),
        (b" " * 5_000_000, {}, 413, None),
        (BOMB, GZIP, 413, "the body has more than 1000000 bytes once it is decompressed"),
        (b'{"readings":[' + b"{}," * 300_000 + b"{}]}", {}, 413, "more than 10000 readings are bad"),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused(
    shared: ReceiverProcess, content: bytes, headers: dict[str, str], status: int, reason: str | None
) -> None:
    """With the status that says whether a smaller one may do, and with one line."""
    try:
        found, answer, _ = shared.post(content, headers=headers)
    except ConnectionError:
        assert reason is None  # far too long: nobody reads it to its end
    else:
        assert status == found
        assert reason is None or answer["error"].startswith(reason)


def test_a_bomb_is_not_unpacked() -> None:
    """No more of it than the limit is ever in memory."""
    tracemalloc.start()
    try:
        with pytest.raises(RequestRejected, match="more than 1000000 bytes"):
            gunzip(BOMB, 1_000_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 5_000_000


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n", 411),
        (b"POST /ingest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411),
        (request(b"{}", length=-1), 400),
        (b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"POST /ingest HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 413),
        (b"GET /ingest HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_a_malformed_request_is_refused(shared: ReceiverProcess, said: bytes, status: int) -> None:
    with shared.raw() as client:
        client.sendall(said)
        line = client.makefile("rb").readline().decode()

    assert status == int(line.split()[1])


def test_a_body_that_ends_early_acknowledges_nothing(shared: ReceiverProcess) -> None:
    content = json.dumps(body(reading(0, generation="early"))).encode()
    with shared.raw() as client:
        client.sendall(request(content[:-5], length=len(content)))
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read().decode()

    assert "400" == answer.split()[1]
    assert f"the body ended after {len(content) - 5} of {len(content)} bytes" in answer
    assert 0 == taken(shared, "early")


def test_it_says_how_it_is(shared: ReceiverProcess) -> None:
    """A summary, health, and figures for Prometheus, which agree."""
    before = shared.get("/")[1]
    shared.post(body(reading(0, generation="said"), reading(1, generation="said", temperature="x")))
    shared.post(body(reading(0, generation="said")))
    after = shared.get("/")[1]
    status, text, headers = shared.get("/metrics")
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    assert {"accepted": 2, "duplicate": 1, "rejected": 1, "conflict": 0} == {
        name: after["readings"][name] - before["readings"][name] for name in after["readings"]
    }
    assert (2, 1) == (
        after["deliveries"] - before["deliveries"],
        after["holds"]["readings"] - before["holds"]["readings"],
    )
    assert (200, True) == (status, headers["Content-Type"].startswith("text/plain"))
    assert after["readings"]["accepted"] == float(figures['fleet_receiver_readings_total{outcome="accepted"}'])
    assert float(figures['fleet_receiver_requests_total{status="200"}']) >= 3
    assert after["bytes"] == float(figures["fleet_receiver_body_bytes_total"])
    assert after["deliveries"] == float(figures["fleet_receiver_delivery_seconds_count"])
    assert (200, {"status": "healthy"}) == shared.get("/health")[:2]


def test_a_database_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    """Deleted, renamed or replaced under the receiver: 503 with the reason; new readings would be lost."""
    with receiving(tmp_path / "central.db") as receiver:
        receiver.database.rename(tmp_path / "elsewhere.db")
        status, answer, headers = receiver.post(body(reading(0)))
        health = receiver.get("/health")

    assert (503, "1") == (status, headers["Retry-After"])
    assert (503, "unhealthy") == (health[0], health[1]["status"])
    assert "the central database was deleted or replaced; start the receiver again" == health[1]["reason"]
    assert health[1]["reason"] == answer["error"]


def test_a_locked_database_is_not_healthy(tmp_path: Path) -> None:
    """Until it is free again."""
    with receiving(tmp_path / "central.db") as receiver:
        with closing(apsw.Connection(str(receiver.database))) as other:
            other.execute("BEGIN IMMEDIATE")
            status, answer, _ = receiver.get("/health")

        assert (503, True) == (status, "locked" in answer["reason"])
        assert 200 == receiver.get("/health")[0]


@pytest.mark.slow
def test_a_locked_database_acknowledges_nothing(tmp_path: Path) -> None:
    """503 says when to come again."""
    with receiving(tmp_path / "central.db") as receiver:
        with closing(apsw.Connection(str(receiver.database))) as other:
            other.execute("BEGIN IMMEDIATE")
            status, answer, headers = receiver.post(body(reading(0)))

        assert (503, "1", True) == (status, headers["Retry-After"], "locked" in answer["error"])
        assert 0 == receiver.post(body(reading(0)))[1]["duplicates"]


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    """Senders need it, and no response shows it."""
    with receiving(tmp_path / "central.db", token=TOKEN) as receiver:
        answers = [
            receiver.post(body(reading(0)), headers=headers)
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": f"Basic {TOKEN}"},
                {"Authorization": "Bearer \xff"},
                {"Authorization": f"Bearer {TOKEN}"},
            )
        ]
        health = receiver.get("/health")[0]
        message = json.dumps(answers) + receiver.get("/")[1]["central"] + receiver.get("/metrics")[1] + receiver.stop()

    assert [401, 401, 401, 401, 200] == [status for status, _, _ in answers]
    assert "Bearer" == answers[0][2]["WWW-Authenticate"]
    assert 200 == health
    assert TOKEN not in message


def test_many_senders_at_a_time(tmp_path: Path) -> None:
    """More than there are threads, each slow in sending: all are served."""
    contents = [json.dumps(body(reading(number))).encode() for number in range(40)]
    with receiving(tmp_path / "central.db") as receiver:
        clients = [receiver.raw() for _ in contents]
        for client, content in zip(clients, contents, strict=True):
            client.sendall(request(content, "Connection: close"))
        answers = [b"".join(iter(lambda: client.recv(65536), b"")) for client in clients]  # noqa: B023
        for client in clients:
            client.close()

        assert [b"200"] * 40 == [answer.split()[1] for answer in answers]
        assert 40 == len(receiver.stored())


def taken(receiver: ReceiverProcess, generation: str) -> int:
    connection = apsw.Connection(str(receiver.database))
    with closing(connection):
        count: Any = connection.execute(
            "SELECT count(*) FROM sensor_readings JOIN sources USING (source) WHERE generation = ?", (generation,)
        ).get
        return int(count)

"""`fleet receive` as a process: its start, its end, and its injected faults."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli import cli
from fleet.delivery.receiver.faults import DelayRange, FaultConfig, RequestFaultGenerator, parse_delay
from fleet.delivery.receiver.server import PORT_ADVICE
from fleet.errors import UserError
from tests.process.delivery.receiver_process import (
    DEADLINE,
    ROOT,
    ReceiverProcess,
    body,
    reading,
    receiving,
    request,
    wait_until_refused,
)
from worker.storage.connection import connect


def test_it_says_where_it_listens_and_what_it_did(tmp_path: Path) -> None:
    """One line each; what came again after a restart is known."""
    with receiving(tmp_path / "central.db") as receiver:
        receiver.post(body(reading(0), reading(1)))
        begun, ended = receiver.first_line, receiver.stop()
    with receiving(tmp_path / "central.db") as receiver:
        again = receiver.post(body(reading(1), reading(2), reading(3, temperature="x")))[1]
        second = receiver.stop()

    assert f"receiving on http://127.0.0.1:{receiver.port}/ into {tmp_path}/central.db\n" == begun.replace(
        begun.split(":")[2].split("/")[0], str(receiver.port)
    )
    assert ended.startswith("received 2 readings in 1 deliveries and ")
    assert ended.endswith(": 2 new, 0 there already, 0 rejected (0 with other content)\n")
    assert (2, 1) == (again["accepted"], again["duplicates"])
    assert second.endswith(": 1 new, 1 there already, 1 rejected (0 with other content)\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_that_has_begun_is_ended_first(tmp_path: Path, number: signal.Signals) -> None:
    """A signal in the middle of a body: the rest is read, stored and acknowledged; new connections are refused."""
    content = json.dumps(body(reading(0))).encode()
    with receiving(tmp_path / "central.db") as receiver:
        with receiver.raw() as client:
            client.sendall(request(content)[:-10])
            assert 200 == receiver.get("/health")[0]  # asked later, so that the other is on a thread by now
            receiver.process.send_signal(number)
            wait_until_refused(receiver.port)
            client.sendall(content[-10:])
            answer = client.makefile("rb").read()
        code, printed, complained = receiver.wait()
        stored = receiver.stored()

    assert b"200 OK" in answer.splitlines()[0]
    assert b'"accepted": 1' in answer
    assert (0, "") == (code, complained)
    assert printed.startswith("received 1 readings")
    assert [("KIN_000001", 0, 20.0)] == stored


def test_a_killed_one_has_what_it_acknowledged(tmp_path: Path) -> None:
    with receiving(tmp_path / "central.db") as receiver:
        receiver.post(body(*(reading(number) for number in range(100))))
        receiver.process.kill()
        receiver.process.communicate()
    with receiving(tmp_path / "central.db") as receiver:
        answer = receiver.post(body(*(reading(number) for number in range(50, 150))))[1]

        assert {"accepted": 100, "duplicates": 50, "rejected": []} == answer
        assert list(range(150)) == [seq for _, seq, _ in receiver.stored()]


def refused(*flags: str) -> str:
    """The error with which it does not start."""
    result = CliRunner().invoke(cli, ["receive", *flags])
    assert isinstance(result.exception, UserError)
    assert "" == result.output
    return str(result.exception)


def test_a_port_or_a_file_that_cannot_be_had_is_told_in_one_line(tmp_path: Path) -> None:
    """And nothing is made that was not there."""
    sensors, text = tmp_path / "sensor.db", tmp_path / "text.db"
    connect(sensors).close()
    text.write_text("no database, but long enough to be looked at\n" * 99)
    central = ("--to", str(tmp_path / "central.db"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        taken = refused(*central, "--port", port)

    assert taken == f"--port: {port} on 127.0.0.1 is in use by another program; {PORT_ADVICE}"
    assert refused(*central, "--host", "192.0.2.1").startswith("--host: 192.0.2.1 is not an address of this machine")
    assert "is a sensor's database" in refused("--to", str(sensors), "--port", "0")
    assert "not a database" in refused("--to", str(text), "--port", "0")
    assert "cannot be the central database" in refused("--to", str(tmp_path / "no" / "central.db"), "--port", "0")
    assert {"sensor.db", "text.db"} == {path.name for path in tmp_path.iterdir() if path.suffix == ".db"}


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--fail-rate", "120%"), "--fail-rate: '120%' is not a share"),
        (("--delay", "200-100ms"), "--delay: '200-100ms' is no delay"),
        (("--delay", "5m"), "--delay: '5m' is no delay such as 200ms or 0-200ms, of at most 60s"),
        (("--delay", "soon"), "--delay: 'soon' is not a duration"),
        (("--max-body", "0"), "--max-body: '0' is not a whole number between 1 and 1024"),
    ],
)
def test_a_bad_flag_is_told_in_one_line(flags: tuple[str, str], reason: str) -> None:
    assert refused(*flags).startswith(reason)


def test_an_empty_token_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is an error, not an open receiver."""
    monkeypatch.setenv("RECEIVE_TOKEN", " ")

    assert refused("--to", str(tmp_path / "central.db")).startswith("RECEIVE_TOKEN: is empty")
    monkeypatch.setenv("RECEIVE_TOKEN", "caf\udce9")

    assert refused("--to", str(tmp_path / "central.db")).startswith("RECEIVE_TOKEN: wanted the token alone")


def test_a_receiver_without_a_token_warns(tmp_path: Path) -> None:
    """Listening beyond the loopback interface without a token."""
    with receiving(tmp_path / "central.db", "--host", "0.0.0.0") as receiver:
        receiver.signal()
        warned = receiver.wait()[2]
    with receiving(tmp_path / "central.db", "--host", "0.0.0.0", token="t") as receiver:
        receiver.signal()
        safe = receiver.wait()[2]

    assert warned.startswith("warning: any client that can reach ")
    assert "RECEIVE_TOKEN" in warned
    assert "" == safe


def test_failures_on_purpose_take_nothing(tmp_path: Path) -> None:
    """--fail-rate: 503 before anything is taken, at the same requests for the same seed."""
    patterns = []
    for name in ("one.db", "two.db"):
        with receiving(tmp_path / name, "--fail-rate", "50%", "--misbehave-seed", "7") as receiver:
            statuses = [receiver.post(body(reading(number)))[0] for number in range(20)]
            patterns.append(statuses)

            assert [number for number, status in enumerate(statuses) if status == 200] == [
                seq for _, seq, _ in receiver.stored()
            ]
            assert f"; on purpose {statuses.count(503)} failed and 0 left unanswered\n" in receiver.stop()
    assert patterns[0] == patterns[1]
    assert {200, 503} == set(patterns[0])


def test_lost_acknowledgements_have_taken_all(tmp_path: Path) -> None:
    """--drop-ack: the connection is closed without an answer, and all is there; sent again, it is known."""
    with receiving(tmp_path / "central.db", "--drop-ack", "50%", "--misbehave-seed", "7") as receiver:
        lost = 0
        for number in range(20):
            try:
                receiver.post(body(reading(number)))
            except (http.client.RemoteDisconnected, ConnectionResetError):
                lost += 1

        assert 0 < lost < 20
        assert list(range(20)) == [seq for _, seq, _ in receiver.stored()]
        assert f"; on purpose 0 failed and {lost} left unanswered\n" in receiver.stop()


def test_delays_on_purpose(tmp_path: Path) -> None:
    """--delay: each waits at least so long, and the others meanwhile need not."""
    with receiving(tmp_path / "central.db", "--delay", "300ms") as receiver:
        before = time.monotonic()
        with receiver.raw() as first, receiver.raw() as second:
            for client, number in ((first, 0), (second, 1)):
                client.sendall(request(json.dumps(body(reading(number))).encode()))
            answers = [client.recv(12) for client in (first, second)]
        took = time.monotonic() - before

    assert [b"HTTP/1.1 200"] * 2 == answers
    assert took >= 0.3


def test_fault_rates_are_as_configured() -> None:
    """Over many requests; each option's own, whatever the others are."""
    faults = FaultConfig(fail_rate=0.2, drop_ack=0.05, delay=DelayRange(0.1, 0.3), seed=3)
    drawn, alone = RequestFaultGenerator(faults), RequestFaultGenerator(FaultConfig(fail_rate=0.2, seed=3))
    generator = [drawn.draw() for _ in range(5000)]

    assert 0.18 < sum(fault.fails for fault in generator) / 5000 < 0.22
    assert 0.04 < sum(fault.unanswered for fault in generator) / 5000 < 0.06
    assert pytest.approx((0.1, 0.3), abs=0.01) == (
        min(fault.delay for fault in generator),
        max(fault.delay for fault in generator),
    )
    assert [fault.fails for fault in generator] == [alone.draw().fails for _ in range(5000)]


def test_delays_are_written_as_people_do() -> None:
    assert DelayRange(0.2, 0.2) == parse_delay("200ms", "--delay")
    assert DelayRange(0.0, 0.2) == parse_delay("0-200ms", "--delay")
    assert DelayRange(0.1, 1.0) == parse_delay("100ms - 1s", "--delay")
    with pytest.raises(UserError, match=r"^--delay"):
        parse_delay("-", "--delay")


SLOW = """
import sys
from pathlib import Path
from fleet.delivery.receiver import server
from fleet.delivery.receiver.app import ReceiverConfig
server.HEADER_SECONDS, server.MIN_BODY_BYTES_PER_SECOND = 1.0, 10_000_000
say = lambda line: print(line, flush=True)
sys.exit(server.receive(server.ReceiverAddress(Path(sys.argv[1]), "127.0.0.1", 0), ReceiverConfig(), say, say))
"""


@pytest.mark.parametrize("sent", [b"POST /ing", request(b"{", length=50)])
def test_who_sends_too_slowly_is_let_go(tmp_path: Path, sent: bytes) -> None:
    """A byte now and then is not enough to keep a thread."""
    command = [sys.executable, "-W", "error", "-c", SLOW, str(tmp_path / "central.db")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split(":")[2].split("/")[0])
            with socket.create_connection(("127.0.0.1", port), timeout=0.2) as client:
                client.sendall(sent)
                answer, end = b"", time.monotonic() + DEADLINE
                while not answer and time.monotonic() < end:
                    client.sendall(b" ")
                    try:
                        answer = client.recv(100)
                    except TimeoutError:
                        continue

            assert b"408" in answer.split(b"\r\n")[0]
        finally:
            process.kill()


def wait_for_health(receiver: ReceiverProcess, senders: Sequence[socket.socket]) -> float:
    """The longest time that a health check takes while the senders send a byte now and then."""
    longest = 0.0
    for _ in range(3):
        for sender in senders:
            with suppress(OSError):
                sender.send(b" ")
        begun = time.monotonic()
        assert 200 == receiver.get("/health")[0]
        longest = max(longest, time.monotonic() - begun)
        assert 200 == receiver.post(body(reading(0)), headers={"Authorization": "Bearer right"})[0]
    return longest


@pytest.mark.parametrize("kind", ["large", "small", "headers", "allowed"])
def test_slow_senders_block_nobody(tmp_path: Path, kind: str) -> None:
    """More of them than there are threads, with and without the token."""
    beginning = {
        "large": request(b"{", length=31_000_000),
        "small": request(b"{", length=1000),
        "headers": request(b"")[:-4],
        "allowed": request(b"{", "Authorization: Bearer right", length=31_000_000),
    }[kind]
    with receiving(tmp_path / "central.db", token="right") as receiver, ExitStack() as stack:
        senders = [stack.enter_context(receiver.raw()) for _ in range(40)]
        for sender in senders:
            sender.sendall(beginning)

        assert wait_for_health(receiver, senders) < 5


@pytest.mark.parametrize(
    ("headers", "length", "status"), [((), 31_000_000, b"401"), (("Authorization: Bearer right",), 40_000_000, b"413")]
)
def test_a_refused_request_is_answered_before_its_body(
    tmp_path: Path, headers: tuple[str, ...], length: int, status: bytes
) -> None:
    """The body is not read, and a client that sends it all the same sees the answer."""
    with receiving(tmp_path / "central.db", token="right") as receiver:
        with receiver.raw() as client:
            client.sendall(request(b"{", *headers, length=length))
            answer = client.makefile("rb").readline()
        with receiver.raw() as client:
            client.sendall(request(b"{" + b" " * 2_000_000, *headers, length=length))
            late = client.makefile("rb").read()

        assert (status, status) == (answer.split()[1], late.split()[1])
        assert b"Connection: close" in late
        assert receiver.process.poll() is None


def test_a_sender_that_waits_for_100_is_told(tmp_path: Path) -> None:
    content = json.dumps(body(reading(0))).encode()
    with receiving(tmp_path / "central.db") as receiver, receiver.raw() as client:
        client.sendall(request(b"", "Expect: 100-continue", "Connection: close", length=len(content)))
        interim = client.recv(100)
        client.sendall(content)
        answer = client.makefile("rb").read()

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == interim
    assert b'"accepted": 1' in answer


def test_requests_that_come_together_are_answered_in_turn(tmp_path: Path) -> None:
    """Also if a part of the second one comes later."""
    first, second = (request(json.dumps(body(reading(number))).encode()) for number in (0, 1))
    with receiving(tmp_path / "central.db") as receiver, receiver.raw() as client:
        client.sendall(first + second[:-20])
        time.sleep(0.3)
        client.sendall(second[-20:] + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = client.makefile("rb").read()

        assert (3, 2) == (answers.count(b"HTTP/1.1 200 OK"), answers.count(b'"accepted": 1'))
        assert 2 == len(receiver.stored())


def test_large_bodies_are_gathered_quickly(tmp_path: Path) -> None:
    """Ten megabytes, at once from four senders."""
    content = json.dumps(body(*(reading(number, location="x" * 1_000_000) for number in range(10)))).encode()
    with receiving(tmp_path / "central.db") as receiver:
        begun = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: receiver.post(content)[1]["accepted"], range(4)))

        assert [10] * 4 == answers
        assert time.monotonic() - begun < 30

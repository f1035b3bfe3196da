"""The HTTP server as a real process, on a socket that its parent has bound."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from fleet.web.server import WORKER_THREADS
from tests.fleet.staged import StagedFleet

pytestmark = [pytest.mark.process, pytest.mark.claim("000.integration-points.9")]

ROOT = Path(__file__).parents[3]

SERVE = """
import socket, sys
from pathlib import Path
from fleet.web.server import serve
serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]))
"""


class Served:
    """A server process for a staged fleet; `lifeline` is the supervisor's end."""

    def __init__(self, staged: StagedFleet) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        theirs, self.lifeline = socket.socketpair()
        arguments = [str(self.listener.fileno()), str(staged.run), str(theirs.fileno())]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", SERVE, *arguments],
                cwd=ROOT,
                pass_fds=(self.listener.fileno(), theirs.fileno()),
                stderr=subprocess.PIPE,
                text=True,
            )

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.address[1]}{path}", timeout=20) as response:
            return json.load(response)

    def send(self, request: bytes) -> tuple[int, Any]:
        """Send raw bytes; return the status code and the JSON body of the answer."""
        with self.connect() as client:
            client.sendall(request)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Type: application/json" in head
        return int(head.split()[1]), json.loads(body)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def ended(self) -> float:
        """Return the seconds until the process had ended; it must exit with 0 and write nothing."""
        before = time.monotonic()
        _, stderr = self.process.communicate(timeout=10)
        assert (0, "") == (self.process.returncode, stderr)
        return time.monotonic() - before

    def close(self) -> None:
        self.lifeline.close()
        self.listener.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    staged = StagedFleet(tmp_path / "data")
    staged.write(0, 5)
    served = Served(staged)
    try:
        served.get("/livez")
        yield served
    finally:
        served.close()


def test_it_serves_on_the_socket_it_is_given(served: Served) -> None:
    """The parent has bound the port; connections made before the server starts wait for it."""
    assert 3 == served.get("/workers")["total"]
    assert 5 == served.get("/samplez")["count"]


@pytest.mark.timed
def test_it_ends_with_its_supervisor(served: Served) -> None:
    """The process ends within a second after its lifeline, even during requests."""
    with ExitStack() as clients:
        for request in (b"", b"GET /work", b"GET /workers HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50):
            for _ in range(5):
                clients.enter_context(served.connect()).sendall(request)
        served.get("/livez")
        served.lifeline.close()

        assert served.ended() < 1.3  # of which the interpreter's own end is the last part


@pytest.mark.timed
def test_a_client_that_does_not_read_cannot_keep_it(tmp_path: Path) -> None:
    """An answer that a client does not accept is dropped."""
    served = Served(StagedFleet(tmp_path / "data", 2000))
    served.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # inherited by every connection
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            client.connect(served.address)
            client.sendall(b"GET /workers HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(1)  # the rest is far more than the buffers hold
            served.lifeline.close()

            assert served.ended() < 1.3
    finally:
        served.close()


@pytest.mark.timed
def test_sigterm_ends_it(served: Served) -> None:
    served.process.send_signal(signal.SIGTERM)

    assert served.ended() < 1.3


def test_sigint_is_the_supervisors_business(served: Served) -> None:
    """Ctrl-C signals every process of the terminal; the server goes on until its lifeline ends."""
    served.process.send_signal(signal.SIGINT)
    assert {"status": "alive"} == served.get("/livez")

    served.lifeline.close()
    served.ended()


def test_idle_connections_delay_no_request(served: Served) -> None:
    """Silent connections, more than there are threads, do not delay a request."""
    with ExitStack() as clients:
        for _ in range(40):
            clients.enter_context(served.connect())
        before = time.monotonic()

        assert {"status": "alive"} == served.get("/livez")
        assert time.monotonic() - before < 2


def test_a_server_that_is_replaced_loses_no_client(tmp_path: Path) -> None:
    """Connections wait in the queue of the parent's socket while there is no server."""
    served = Served(StagedFleet(tmp_path / "data"))
    try:
        assert {"status": "alive"} == served.get("/livez")  # sent before the process had started to listen
    finally:
        served.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n", 413),
        (b"\x16\x03\x01\x02\x00 nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        (b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"DELETE /workers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
    ],
)
def test_refusals_are_json(served: Served, request_: bytes, status: int) -> None:
    """Too long, too large, malformed: one line of JSON, and the server goes on."""
    code, document = served.send(request_)

    assert (status, ["error"]) == (code, list(document))
    assert {"status": "alive"} == served.get("/livez")


@pytest.mark.parametrize("header", [b"Content-Length: %d", b"Transfer-Encoding: chunked\r\nX: %d"])
def test_a_body_is_not_taken_for_a_request(served: Served, header: bytes) -> None:
    """The unread body of a GET is not parsed as the next request on the connection."""
    body = b"GET /statusz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + header % len(body) + b"\r\n\r\n"

    assert (200, {"status": "alive"}) == served.send(head + body)


@pytest.mark.claim("000.api-endpoints.1", "001.http-monitoring.1")
def test_unhealthy_is_a_503(tmp_path: Path) -> None:
    staged = StagedFleet(tmp_path / "data")
    staged.set(0, "failed", "gave up")
    served = Served(staged)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            served.get("/healthz")
        with refused.value as answer:
            assert (503, "unhealthy") == (answer.code, json.load(answer)["status"])
    finally:
        served.close()


LOADED_AFTER_REQUESTS = """
import sys
from pathlib import Path
import fleet.web.server
from fleet.web.app import create_app
unwanted = {'pydantic', 'rich', 'tenacity', 'prometheus_client', 'numpy.ma'}
print(*(unwanted | {'yaml', 'psutil'}) & set(sys.modules))
client = create_app(Path(sys.argv[1])).test_client()
for path in sys.argv[2:]:
    assert client.get(path).status_code == 200, path
print(*unwanted & set(sys.modules))
"""


@pytest.mark.claim("000.advanced-features.7")
def test_it_stays_small(tmp_path: Path) -> None:
    """Packages that only other processes need are not loaded, neither at the start nor by a request."""
    staged = StagedFleet(tmp_path / "data")
    staged.write(0, 5)
    paths = [
        "/",
        "/healthz",
        "/metricz",
        "/metrics?per_sensor=1",
        "/api/snapshot",
        "/api/sensors",
        "/workers",
        "/samplez",
    ]
    command = [sys.executable, "-c", LOADED_AFTER_REQUESTS, str(staged.run), *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert "" == done.stdout.strip()


def test_threads_are_bounded(served: Served) -> None:
    """The number of threads does not grow with the number of connections."""
    with ExitStack() as clients:
        for _ in range(60):
            clients.enter_context(served.connect()).sendall(b"GET /workers HTTP/1.1\r\n")

        assert psutil.Process(served.process.pid).num_threads() <= WORKER_THREADS + 4  # the main one and cheroot's own

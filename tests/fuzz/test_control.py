"""Whatever is said to the control socket, and however: who asks gets an answer or an end, and all others are served."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import UserError
from fleet.runtime.control_client import send_command, socket_address
from fleet.runtime.control_server import ControlServer
from tests.fleet.runtime.test_control import Waiting, handle
from tests.fuzz.bounds import assert_line, examples
from tests.fuzz.json_texts import mutated

pytestmark = pytest.mark.thorough

COMMANDS = (
    {"command": "status"},
    {"command": "down"},
    {"command": "scale", "count": 20},
    {"command": "restart", "sensor": "BER_000001"},
)
NAMES = ("command", "count", "sensor")
PIECES = (
    b"\n",
    b"\n\n\n",
    b"\r\n",
    b"\0",
    b"\xff\xfe",
    b"{",
    b'{"command": "sta',
    b'tus"}\n',
    b"GET / HTTP/1.1\r\n\r\n",
)
LONG = (b"x", b"\n", b"[", b"9", b'{"command": "status"}\n', b'{"command": "restart", "sensor": "\\u001b"}\n')

messages = st.one_of(
    mutated(COMMANDS, NAMES).map(lambda text: text.encode(errors="surrogatepass") + b"\n"),
    st.binary(max_size=40),
    st.sampled_from(PIECES),
    st.sampled_from(COMMANDS).map(lambda command: json.dumps(command).encode() + b"\n"),
)
times = st.sampled_from((1, 1, 1, 3))
acts = st.sampled_from(("say", "say", "say", "hear", "finish", "leave"))
turns = st.tuples(st.integers(0, 3), acts, st.tuples(messages, times) | st.tuples(st.sampled_from(LONG), st.just(3000)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("control") / "run" / "control.sock"
    path.parent.mkdir()
    loop = Waiting()
    control = ControlServer(path, loop, handle)
    with loop:
        yield path
    control.close()
    loop.close()


class Client:
    """Somebody who talks to the socket without a thought for what comes back."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        with socket_address(path) as address:
            self.socket.connect(address)
        self.finished, self.heard = False, b""

    def say(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
            self.socket.setblocking(False)
            self.socket.send(data)

    def hear(self, _data: bytes) -> None:
        with contextlib.suppress(ConnectionResetError, BlockingIOError):
            self.socket.setblocking(False)
            self.heard += self.socket.recv(100)

    def finish(self, _data: bytes) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self.socket.shutdown(socket.SHUT_WR)
            self.finished = True

    def leave(self, _data: bytes) -> None:
        self.socket.close()

    def settle(self) -> None:
        """A last question is answered, or the connection ends. Each line that came whole is JSON."""
        if self.socket.fileno() < 0:
            return
        self.socket.settimeout(20)
        with self.socket, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if not self.finished:
                self.socket.sendall(b'\n{"command": "restart", "sensor": "the last"}\n')
            while b"the last" not in self.heard and (more := self.socket.recv(65536)):
                self.heard += more
        for line in self.heard.split(b"\n")[:-1]:  # the rest is of one who did not read what he asked for
            answer = json.loads(line)
            assert answer.keys() <= {"error", "invalid"} or answer["ok"] is True


@examples(150)
@given(script=st.lists(turns, min_size=1, max_size=12))
def test_clients_of_any_kind(served: Path, script: list[tuple[int, str, tuple[bytes, int]]]) -> None:
    """Four of them, in turns: bytes of any kind in any pieces, questions nobody waits for, ends in the middle."""
    clients: dict[int, Client] = {}
    with contextlib.ExitStack() as sockets:
        for number, act, (data, times) in script:
            if number not in clients or clients[number].socket.fileno() < 0:
                clients[number] = Client(served)
                sockets.enter_context(clients[number].socket)
            getattr(clients[number], act)(data * times)

        assert {"ok": True} == send_command(served, 20, command="status")
        for client in clients.values():
            client.settle()
        assert {"ok": True} == send_command(served, 20, command="status")


@examples(60)
@given(text=mutated(COMMANDS, NAMES))
def test_an_odd_command(served: Path, text: str) -> None:
    """Is done, or refused in a line that can be shown."""
    data = text.encode(errors="surrogatepass").replace(b"\n", b" ") + b"\n"
    with socket.socket(socket.AF_UNIX) as client, socket_address(served) as address:
        client.settimeout(20)
        client.connect(address)
        client.sendall(data)
        with client.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    if "error" in answer:
        assert_line(str(UserError(answer["error"])), "")
    else:
        assert answer["ok"] is True


@examples(60)
@given(
    answer=mutated(({"ok": True}, {"error": "no"}), ("ok", "error")).map(str.encode) | st.binary(max_size=40),
    ended=st.booleans(),
)
def test_an_odd_answer(tmp_path_factory: pytest.TempPathFactory, answer: bytes, ended: bool) -> None:
    """Of something that is no fleet, or of one that died in the middle of it: an error of one line."""
    path = tmp_path_factory.mktemp("odd") / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def reply() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                client.sendall(answer + (b"" if ended else b"\n"))

        thread = threading.Thread(target=reply)
        thread.start()
        try:
            assert isinstance(send_command(path, 20, command="status"), dict)
        except UserError as error:
            assert_line(str(error), str(path.parent.parent))
        finally:
            thread.join()

"""The control socket: typed commands in, answers out, and no client can block the fleet."""

from __future__ import annotations

import json
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import UserError
from fleet.runtime.commands import Answer, AnyCommand, Restart, Scale
from fleet.runtime.control_client import send_command, socket_address
from fleet.runtime.control_server import ControlServer


class Waiting:
    """A loop in a thread of its own."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._over = False
        self._thread = threading.Thread(target=self._run)

    def watch(self, source: socket.socket, ready: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, ready)

    def unwatch(self, source: socket.socket) -> None:
        self._selector.unregister(source)

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(0.02):
                key.data()

    def __enter__(self) -> Waiting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()

    def close(self) -> None:
        self._selector.close()


def handle(command: AnyCommand) -> Answer:
    match command:
        case Scale():
            return {"count": command.count}
        case Restart():
            raise UserError(f"there is no sensor {command.sensor}")
        case _:
            return {}


@pytest.fixture(params=["short", "long"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Of a socket, also where it is longer than a socket's address may be."""
    directory = tmp_path / ("x" * 120 if request.param == "long" else "data") / "run"
    directory.mkdir(parents=True)
    return directory / "control.sock"


@pytest.fixture
def served(path: Path) -> Iterator[Path]:
    loop = Waiting()
    control = ControlServer(path, loop, handle)
    with loop:
        yield path
    control.close()
    loop.close()
    assert not path.exists()


def test_a_command_is_answered(served: Path) -> None:
    """With what its handler returns; the socket is the owner's alone."""
    assert {"ok": True, "count": 5} == send_command(served, 5, command="scale", count=5)
    assert 0o600 == served.stat().st_mode & 0o777


def test_a_refusal_is_a_users_error(served: Path) -> None:
    """In the words of who refused."""
    with pytest.raises(UserError, match="there is no sensor X"):
        send_command(served, 5, command="restart", sensor="X")


@pytest.mark.parametrize(
    "command",
    [
        {"command": "explode"},
        {},
        {"command": "scale"},
        {"command": "scale", "count": "5"},
        {"command": "scale", "count": 0},
        {"command": "down", "now": True},
        {"command": "scale", "count": True},
    ],
)
def test_only_known_commands_are_understood(command: dict[str, Any], served: Path) -> None:
    """Strictly by type; the fleet goes on."""
    with pytest.raises(UserError):
        send_command(served, 5, **command)

    assert {"ok": True} == send_command(served, 5, command="status")


@pytest.mark.parametrize("nonsense", [b"\x00\xff\n", b"{\n", b"[]\n", b"1\n", b"x" * 100_000, b""])
def test_nonsense_harms_nobody(nonsense: bytes, served: Path) -> None:
    """It is refused or the caller is dropped; others are answered."""
    with socket.socket(socket.AF_UNIX) as rude, socket_address(served) as address:
        rude.connect(address)
        rude.sendall(nonsense)

        assert {"ok": True} == send_command(served, 5, command="status")


def test_a_caller_who_says_nothing_holds_up_nobody(served: Path) -> None:
    """Nor one who asks in halves: both halves together are a command."""
    with socket.socket(socket.AF_UNIX) as slow, socket_address(served) as address:
        slow.settimeout(5)
        slow.connect(address)
        slow.sendall(b'{"command": "sc')
        assert {"ok": True} == send_command(served, 5, command="status")
        slow.sendall(b'ale", "count": 3}\n{"command": "status"}\n')

        with slow.makefile() as answers:
            assert [{"ok": True, "count": 3}, {"ok": True}] == [json.loads(answers.readline()) for _ in range(2)]


def test_a_crowd_of_callers_leaves_the_fleet_its_descriptors(served: Path) -> None:
    """Of those who say nothing the first have to go."""
    with ExitStack() as crowd, socket_address(served) as address:
        clients = [crowd.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(100)]
        for client in clients:
            client.settimeout(20)
            client.connect(address)
            assert {"ok": True} == send_command(served, 20, command="status")

        assert b"" == clients[0].recv(1)
        clients[-1].sendall(b'{"command": "status"}\n')
        assert b'{"ok": true}\n' == clients[-1].recv(100)


def test_a_refusal_is_fit_to_be_shown(served: Path) -> None:
    """Whoever made the command up: no escapes of a terminal, and not endless."""
    with pytest.raises(UserError) as refused:
        send_command(served, 5, command="restart", sensor="\x1b[31m" * 5000)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 10_000


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "the fleet ended before it answered"),
        (b'{"ok": tr', "the fleet ended before it answered"),
        (b"\xff\n", "the answer is not that of a fleet"),
        (b"[]\n", "the answer is not that of a fleet"),
        (b"{}\n", "the answer is not that of a fleet"),
    ],
)
def test_half_an_answer_or_none_is_no_answer(path: Path, answer: bytes, complaint: str) -> None:
    """Of a fleet that is killed while it answers, or of something else behind the socket."""
    with socket.socket(socket.AF_UNIX) as odd, socket_address(path) as address:
        odd.bind(address)
        odd.listen()

        def reply() -> None:
            client, _ = odd.accept()
            with client:
                client.recv(1000)
                client.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(UserError, match=complaint):
            send_command(path, 20, command="status")
        thread.join()


def test_where_nobody_listens_no_fleet_is_running(path: Path) -> None:
    """Also where a killed fleet left its socket behind."""
    with pytest.raises(UserError, match="no fleet is running here"):
        send_command(path, 5, command="status")
    with socket.socket(socket.AF_UNIX) as left, socket_address(path) as address:
        left.bind(address)

    with pytest.raises(UserError, match="no fleet is running here"):
        send_command(path, 5, command="status")


def test_a_fleet_that_does_not_answer(path: Path) -> None:
    """The client gives up after the timeout."""
    with socket.socket(socket.AF_UNIX) as mute, socket_address(path) as address:
        mute.bind(address)
        mute.listen()

        with pytest.raises(UserError, match=r"did not answer within 0\.1 s"):
            send_command(path, 0.1, command="status")

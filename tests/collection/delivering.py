"""Deliveries that fail, without waiting between the attempts."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from fleet.collection.target import Failed
from fleet.targets.exchange import Deadlines
from fleet.targets.http_target import USUAL_DEADLINES, HttpTarget
from fleet.targets.patience import Patience
from tests.collection.scripted import batch

ONE = frozenset({1})
QUICK = Deadlines(read=0.3)
"""For servers that never answer; any other may take its time on a busy machine."""


def brief(attempts: int = 2, pauses: list[float] | None = None) -> Patience:
    """Waits for nothing; `pauses` is told how long it would have."""
    return Patience(attempts=attempts, sleep=(pauses if pauses is not None else []).append)


def failure(url: str, kind: type[Failed], attempts: int = 2, deadlines: Deadlines = USUAL_DEADLINES) -> str:
    """What is told of it that a batch does not arrive there, but for how many seconds it took."""
    target = HttpTarget(url, patience=brief(attempts), deadlines=deadlines)
    with closing(target), pytest.raises(kind) as raised:
        target.deliver(batch(1))
    assert type(raised.value) is kind
    return re.sub(r" in \d+ s\)$", ")", str(raised.value).removeprefix(f"{target.name}: "))


@contextmanager
def talking(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """The URL of a server that does what it is told with one connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def request(connection: socket.socket) -> None:
    """Reads one to its end."""
    with connection.makefile("rb") as file:
        head = http.client.parse_headers(file) if file.readline() else None
        assert head is not None
        length = int(head["Content-Length"])
        assert length == len(file.read(length))

"""Deliveries that fail, without waiting between the attempts."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from fleet.delivery.target import DeliveryFailed
from fleet.delivery.targets.http.client import HttpTimeouts
from fleet.delivery.targets.http.target import DEFAULT_TIMEOUTS, HttpTarget
from fleet.delivery.targets.retry import RetryPolicy
from tests.fleet.delivery.scripted_server import batch

FIRST_ID = frozenset({1})
SHORT_TIMEOUTS = HttpTimeouts(read=0.3)
"""For servers that never respond; others may be slow on a busy machine."""


def retry_without_waiting(attempts: int = 2, pauses: list[float] | None = None) -> RetryPolicy:
    """A policy that does not wait; `pauses` records the pauses."""
    return RetryPolicy(attempts=attempts, sleep=(pauses if pauses is not None else []).append)


def delivery_error(
    url: str, kind: type[DeliveryFailed], attempts: int = 2, timeouts: HttpTimeouts = DEFAULT_TIMEOUTS
) -> str:
    """The message of a failed delivery, without its duration."""
    target = HttpTarget(url, retry=retry_without_waiting(attempts), timeouts=timeouts)
    with closing(target), pytest.raises(kind) as raised:
        target.deliver(batch(1))
    assert type(raised.value) is kind
    return re.sub(r" in \d+ s\)$", ")", str(raised.value).removeprefix(f"{target.name}: "))


@contextmanager
def raw_server(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """The URL of a server that handles one connection with a function."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def read_request(connection: socket.socket) -> None:
    """Reads one to its end."""
    with connection.makefile("rb") as file:
        head = http.client.parse_headers(file) if file.readline() else None
        assert head is not None
        length = int(head["Content-Length"])
        assert length == len(file.read(length))

"""The buffer of an answer: many parts wait for their client, and take no more memory than a few of them."""

from __future__ import annotations

import socket
import threading

import pytest

from fleet.web import connections
from fleet.web.connections import MAX_WAITING_BYTES, ResponseBuffer

PARTS = [bytes([number]) * 100_000 for number in range(50)]


def test_an_answer_in_many_parts_waits_for_its_client() -> None:
    """No part is made while many wait; all arrive in their order."""
    ours, theirs = socket.socketpair()
    ours.settimeout(connections.TIMEOUT_SECONDS)
    theirs.settimeout(20)
    buffer, waiting = ResponseBuffer(ours), [0]

    def write() -> None:
        for part in PARTS:
            buffer.write(part)
            waiting.append(sum(map(len, buffer.unsent)))
        while buffer.unsent:
            buffer.send(ours)

    with ours, theirs:
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        assert len(waiting) < len(PARTS)
        received = bytearray()
        while len(received) < sum(map(len, PARTS)):
            received += theirs.recv(1 << 20)
        writer.join()
    assert b"".join(PARTS) == received
    assert max(waiting) <= MAX_WAITING_BYTES + len(PARTS[0])


def test_a_client_that_accepts_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As cheroot expects it of a socket; one that is gone, too."""
    monkeypatch.setattr(connections, "TIMEOUT_SECONDS", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        buffer = ResponseBuffer(ours)
        with pytest.raises(TimeoutError, match="timed out"):
            write_all(buffer)
        theirs.close()
        with pytest.raises(ConnectionError):
            write_all(buffer)


def write_all(buffer: ResponseBuffer) -> None:
    for part in PARTS:
        buffer.write(part)

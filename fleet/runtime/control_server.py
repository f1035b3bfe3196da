"""The server of the control socket of a data directory.

The protocol is one JSON object a line each way: `{"command": "scale", "count": 20}`, answered by `{"ok": true, ...}` or
`{"error": "..."}`. The socket has mode 0600 in a directory of mode 0700. The commands are in `fleet.runtime.commands`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from fleet.errors import UserError
from fleet.escaping import escape
from fleet.runtime.commands import COMMAND_ADAPTER, Answer, AnyCommand, describe_invalid_command
from fleet.runtime.control_client import socket_address

log = logging.getLogger("control")

MAX_COMMAND_BYTES = 256 * 1024  # four times the limit of HTTP: a body may be encoded longer than it came
MAX_REASON_LENGTH = 1000
MAX_CLIENTS = 32


class SocketLoop(Protocol):
    """An event loop that calls back when a socket can be read, such as the supervisor's."""

    def watch(self, source: socket.socket, ready: Callable[[], None]) -> None: ...
    def unwatch(self, source: socket.socket) -> None: ...


class ControlServer:
    """Accepts commands on a Unix socket and answers them, without ever blocking the loop that serves it."""

    def __init__(self, path: Path, loop: SocketLoop, handle: Callable[[AnyCommand], Answer]) -> None:
        self._path, self._loop, self._handle = path, loop, handle
        path.unlink(missing_ok=True)  # left by a killed fleet; by the lock it is not in use
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        with socket_address(path) as address:
            mask = os.umask(0o177)
            try:
                self._listener.bind(address)
            finally:
                os.umask(mask)
        self._listener.listen(16)
        self._clients: dict[socket.socket, bytes] = {}
        loop.watch(self._listener, self._accept)

    def close(self) -> None:
        for client in list(self._clients):
            self._disconnect(client)
        self._loop.unwatch(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            self._disconnect(next(iter(self._clients)))  # the oldest: clients usually send one command and close
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:  # the client has disconnected
            return
        except OSError as error:
            log.warning("a connection cannot be accepted: %s", error)
            time.sleep(0.05)  # no descriptor is left; the client stays in the queue
            return
        client.setblocking(False)
        self._clients[client] = b""
        self._loop.watch(client, lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        if client not in self._clients:
            return  # closed since the loop found it readable
        try:
            received = client.recv(MAX_COMMAND_BYTES)
        except ConnectionResetError:
            received = b""
        text = self._clients[client] + received
        if not received or len(text) > MAX_COMMAND_BYTES:
            self._disconnect(client)
            return
        *lines, self._clients[client] = text.split(b"\n")
        for line in lines:
            if not self._send(client, self._answer(line)):
                return

    def _answer(self, line: bytes) -> Answer:
        try:
            return {"ok": True, **self._handle(COMMAND_ADAPTER.validate_json(line))}
        except ValidationError as error:
            return {**error_answer(describe_invalid_command(error)), "invalid": True}
        except UserError as error:
            return error_answer(str(error))

    def _send(self, client: socket.socket, answer: Answer) -> bool:
        try:
            client.sendall(json.dumps(answer).encode() + b"\n")
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):  # disconnected, or does not read its answer
            self._disconnect(client)
            return False
        return True

    def _disconnect(self, client: socket.socket) -> None:
        del self._clients[client]
        self._loop.unwatch(client)
        client.close()


def error_answer(reason: str) -> Answer:
    """Return an error answer, without control characters and no longer than a few lines of a terminal."""
    return {"error": escape(reason if len(reason) <= MAX_REASON_LENGTH else f"{reason[: MAX_REASON_LENGTH - 3]}...")}

"""The fleet's end of the control socket of a data directory.

One JSON object a line each way: `{"command": "scale", "count": 20}`, answered by `{"ok": true, ...}` or
`{"error": "..."}`. The socket is 0600 in a directory that is 0700. The commands are in `fleet.runtime.commands`.
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
from fleet.escaping import escape, escape_short
from fleet.runtime.commands import COMMAND_ADAPTER, Answer, AnyCommand
from fleet.runtime.control_address import socket_address

log = logging.getLogger("control")

MAX_COMMAND_BYTES = 256 * 1024  # four times what HTTP takes: a body may be written out longer than it came
MAX_REASON_LENGTH = 1000
MAX_CLIENTS = 32


class SocketLoop(Protocol):
    """Waits for sockets and calls back when they can be read; the supervisor's."""

    def watch(self, source: socket.socket, ready: Callable[[], None]) -> None: ...
    def unwatch(self, source: socket.socket) -> None: ...


class ControlServer:
    """The fleet's end: served by a loop, never blocking it."""

    def __init__(self, path: Path, loop: SocketLoop, handle: Callable[[AnyCommand], Answer]) -> None:
        self._path, self._loop, self._handle = path, loop, handle
        path.unlink(missing_ok=True)  # left by a killed fleet; the lock says that nobody uses it
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
            self._forget(client)
        self._loop.unwatch(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            self._forget(next(iter(self._clients)))  # the oldest: an operator asks, reads and goes
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:  # gone again
            return
        except OSError as error:
            log.warning("a command cannot be taken: %s", error)
            time.sleep(0.05)  # no descriptor is left: the client waits, and so does the listener's call
            return
        client.setblocking(False)
        self._clients[client] = b""
        self._loop.watch(client, lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        if client not in self._clients:
            return  # forgotten since the loop saw that it had something to say
        try:
            received = client.recv(MAX_COMMAND_BYTES)
        except ConnectionResetError:
            received = b""
        text = self._clients[client] + received
        if not received or len(text) > MAX_COMMAND_BYTES:
            self._forget(client)
            return
        *lines, self._clients[client] = text.split(b"\n")
        for line in lines:
            if not self._send(client, self._answer(line)):
                return

    def _answer(self, line: bytes) -> Answer:
        try:
            return {"ok": True, **self._handle(COMMAND_ADAPTER.validate_json(line))}
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "command"
            return {
                **error_answer(f"{escape_short(place)}: {first['msg'].removeprefix('Value error, ')}"),
                "invalid": True,
            }
        except UserError as error:
            return error_answer(str(error))

    def _send(self, client: socket.socket, answer: Answer) -> bool:
        try:
            client.sendall(json.dumps(answer).encode() + b"\n")
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):  # gone, or does not read what it asked for
            self._forget(client)
            return False
        return True

    def _forget(self, client: socket.socket) -> None:
        del self._clients[client]
        self._loop.unwatch(client)
        client.close()


def error_answer(reason: str) -> Answer:
    """What was wrong, without what a terminal would obey, and no longer than a few lines of it."""
    return {"error": escape(reason if len(reason) <= MAX_REASON_LENGTH else f"{reason[: MAX_REASON_LENGTH - 3]}...")}

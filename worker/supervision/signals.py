"""Signals that a loop can wait for like a socket."""

from __future__ import annotations

import signal
import socket
from types import TracebackType


class SignalSocket:
    """A context manager that turns signals into bytes on `socket`. For the main thread.

    While it is entered, the handled signals have no other effect; on exit the previous handlers are restored.
    """

    def __init__(self, *handled: signal.Signals) -> None:
        self._handled = handled
        self._previous_fd = -1
        self._previous_handlers: dict[signal.Signals, signal._HANDLER] = {}
        self.socket, self._sender = socket.socketpair()
        self.socket.setblocking(False)
        self._sender.setblocking(False)

    def __enter__(self) -> SignalSocket:
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        # The handlers do nothing: the signal number arrives through the socket, between two actions of the loop.
        self._previous_handlers = {number: signal.signal(number, _nothing) for number in self._handled}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self.socket.close()
        self._sender.close()

    def received(self) -> list[int]:
        """Return the numbers of the signals that have arrived since the last call, in order."""
        try:
            return list(self.socket.recv(4096))
        except BlockingIOError:
            return []


def _nothing(*_: object) -> None:
    pass

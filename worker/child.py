"""A child process as the supervisor holds it: a lifeline, orders, signals, an exit code.

The child sees its end of the lifeline close when the supervisor dies or lets go, and then ends by itself.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

BUG = 70
"""Exit code of a child that met an unexpected exception."""

OUT_OF_MEMORY = 72
"""Exit code of a child that was refused memory: another one may fare better."""

LOST = 71
"""Stands for the exit code of a child that is gone without anybody having seen how."""

MEANINGS = {
    4: "readings that it could not write",  # UNSETTLED of worker.process
    BUG: "a bug (see the log)",
    OUT_OF_MEMORY: "want of memory",
    LOST: "nobody knows what",
}

Body = Callable[[socket.socket], int]
"""What runs in a child: takes its end of the lifeline, returns the exit code."""


class Child:
    """One running child. `exit_code` asks how it ended: None while it runs, minus the signal if it was killed."""

    def __init__(self, name: str, pid: int, lifeline: socket.socket, exit_code: Callable[[Child], int | None]) -> None:
        self.name, self.pid, self._lifeline, self._exit_code = name, pid, lifeline, exit_code
        self._outbox = b""
        lifeline.setblocking(False)

    def exit_code(self) -> int | None:
        """Asked again and again, so that what did not fit into the inbox is sent on this way."""
        self._send()
        return self._exit_code(self)

    def order(self, **order: Any) -> None:
        """Send an order; one that does not read its inbox, being stopped, gets it when it wakes. One that is dead gets
        none; its end is seen elsewhere."""
        self._outbox += json.dumps(order).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        try:
            while self._outbox:
                self._outbox = self._outbox[self._lifeline.send(self._outbox) :]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError) as error:
            self._outbox = b""
            logging.getLogger(self.name).warning("an order was not delivered: %s", error)

    def signal(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def hung_up(self) -> bool:
        """Whether the child's end of the lifeline is closed, as it is once the child is gone."""
        try:
            return self._lifeline.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def release(self) -> None:
        """Let go of the lifeline: the child ends by itself, soon."""
        self._lifeline.close()


def fork(name: str, body: Body, keep: tuple[int, ...] = ()) -> Child:
    """Run `body` in a fork of this process, with the descriptors `keep`. Only for a parent with one thread."""
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=_run, args=(name, body, theirs, keep), name=name)
    process.start()
    theirs.close()
    assert process.pid is not None
    return Child(name, process.pid, ours, lambda _: process.exitcode)


def _run(name: str, body: Body, lifeline: socket.socket, keep: tuple[int, ...]) -> None:
    detach(lifeline.fileno(), *keep)
    sys.exit(guarded(name, body, lifeline))


def guarded(name: str, body: Body, lifeline: socket.socket) -> int:
    """The exit code of `body`; what it did not expect goes into the log."""
    try:
        return body(lifeline)
    except MemoryError as error:
        logging.getLogger(name).error("out of memory: %s", error)
        return OUT_OF_MEMORY
    except Exception:  # the top of a process: a bug is logged with its traceback and ends it
        logging.getLogger(name).exception("bug")
        return BUG


def detach(*keep: int) -> None:
    """Give up all of the parent that came along with the fork: its signals, its terminal, its descriptors.

    Descriptors matter: a copy of another child's lifeline would keep that child from noticing that the supervisor
    died, and a copy of the fleet's lock would keep the next fleet out.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides, and says so through the lifeline
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
    streams = (handler.stream for handler in root.handlers if isinstance(handler, logging.FileHandler))
    logs = [stream for stream in streams if stream]
    close_all_but(0, 1, 2, *keep, *(log.fileno() for log in logs))
    if logs:
        faulthandler.enable(logs[0])


def close_all_but(*keep: int) -> None:
    kept = sorted(set(keep))
    for before, after in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        if before + 1 < after:
            os.closerange(before + 1, after)


def meaning(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return signal.Signals(-code).name
    return MEANINGS.get(code, f"exit code {code}")

"""A child process as the supervisor holds it: a lifeline, orders, signals, an exit code.

The child sees its end of the lifeline close when the supervisor dies or lets go, and then ends by itself.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

EXIT_BUG = 70
"""Exit code of a child that met an unexpected exception."""

EXIT_OUT_OF_MEMORY = 72
"""Exit code of a child that was refused memory: another one may fare better."""

EXIT_UNKNOWN = 71
"""Stands for the exit code of a child that is gone without anybody having seen how."""

PARENT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
"""The signals that a parent waits for, and that are none of its children's business."""

LETHAL_SIGNALS = (signal.SIGABRT, signal.SIGKILL)

EXIT_CODE_TEXTS = {
    4: "readings that it could not write",  # EXIT_PENDING of worker.process
    EXIT_BUG: "a bug (see the log)",
    EXIT_OUT_OF_MEMORY: "want of memory",
    EXIT_UNKNOWN: "nobody knows what",
}

ProcessMain = Callable[[socket.socket], int]
"""What runs in a child: takes its end of the lifeline, returns the exit code."""


class Child:
    """One child process. `pid` is None as long as nobody has told it, `spawn_pending` whether somebody is to. `spawn_error` is why
    the system would not start it; then it never ran. `kill_signal` is the signal that it was sent to end it, `stopped` whether
    it stands still by a signal, as far as its parent is told."""

    def __init__(
        self, name: str, pid: int | None, lifeline: socket.socket, exit_code: Callable[[Child], int | None]
    ) -> None:
        self.name, self.pid, self._lifeline, self._exit_code = name, pid, lifeline, exit_code
        self.spawn_pending = pid is None
        self.spawn_error: OSError | None = None
        self.kill_signal: signal.Signals | None = None
        self.stopped = False
        self._outbox = b""
        lifeline.setblocking(False)

    def exit_code(self) -> int | None:
        """How it ended: None while it runs, minus the signal if it was killed, EXIT_UNKNOWN if nobody knows. Asked again and
        again, so that what did not fit into the inbox is sent on this way."""
        self._send()
        return self._exit_code(self)

    def send_message(self, **order: Any) -> None:
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
        except OSError as error:
            self._outbox = b""
            logging.getLogger(self.name).warning("an order was not delivered: %s", error)

    def signal(self, *numbers: signal.Signals) -> None:
        """Send signals, unless it is gone: its process id may be a stranger's by then."""
        if self.pid is None or self.lifeline_closed():
            return
        for number in numbers:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
            if number in LETHAL_SIGNALS:
                self.kill_signal = number

    def lifeline_closed(self) -> bool:
        """Whether the child's end of the lifeline is closed, as it is once the child is gone."""
        try:
            return self._lifeline.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True
        except OSError:  # nothing to read, which is what a living child has to say; or it was released
            return False

    def close_lifeline(self) -> None:
        """Let go of the lifeline: the child ends by itself, soon."""
        self._lifeline.close()


def fork_child(name: str, body: ProcessMain, keep: tuple[int, ...] = ()) -> Child:
    """Run `body` in a fork of this process, with the descriptors `keep`. Only for a parent with one thread. OSError if
    the system has no room for it."""
    ours, theirs = socket.socketpair()
    # A signal in between would find its way into our own wakeup through the child, and there count twice.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            run_and_exit(name, lambda lifeline: _run_detached(body, lifeline, keep, before), theirs)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Child(name, pid, ours, poll_exit_code)


def _run_detached(
    body: ProcessMain, lifeline: socket.socket, keep: tuple[int, ...], mask: set[int | signal.Signals]
) -> int:
    drop_inherited_state(lifeline.fileno(), *keep)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return body(lifeline)


def run_and_exit(name: str, body: ProcessMain, lifeline: socket.socket) -> NoReturn:
    """The life of a process that was just forked: whatever becomes of it, it does not go on as its parent."""
    code = EXIT_BUG
    try:
        code = run_logged(name, body, lifeline)
    finally:
        os._exit(code)


def poll_exit_code(child: Child) -> int | None:
    """The exit code of a child of this process, EXIT_UNKNOWN if that is no child of this process any more."""
    assert child.pid is not None
    try:
        pid, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
    except ChildProcessError:
        return EXIT_UNKNOWN
    if not pid:
        return None
    child.stopped = os.WIFSTOPPED(status)
    return None if child.stopped or os.WIFCONTINUED(status) else os.waitstatus_to_exitcode(status)


def run_logged(name: str, body: ProcessMain, lifeline: socket.socket) -> int:
    """The exit code of `body`; what it did not expect goes into the log."""
    try:
        return body(lifeline)
    except MemoryError as error:
        logging.getLogger(name).error("out of memory: %s", error)
        return EXIT_OUT_OF_MEMORY
    except Exception:  # the top of a process: a bug is logged with its traceback and ends it
        logging.getLogger(name).exception("bug")
        return EXIT_BUG


def drop_inherited_state(*keep: int) -> None:
    """Give up all of the parent that came along with the fork: its signals, its terminal, its descriptors.

    Descriptors matter: a copy of another child's lifeline would keep that child from noticing that the supervisor
    died, and a copy of the fleet's lock would keep the next fleet out.
    """
    signal.set_wakeup_fd(-1)
    for number in PARENT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides, and says so through the lifeline
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
    streams = (handler.stream for handler in root.handlers if isinstance(handler, logging.FileHandler))
    logs = [stream for stream in streams if stream]
    close_fds_except(0, 1, 2, *keep, *(log.fileno() for log in logs))
    if logs:
        faulthandler.enable(logs[0])


def close_fds_except(*keep: int) -> None:
    kept = sorted(set(keep))
    for before, after in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        if before + 1 < after:
            os.closerange(before + 1, after)


def describe_exit_code(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return signal.Signals(-code).name
    return EXIT_CODE_TEXTS.get(code, f"exit code {code}")

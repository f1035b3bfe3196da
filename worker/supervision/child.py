"""A child process from its parent's side: a lifeline, messages, signals, an exit code.

The lifeline is a socket pair. The child's end closes when the child exits; the parent's end closes when the parent dies
or releases the child, and the child then exits by itself.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import NoReturn

EXIT_BUG = 70
"""Exit code of a child that met an unexpected exception."""

EXIT_UNKNOWN = 71
"""Placeholder for the exit code of a child whose exit could not be observed."""

EXIT_OUT_OF_MEMORY, EXIT_OUT_OF_PROCESSES = 72, 73
"""Exit codes of a child that was refused memory, or a process or thread; a new one may succeed."""

PARENT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
"""Signals that the parent waits for and its children ignore."""

LETHAL_SIGNALS = (signal.SIGABRT, signal.SIGKILL)

EXIT_CODE_TEXTS = {
    4: "exited with unwritten readings",  # EXIT_PENDING of worker.process
    EXIT_BUG: "exited because of a bug (see the log)",
    EXIT_OUT_OF_MEMORY: "exited, out of memory",
    EXIT_OUT_OF_PROCESSES: "exited, no process or thread could be started (`ulimit -u`)",
    EXIT_UNKNOWN: "exited, cause unknown",
}

ProcessMain = Callable[[socket.socket], int]
"""The body of a child process: takes the child's end of the lifeline, returns the exit code."""


class Child:
    """One child process.

    `pid` is None until the process id is known; `spawn_pending` is true while an answer about it is expected.
    `spawn_error` is the error if the system refused to start the process; it never ran then. `kill_signal` is the lethal
    signal that was sent to it, `stopped` is true while it is suspended by a signal, as far as its parent can see.
    `exit_code` is the function that finds out the exit code: None while the process runs.
    """

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
        """Return the exit code: None while it runs, minus the signal number if killed, EXIT_UNKNOWN if not observed.

        Must be polled: each call also sends what did not fit into the child's inbox before.
        """
        self._send()
        return self._exit_code(self)

    def send_message(self, message: Mapping[str, object]) -> None:
        """Queue a message. A suspended child receives it when it resumes; for a dead one it is dropped with a warning."""
        self._outbox += json.dumps(message).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        try:
            while self._outbox:
                self._outbox = self._outbox[self._lifeline.send(self._outbox) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._outbox = b""
            logging.getLogger(self.name).warning("a message was not delivered: %s", error)

    def signal(self, *numbers: signal.Signals) -> None:
        """Send signals in order, unless the child has exited: its process id may have been reused."""
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
        """Return whether the child's end of the lifeline is closed, which it is once the child has exited."""
        try:
            return self._lifeline.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True
        except OSError:  # nothing to read, as always while the child lives; or the lifeline was released
            return False

    def close_lifeline(self) -> None:
        """Release the child: it exits by itself soon after."""
        self._lifeline.close()


def fork_child(name: str, body: ProcessMain, keep: tuple[int, ...] = ()) -> Child:
    """Run `body` in a fork of this process that keeps the descriptors `keep`.

    The parent must have one thread. Raises OSError if the system has no room for another process.
    """
    ours, theirs = socket.socketpair()
    # A signal between fork and cleanup would reach our own wakeup descriptor through the child, and count twice.
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
    """Run `body` in a process that was just forked, then exit: the fork never continues as its parent."""
    code = EXIT_BUG
    try:
        code = run_logged(name, body, lifeline)
    finally:
        os._exit(code)


def poll_exit_code(child: Child) -> int | None:
    """Return the exit code of a child of this process, None while it runs, EXIT_UNKNOWN if it was already reaped."""
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
    """Run `body` and return its exit code. Unexpected exceptions are logged and become an exit code."""
    try:
        return body(lifeline)
    except MemoryError as error:
        logging.getLogger(name).error("out of memory: %s", error)
        return EXIT_OUT_OF_MEMORY
    except Exception as error:  # the top of a process: a bug is logged with its traceback and ends it
        if is_process_limit(error):
            logging.getLogger(name).error("no process or thread can be started: %s", error)
            return EXIT_OUT_OF_PROCESSES
        logging.getLogger(name).exception("bug")
        return EXIT_BUG


def is_process_limit(error: Exception) -> bool:
    """Return whether the system has refused a process or a thread, as it does at the limit of `ulimit -u`."""
    return isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


def drop_inherited_state(*keep: int) -> None:
    """Drop what a fork inherits from its parent: signal handlers, log handlers, descriptors other than `keep`.

    A copy of another child's lifeline would keep that child from noticing that the supervisor died, and a copy of the
    fleet's lock would keep the next fleet from starting.
    """
    signal.set_wakeup_fd(-1)
    for number in PARENT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent decides, and closes the lifeline
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
    streams = (handler.stream for handler in root.handlers if isinstance(handler, logging.FileHandler))
    logs = [stream for stream in streams if stream]
    close_fds_except(0, 1, 2, *keep, *(log.fileno() for log in logs))
    if logs:
        faulthandler.enable(logs[0])


def close_fds_except(*keep: int) -> None:
    """Close all descriptors of this process other than `keep`."""
    kept = sorted(set(keep))
    for before, after in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        if before + 1 < after:
            os.closerange(before + 1, after)


def describe_exit_code(code: int) -> str:
    """Describe an exit code as a phrase that follows a worker's name, such as "killed by SIGKILL"."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return EXIT_CODE_TEXTS.get(code, f"exited with code {code}")

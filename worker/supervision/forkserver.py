"""The template: a small process that has all of a worker's code in memory and forks the workers from it.

Workers forked straight from the supervisor would share its heap, but the supervisor goes on writing into it between
two forks, and what one side writes is no longer shared. Measured for 100 workers at 10 readings/s each, 2 cores,
proportional memory: forked from such a process 4.9 MB each, from a lean supervisor 5.6 MB.

The supervisor teaches it the specs of all workers, for pickle would cost each worker half a megabyte, and then asks for
one worker after the other, sending the worker's end of its lifeline. The template answers with the process id, and later
with the exit code. Nobody waits for it: it may die or stand still at any moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker.log import LogSpec
from worker.spec import WorkerSpec
from worker.supervision.child import EXIT_UNKNOWN, Child, poll_exit_code

REQUEST_HEADER = struct.Struct("<qq")
"""Length of what follows, and the incarnation to start or REGISTER_REQUEST or PING_REQUEST."""

REGISTER_REQUEST, PING_REQUEST = -1, -2

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The supervisor decides, and says so."""

FORKSERVER_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    from worker.supervision.forkserver_main import main
except (ImportError, MemoryError, OSError) as error:  # no descriptor or memory is left: the next one may fare better
    sys.exit(f"template: {type(error).__name__}: {error}".splitlines()[0])
main(*sys.argv[2:])
"""

KILL_TIMEOUT_SECONDS = 2.0
"""Seconds that somebody killed is waited for."""


class ForkServer:
    """The supervisor's handle, which waits for no answer. `scoreboard` is the path that every worker opens, `log` where every
    worker logs, `group` is the process group to join, 0 for one of its own. `connected` is whether it can be talked to,
    `answer_count` counts what it has said."""

    def __init__(self, scoreboard: Path, log: LogSpec | None, group: int = 0) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        root = Path(__file__).resolve().parents[2]
        arguments = [str(root), str(theirs.fileno()), str(scoreboard), log.to_json() if log else ""]
        # One thread of the linear algebra library, which nobody uses, would cost every worker its stack.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", FORKSERVER_SCRIPT, *arguments]
        try:
            # Not the supervisor's process group: Ctrl-C is for that one, and must not hit a half-started interpreter.
            with signals_blocked():
                self._process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], env=environment, process_group=group
                )
        except OSError:
            self.socket.close()
            raise
        finally:
            theirs.close()
        self.group = group or self._process.pid
        self.connected, self.answer_count = True, 0
        self._alive = True
        self._outbox: deque[tuple[memoryview, socket.socket | None]] = deque()
        self._inbox = b""
        self._pending_spawns: deque[Child] = deque()
        self._ping_pending = False
        self._codes: dict[int, int] = {}

    @property
    def unsent(self) -> bool:
        """Whether some of what was said to it has yet to be sent: `receive` does, when the socket can be written."""
        return bool(self._outbox)

    @property
    def busy(self) -> bool:
        """Whether it has yet to answer which processes it has started."""
        return bool(self._pending_spawns)

    def register(self, specs: Sequence[WorkerSpec]) -> None:
        """Make workers known by their names, or known anew."""
        self._enqueue(REGISTER_REQUEST, pickle.dumps(list(specs), protocol=pickle.HIGHEST_PROTOCOL))

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child | OSError]:
        """New processes for the (worker, incarnation) pairs, in order, or why not even their lifelines can be had. Their
        process ids, or what the system refused them with, are told by the template later on."""
        return [self._spawn(name, incarnation) for name, incarnation in wanted]

    def ping(self) -> None:
        """Ask for a sign of life, unless one is due already."""
        if not self._ping_pending:
            self._ping_pending = True
            self._enqueue(PING_REQUEST)

    def receive(self) -> bool:
        """Take in what has arrived, and send what is left. Whether some worker ended, or was refused."""
        self._send()
        news = False
        while self._alive:
            try:
                received = self.socket.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                received = b""
            if not received:
                self._mark_dead()
            *lines, self._inbox = (self._inbox + received).split(b"\n")
            for line in lines:
                news |= self._handle_answer(json.loads(line))
        return news

    def kill(self) -> None:
        """Whatever it is doing; workers that still run are not touched. What it has said before is taken in."""
        self._process.kill()
        self._wait()
        self.receive()
        self._mark_dead()
        self.socket.close()

    def close(self) -> None:
        """End it, and with it whoever is left in its group."""
        if self._process.poll() is None:
            os.killpg(self.group, signal.SIGKILL)
        self._wait()
        self._mark_dead()
        self.socket.close()

    def _wait(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may have a reason to keep it (a stuck disk)
            self._process.wait(KILL_TIMEOUT_SECONDS)

    def _spawn(self, name: str, incarnation: int) -> Child | OSError:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            return error
        child = Child(name, None, ours, self._exit_code)
        self._pending_spawns.append(child)
        self._enqueue(incarnation, name.encode(), theirs)
        return child

    def _enqueue(self, number: int, content: bytes = b"", lifeline: socket.socket | None = None) -> None:
        self._outbox.append((memoryview(REQUEST_HEADER.pack(len(content), number) + content), lifeline))
        self._send()

    def _send(self) -> None:
        """As much as it takes; the rest will be sent when it has read."""
        try:
            while self._outbox:
                content, lifeline = self._outbox.popleft()
                if lifeline is None:
                    sent = self.socket.send(content)
                else:
                    sent = socket.send_fds(self.socket, [content], [lifeline.fileno()])
                    lifeline.close()
                if sent < len(content):
                    self._outbox.appendleft((content[sent:], None))
        except OSError:  # there is no room for it yet; or nobody reads it any more, as `receive` will see
            self._outbox.appendleft((content, lifeline))

    def _handle_answer(self, answer: dict[str, int]) -> bool:
        self.answer_count += 1
        if "ended" in answer:
            self._codes[answer["ended"]] = answer["code"]
            return True
        if "started" not in answer:
            self._ping_pending = False
            return False
        child, pid = self._pending_spawns.popleft(), answer["started"]
        child.spawn_pending = False
        if pid < 0:
            child.spawn_error = OSError(-pid, os.strerror(-pid))
            return True
        child.pid = pid
        self._codes.pop(pid, None)  # of somebody nobody asked about, long ago
        return False

    def _mark_dead(self) -> None:
        """It says nothing any more, and takes nothing: nobody awaits those that it has not started by now."""
        self._alive = self.connected = False
        for _, lifeline in self._outbox:
            if lifeline is not None:
                lifeline.close()
        self._outbox.clear()
        while self._pending_spawns:
            self._pending_spawns.popleft().spawn_pending = False

    def _exit_code(self, child: Child) -> int | None:
        if child.pid in self._codes:
            return self._codes.pop(child.pid)
        if self._alive or not child.lifeline_closed():
            return None
        if child.pid is not None and os.getpid() == 1:  # in a container: the first process is given all orphans
            return poll_exit_code(child)
        return EXIT_UNKNOWN if child.kill_signal is None else -child.kill_signal


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Have a process that is started in here begin with IGNORED_SIGNALS blocked, until it can ignore them: when a supervisor dies,
    the kernel sends SIGHUP to a group in which a worker is stopped."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

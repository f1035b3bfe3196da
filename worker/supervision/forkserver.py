"""The fork server from the supervisor's side: a process that has the code of a worker in memory and forks the workers.

Workers forked from the supervisor itself would share its memory at first, but the supervisor keeps writing, and pages
that either side writes are no longer shared. Measured for 100 workers at 10 readings/s each, 2 cores: a worker takes 0.7
MB less proportional memory (PSS) than one forked from a lean supervisor.

The supervisor registers the specs of all workers (unpickling in each worker would cost it half a megabyte), then
requests one worker after the other and passes the worker's end of its lifeline along. The fork server answers with the
process id, and later with the exit code. The supervisor never waits for it: it may die or hang at any moment.
`worker.supervision.forkserver_main` is the other side.
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
"""The length of the content that follows, and an incarnation to start, REGISTER_REQUEST or PING_REQUEST."""

REGISTER_REQUEST, PING_REQUEST = -1, -2

IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The supervisor handles these signals and decides when processes end."""

FORKSERVER_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    # Large libraries first: the objects that every worker writes to are then close together, 0.4 MB less for each.
    import numpy.random, numpy.typing, apsw, tenacity
    import importlib.resources.readers, inspect, statistics, subprocess, tempfile, uuid, zoneinfo
    from worker.supervision.forkserver_main import main
except (ImportError, MemoryError, OSError) as error:  # no descriptor or memory is left: the next one may succeed
    sys.exit(f"forkserver: {type(error).__name__}: {error}".splitlines()[0])
main(*sys.argv[2:])
"""

KILL_TIMEOUT_SECONDS = 2.0
"""Seconds to wait for a killed process."""


class ForkServer:
    """A handle on one fork server process; its methods never wait for an answer.

    `scoreboard` is the file that every worker maps, `log` the log of the workers, `group` the process group to join, 0
    for a new one. `connected` is false once the process is known to have died, `answer_count` counts its answers.
    """

    def __init__(self, scoreboard: Path, log: LogSpec | None, group: int = 0) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        root = Path(__file__).resolve().parents[2]
        arguments = [str(root), str(theirs.fileno()), str(scoreboard), log.to_json() if log else ""]
        # An unused thread of the linear algebra library would cost every worker its stack.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", FORKSERVER_SCRIPT, *arguments]
        try:
            # Not the supervisor's process group: Ctrl-C must not hit a half-started interpreter.
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
        """Whether requests are queued; `receive` sends them when the socket is writable."""
        return bool(self._outbox)

    @property
    def busy(self) -> bool:
        """Whether answers to spawn requests are pending."""
        return bool(self._pending_spawns)

    def register(self, specs: Sequence[WorkerSpec]) -> None:
        """Add specs by the names of their workers, or replace them."""
        self._enqueue(REGISTER_REQUEST, pickle.dumps(list(specs), protocol=pickle.HIGHEST_PROTOCOL))

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child | OSError]:
        """Request a process for each (worker, incarnation) pair, in order.

        Returns a child for each, or an OSError if its lifeline could not be created. The fork server reports process ids
        and refusals later.
        """
        return [self._spawn(name, incarnation) for name, incarnation in wanted]

    def ping(self) -> None:
        """Request a sign of life, unless one is pending."""
        if not self._ping_pending:
            self._ping_pending = True
            self._enqueue(PING_REQUEST)

    def receive(self) -> bool:
        """Handle the answers that have arrived and send queued requests.

        Returns whether a worker has exited or was refused.
        """
        self._send()
        changed = False
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
                changed |= self._handle_answer(json.loads(line))
        return changed

    def kill(self) -> None:
        """Kill the fork server, not its workers. Answers that it has sent before are still handled."""
        self._process.kill()
        self._wait()
        self.receive()
        self._mark_dead()
        self.socket.close()

    def close(self) -> None:
        """Kill the fork server and all workers that are left in its process group."""
        if self._process.poll() is None:
            os.killpg(self.group, signal.SIGKILL)
        self._wait()
        self._mark_dead()
        self.socket.close()

    def _wait(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may hold it (a stuck disk)
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
        """Send queued requests until the socket is full."""
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
        except OSError:  # the socket is full; or the fork server died, which `receive` will notice
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
        self._codes.pop(pid, None)  # a late exit code of an earlier process with the same id
        return False

    def _mark_dead(self) -> None:
        """Mark the fork server dead and abandon every spawn that it has not answered."""
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
        if child.pid is not None and os.getpid() == 1:  # in a container, the first process adopts all orphans
            return poll_exit_code(child)
        return EXIT_UNKNOWN if child.kill_signal is None else -child.kill_signal


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Start processes with IGNORED_SIGNALS blocked, until they can ignore them.

    When a supervisor dies, the kernel sends SIGHUP to a process group with a stopped member.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

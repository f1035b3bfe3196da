"""The template: a small process that has all of a worker's code in memory and forks the workers from it.

Workers forked straight from the supervisor would share its heap, but the supervisor goes on writing into it between
two forks, and what one side writes is no longer shared. Measured for 100 workers at 10 readings/s each, 2 cores,
proportional memory: forked from such a process 4.9 MB each, from a lean supervisor 5.6 MB.

The supervisor teaches it the specs of all workers, for pickle would cost each worker half a megabyte, and then asks for
one worker after the other, sending the worker's end of its lifeline. The template answers with the process id, and later
with the exit code. If the template dies, the workers live on and another template is started.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import json
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from worker.board import Board
from worker.child import LOST, Child, close_all_but, guarded
from worker.log import LogSpec, install, streams
from worker.process import main as work
from worker.spec import WorkerSpec
from worker.wakeup import Wakeup
from worker.warmup import warm_up

REQUEST = struct.Struct("<qq")
"""Length of what follows, and the incarnation to start or TEACH."""

TEACH = -1

PARTING = 2.0
"""Seconds that workers have to end after the supervisor did."""


class TemplateDied(Exception):
    """The template is gone; start another."""


class Template:
    """The supervisor's handle. `board` is the path that every worker opens, `log` where every worker logs."""

    def __init__(self, board: Path, log: LogSpec | None) -> None:
        self.socket, theirs = socket.socketpair()
        root = Path(__file__).resolve().parent.parent
        arguments = [str(root), str(theirs.fileno()), str(board), log.dumped() if log else ""]
        code = "import sys; sys.path.insert(0, sys.argv[1]); from worker.template import main; main(*sys.argv[2:])"
        # One thread of the linear algebra library, which nobody uses, would cost every worker its stack.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, *arguments]
        # A process group of its own: Ctrl-C is for the supervisor, and must not hit a half-started interpreter.
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, process_group=0)
        theirs.close()
        self._codes: dict[int, int] = {}
        self._buffer = b""
        self._alive = True

    @property
    def pid(self) -> int:
        return self._process.pid

    def teach(self, specs: Sequence[WorkerSpec]) -> None:
        """Make workers known by their names, or known anew. Raises TemplateDied."""
        lesson = pickle.dumps(list(specs), protocol=pickle.HIGHEST_PROTOCOL)
        try:
            self.socket.sendall(REQUEST.pack(len(lesson), TEACH) + lesson)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise TemplateDied from error

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child | OSError]:
        """New processes for the (worker, incarnation) pairs, in order, or what the system refused each with. Raises
        TemplateDied; then none is wanted any more, and any that was started ends at once, its lifeline being closed.

        All requests are sent before the first answer is read: a fork takes 3 ms, waiting for the processor in
        between, among all the workers that were just started, takes longer.
        """
        pairs: list[tuple[socket.socket, socket.socket]] = []
        try:
            pairs.extend(socket.socketpair() for _ in wanted)  # keeps those made before one is refused
        except OSError as error:
            for pair in pairs:
                close(*pair)
            return [error for _ in wanted]
        try:
            for (name, incarnation), (_, theirs) in zip(wanted, pairs, strict=True):
                request = name.encode()
                socket.send_fds(self.socket, [REQUEST.pack(len(request), incarnation)], [theirs.fileno()])
                self.socket.sendall(request)
            pids = [self._started() for _ in wanted]
        except (BrokenPipeError, ConnectionResetError, TemplateDied) as error:
            close(*(ours for ours, _ in pairs))
            raise TemplateDied from error
        finally:
            close(*(theirs for _, theirs in pairs))
        return [self._child(name, pid, ours) for (name, _), pid, (ours, _) in zip(wanted, pids, pairs, strict=True)]

    def _child(self, name: str, answer: int, ours: socket.socket) -> Child | OSError:
        """`answer` is a process id, or the error number of a fork that was refused, negative."""
        if answer > 0:
            return Child(name, answer, ours, self._exit_code)
        ours.close()
        return OSError(-answer, os.strerror(-answer))

    def _started(self) -> int:
        """The process id, or the reason why there is none, in the next answer that tells."""
        while "started" not in (answer := self._answer()):
            pass
        return answer["started"]

    def receive(self) -> None:
        """Take in exit codes that have arrived. Raises TemplateDied."""
        while b"\n" in self._buffer or select.select([self.socket], [], [], 0)[0]:
            self._answer()

    def close(self) -> None:
        """The template ends; workers that still run are not touched."""
        self._alive = False
        self.socket.close()
        self._process.wait()

    def _answer(self) -> dict[str, int]:
        """The next answer; exit codes are kept as well as returned."""
        while b"\n" not in self._buffer:
            received = self.socket.recv(65536)
            if not received:
                self._alive = False
                raise TemplateDied
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, int] = json.loads(line)
        if "ended" in answer:
            self._codes[answer["ended"]] = answer["code"]
        return answer

    def _exit_code(self, child: Child) -> int | None:
        if child.pid in self._codes:
            return self._codes.pop(child.pid)
        return LOST if not self._alive and child.hung_up() else None


# The template process itself


def main(descriptor: str, board: str, log: str) -> NoReturn:
    """Fork workers on request until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if log:
        install(LogSpec.loaded(log))
    for stream in streams():
        faulthandler.enable(stream)
    living: set[int] = set()
    with Wakeup(signal.SIGCHLD) as children:
        try:
            serve(socket.socket(fileno=int(descriptor)), children, living, Board(Path(board), writable=True))
        except (Alone, ConnectionResetError):
            part(living)


class Alone(Exception):
    """The supervisor is gone."""


def part(living: set[int]) -> NoReturn:
    """Workers end by themselves when the supervisor is gone; not so one that hangs, and it may hold a lock."""
    end = time.monotonic() + PARTING
    while living and time.monotonic() < end:
        living -= {pid for pid, _ in ended()}
        time.sleep(0.02)
    for pid in living:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def serve(supervisor: socket.socket, children: Wakeup, living: set[int], board: Board) -> NoReturn:
    """Answer requests. Raises Alone; `living` are the workers then."""
    known: dict[str, WorkerSpec] = {}
    while True:
        ready, _, _ = select.select([supervisor, children.socket], [], [])
        if children.socket in ready:
            children.numbers()
            for pid, code in ended():
                living.discard(pid)
                answer(supervisor, ended=pid, code=code)
        if supervisor in ready:
            request, incarnation, descriptors = take(supervisor)
            if incarnation == TEACH:
                specs: list[WorkerSpec] = pickle.loads(request)
                if not known:
                    warm_up(specs[0].sensors[0])
                known |= {spec.name: spec for spec in specs}
                gc.freeze()  # a collection in a worker would write into every object that it looks at
                continue
            spec = known[request.decode()]
            pid = fork() if descriptors else -errno.EMFILE
            if pid == 0:
                live(spec, incarnation, descriptors[0], board)
            for descriptor in descriptors:
                os.close(descriptor)
            if pid > 0:
                living.add(pid)
            answer(supervisor, started=pid)


def fork() -> int:
    """As os.fork, but minus the error number where the system has no room for another process."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)


def close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


def take(supervisor: socket.socket) -> tuple[bytes, int, list[int]]:
    """The next request, its incarnation and what came with it. Raises Alone."""
    header, descriptors, _, _ = socket.recv_fds(supervisor, REQUEST.size, 1)
    if not header:
        raise Alone
    size, incarnation = REQUEST.unpack(header)
    request = bytearray()
    while len(request) < size:
        received = supervisor.recv(min(size - len(request), 1 << 20))
        if not received:
            raise Alone
        request += received
    return bytes(request), incarnation, descriptors


def live(spec: WorkerSpec, incarnation: int, descriptor: int, board: Board) -> NoReturn:
    """The life of one worker, in the fork."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    close_all_but(0, 1, 2, descriptor, *(stream.fileno() for stream in streams()))
    lifeline = socket.socket(fileno=descriptor)
    os._exit(guarded(spec.name, lambda _: work(spec, incarnation, board, lifeline), lifeline))


def ended() -> list[tuple[int, int]]:
    """The process ids and exit codes of workers that have ended since the last look."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def answer(supervisor: socket.socket, **answer: int) -> None:
    try:
        supervisor.sendall(json.dumps(answer).encode() + b"\n")
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Alone from error

"""The template: a small process that has all of a worker's code in memory and forks the workers from it.

Workers forked straight from the supervisor would share its heap, but the supervisor goes on writing into it between
two forks, and what one side writes is no longer shared. Measured for 100 workers at 10 readings/s each, 2 cores,
proportional memory: forked from here 4.9 MB each, from a lean supervisor 5.6 MB, from one with the command line's
imports 6.4 MB.

The supervisor sends a request for each worker, with the worker's end of its lifeline; the template answers with the
process id, and later with the exit code. If the template dies, the workers live on and another template is started.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from worker.board import Board
from worker.child import LOST, Child, detach, guarded
from worker.process import main as work
from worker.spec import WorkerSpec
from worker.warmup import warm_up

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class TemplateDied(Exception):
    """The template is gone; start another."""


class Template:
    """The supervisor's handle. `board` and `log` are the paths that every worker opens."""

    def __init__(self, board: Path, log: Path | None) -> None:
        self.socket, theirs = socket.socketpair()
        root = Path(__file__).resolve().parent.parent
        arguments = [str(root), str(theirs.fileno()), str(board), str(log or "")]
        code = "import sys; sys.path.insert(0, sys.argv[1]); from worker.template import main; main(*sys.argv[2:])"
        # One thread of the linear algebra library, which nobody uses, would cost every worker its stack.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, *arguments]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        self._codes: dict[int, int] = {}
        self._buffer = b""
        self._alive = True

    @property
    def pid(self) -> int:
        return self._process.pid

    def spawn(self, spec: WorkerSpec, incarnation: int) -> Child:
        """A new worker process. Raises TemplateDied."""
        ours, theirs = socket.socketpair()
        request = pickle.dumps((spec, incarnation), protocol=pickle.HIGHEST_PROTOCOL)
        try:
            with theirs:
                socket.send_fds(self.socket, [len(request).to_bytes(8, "little")], [theirs.fileno()])
                self.socket.sendall(request)
            while True:
                answer = self._answer()
                if "started" in answer:
                    return Child(spec.name, answer["started"], ours, self._exit_code)
        except (BrokenPipeError, ConnectionResetError) as error:
            ours.close()
            raise TemplateDied from error

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
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    handlers = [logging.FileHandler(log)] if log else []
    logging.basicConfig(level=logging.INFO, handlers=handlers, format=LOG_FORMAT)
    supervisor = socket.socket(fileno=int(descriptor))
    serve(supervisor, woken, Board(Path(board), writable=True))


def serve(supervisor: socket.socket, woken: socket.socket, board: Board) -> NoReturn:
    warm = False
    while True:
        ready, _, _ = select.select([supervisor, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
            reap(supervisor)
        if supervisor in ready:
            request, lifeline = take(supervisor)
            if not warm:
                warm_up(pickle.loads(request)[0].sensors[0])
                gc.freeze()  # a collection in a worker would write into every object that it looks at
                warm = True
            pid = os.fork()
            if pid == 0:
                live(request, lifeline, board)
            os.close(lifeline)
            answer(supervisor, started=pid)


def take(supervisor: socket.socket) -> tuple[bytes, int]:
    """The next request and the lifeline that came with it. Ends the process when the supervisor is gone."""
    header, descriptors, _, _ = socket.recv_fds(supervisor, 8, 1)
    if not header:
        os._exit(0)
    size, request = int.from_bytes(header, "little"), bytearray()
    while len(request) < size:
        request += supervisor.recv(min(size - len(request), 1 << 20)) or os._exit(0)
    return bytes(request), descriptors[0]


def live(request: bytes, descriptor: int, board: Board) -> NoReturn:
    """The life of one worker, in the fork."""
    detach(descriptor)
    spec: WorkerSpec
    spec, incarnation = pickle.loads(request)
    os._exit(
        guarded(spec.name, lambda lifeline: work(spec, incarnation, board, lifeline), socket.socket(fileno=descriptor))
    )


def reap(supervisor: socket.socket) -> None:
    """Report the workers that have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            answer(supervisor, ended=pid, code=os.waitstatus_to_exitcode(status))


def answer(supervisor: socket.socket, **answer: int) -> None:
    try:
        supervisor.sendall(json.dumps(answer).encode() + b"\n")
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)

"""The template process: has all of a worker's code in memory, and forks the workers on request.

It knows their specs, for it is taught them, and answers what it is asked by line: `started`, the process id of a fork
(or the error number of a refusal, negative), `ended` with the exit `code`, or `here`.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import json
import logging
import os
import pickle
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from worker.board import Board
from worker.child import OUT_OF_MEMORY, close_all_but, live
from worker.log import LogSpec, install, streams
from worker.process import main as work
from worker.spec import WorkerSpec
from worker.template import IGNORED, PING, REQUEST, TEACH
from worker.wakeup import Wakeup
from worker.warmup import warm_up

PARTING = 2.0
"""Seconds that workers have to end after the supervisor did."""


def main(descriptor: str, board: str, log: str) -> NoReturn:
    """Fork workers on request until the supervisor is gone."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    living: set[int] = set()
    try:
        log_to(log)
        mapped = Board(Path(board), writable=True)
        supervisor = socket.socket(fileno=int(descriptor))
        with Wakeup(signal.SIGCHLD) as children:
            serve(supervisor, children, living, mapped)
    except (Alone, BrokenPipeError, ConnectionResetError):
        part(living)
    except MemoryError as error:  # another one may fare better; the workers go on
        logging.getLogger("template").error("out of memory: %s", error)
        os._exit(OUT_OF_MEMORY)
    except OSError as error:
        sys.exit(f"template: {error}")


def log_to(log: str) -> None:
    """Have everything that is logged written to the log that was dumped, nothing where that is empty."""
    logging.raiseExceptions = False  # a log that cannot be written (a full disk) is no reason to fill the terminal
    if log:
        install(LogSpec.loaded(log))
    for stream in streams():
        faulthandler.enable(stream)


class Alone(Exception):
    """The supervisor is gone."""


def part(living: set[int]) -> NoReturn:
    """Workers end by themselves when the supervisor is gone; not so one that hangs, and it may hold a lock. Those that
    an earlier template has left are in the group too, and nobody tells when they end."""
    heir = os.getpgrp() != os.getpid()
    end = time.monotonic() + PARTING
    while (living or heir) and time.monotonic() < end:
        living -= {pid for pid, _ in ended()}
        time.sleep(0.02)
    while True:
        os.killpg(0, signal.SIGKILL)


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
            request, number, descriptors = take(supervisor)
            if number == TEACH:
                learn(known, request)
            elif number == PING:
                answer(supervisor, here=os.getpid())
            else:
                spec = known[request.decode()]
                pid = fork() if descriptors else -errno.EMFILE
                if pid == 0:
                    begin(spec, number, descriptors[0], board)
                for descriptor in descriptors:
                    os.close(descriptor)
                if pid > 0:
                    living.add(pid)
                answer(supervisor, started=pid)


def learn(known: dict[str, WorkerSpec], lesson: bytes) -> None:
    specs: list[WorkerSpec] = pickle.loads(lesson)
    if not known:
        warm_up(specs[0].sensors[0])
    known |= {spec.name: spec for spec in specs}
    gc.freeze()  # a collection in a worker would write into every object that it looks at


def fork() -> int:
    """As os.fork, but minus the error number where the system has no room for another process."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)


def take(supervisor: socket.socket) -> tuple[bytes, int, list[int]]:
    """The next request, its number and what came with it. Raises Alone."""
    header, descriptors, _, _ = socket.recv_fds(supervisor, REQUEST.size, 1)
    if not header:
        raise Alone
    header += rest(supervisor, REQUEST.size - len(header))
    size, number = REQUEST.unpack(header)
    return rest(supervisor, size), number, descriptors


def rest(supervisor: socket.socket, size: int) -> bytes:
    """So many bytes. Raises Alone."""
    received = bytearray()
    while len(received) < size:
        some = supervisor.recv(min(size - len(received), 1 << 20))
        if not some:
            raise Alone
        received += some
    return bytes(received)


def begin(spec: WorkerSpec, incarnation: int, descriptor: int, board: Board) -> NoReturn:
    """The life of one worker, in the fork."""

    def body(lifeline: socket.socket) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_all_but(0, 1, 2, descriptor, *(stream.fileno() for stream in streams()))
        return work(spec, incarnation, board, lifeline)

    live(spec.name, body, socket.socket(fileno=descriptor))


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

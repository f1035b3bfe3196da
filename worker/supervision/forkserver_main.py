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

from worker.log import LogSpec, configure_logging, log_streams
from worker.process import main as work
from worker.scoreboard import Scoreboard
from worker.spec import WorkerSpec
from worker.supervision.child import EXIT_OUT_OF_MEMORY, close_fds_except, run_and_exit
from worker.supervision.forkserver import IGNORED_SIGNALS, PING_REQUEST, REGISTER_REQUEST, REQUEST_HEADER
from worker.supervision.signals import SignalSocket
from worker.supervision.warmup import warm_up

WORKER_EXIT_TIMEOUT_SECONDS = 2.0
"""Seconds that workers have to end after the supervisor did."""


def main(descriptor: str, scoreboard: str, log: str) -> NoReturn:
    """Fork workers on request until the supervisor is gone."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    living: set[int] = set()
    try:
        start_logging(log)
        mapped = Scoreboard(Path(scoreboard), writable=True)
        supervisor = socket.socket(fileno=int(descriptor))
        with SignalSocket(signal.SIGCHLD) as children:
            serve_requests(supervisor, children, living, mapped)
    except (SupervisorGone, BrokenPipeError, ConnectionResetError):
        end_workers(living)
    except MemoryError as error:  # another one may fare better; the workers go on
        logging.getLogger("template").error("out of memory: %s", error)
        os._exit(EXIT_OUT_OF_MEMORY)
    except OSError as error:
        sys.exit(f"template: {error}")


def start_logging(log: str) -> None:
    """Have everything that is logged written to the log that was dumped, nothing where that is empty."""
    logging.raiseExceptions = False  # a log that cannot be written (a full disk) is no reason to fill the terminal
    if log:
        configure_logging(LogSpec.from_json(log))
    for stream in log_streams():
        faulthandler.enable(stream)


class SupervisorGone(Exception):
    """The supervisor is gone."""


def end_workers(living: set[int]) -> NoReturn:
    """Workers end by themselves when the supervisor is gone; not so one that hangs, and it may hold a lock. Those that
    an earlier template has left are in the group too, and nobody tells when they end."""
    heir = os.getpgrp() != os.getpid()
    end = time.monotonic() + WORKER_EXIT_TIMEOUT_SECONDS
    while (living or heir) and time.monotonic() < end:
        living -= {pid for pid, _ in reap_workers()}
        time.sleep(0.02)
    while True:
        os.killpg(0, signal.SIGKILL)


def serve_requests(
    supervisor: socket.socket, children: SignalSocket, living: set[int], scoreboard: Scoreboard
) -> NoReturn:
    """Answer requests. Raises SupervisorGone; `living` are the workers then."""
    known: dict[str, WorkerSpec] = {}
    while True:
        ready, _, _ = select.select([supervisor, children.socket], [], [])
        if children.socket in ready:
            children.received()
            for pid, code in reap_workers():
                living.discard(pid)
                send_answer(supervisor, ended=pid, code=code)
        if supervisor in ready:
            request, number, descriptors = receive_request(supervisor)
            if number == REGISTER_REQUEST:
                register_specs(known, request)
            elif number == PING_REQUEST:
                send_answer(supervisor, here=os.getpid())
            else:
                spec = known[request.decode()]
                pid = fork_or_errno() if descriptors else -errno.EMFILE
                if pid == 0:
                    run_worker(spec, number, descriptors[0], scoreboard)
                for descriptor in descriptors:
                    os.close(descriptor)
                if pid > 0:
                    living.add(pid)
                send_answer(supervisor, started=pid)


def register_specs(known: dict[str, WorkerSpec], pickled_specs: bytes) -> None:
    specs: list[WorkerSpec] = pickle.loads(pickled_specs)
    if not known:
        warm_up(specs[0].sensors[0])
    known |= {spec.name: spec for spec in specs}
    gc.freeze()  # a collection in a worker would write into every object that it looks at


def fork_or_errno() -> int:
    """As os.fork, but minus the error number where the system has no room for another process."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)


def receive_request(supervisor: socket.socket) -> tuple[bytes, int, list[int]]:
    """The next request, its number and what came with it. Raises SupervisorGone."""
    header, descriptors, _, _ = socket.recv_fds(supervisor, REQUEST_HEADER.size, 1)
    if not header:
        raise SupervisorGone
    header += receive_exactly(supervisor, REQUEST_HEADER.size - len(header))
    size, number = REQUEST_HEADER.unpack(header)
    return receive_exactly(supervisor, size), number, descriptors


def receive_exactly(supervisor: socket.socket, size: int) -> bytes:
    """So many bytes. Raises SupervisorGone."""
    received = bytearray()
    while len(received) < size:
        some = supervisor.recv(min(size - len(received), 1 << 20))
        if not some:
            raise SupervisorGone
        received += some
    return bytes(received)


def run_worker(spec: WorkerSpec, incarnation: int, descriptor: int, scoreboard: Scoreboard) -> NoReturn:
    """The life of one worker, in the fork."""

    def body(lifeline: socket.socket) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_fds_except(0, 1, 2, descriptor, *(stream.fileno() for stream in log_streams()))
        return work(spec, incarnation, scoreboard, lifeline)

    run_and_exit(spec.name, body, socket.socket(fileno=descriptor))


def reap_workers() -> list[tuple[int, int]]:
    """The process ids and exit codes of workers that have ended since the last look."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def send_answer(supervisor: socket.socket, **answer: int) -> None:
    try:
        supervisor.sendall(json.dumps(answer).encode() + b"\n")
    except (BrokenPipeError, ConnectionResetError) as error:
        raise SupervisorGone from error

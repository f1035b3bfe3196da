"""The fork server process: has the code and the specs of all workers in memory, and forks workers on request.

Requests are those of `worker.supervision.forkserver.ForkServer`. Answers are lines of JSON: `started` with the process id
of a fork (or the negative error number of a refusal), `ended` with a process id and its exit `code`, or `here`.
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
from worker.readings.seasonality import load_timezone
from worker.scoreboard import Scoreboard
from worker.sensor import Sensor
from worker.spec import RunSpec, SensorSpec, StoreSpec, WorkerSpec
from worker.storage.database import IN_MEMORY_PATH, Database
from worker.supervision.child import EXIT_OUT_OF_MEMORY, close_fds_except, run_and_exit
from worker.supervision.forkserver import IGNORED_SIGNALS, PING_REQUEST, REGISTER_REQUEST, REQUEST_HEADER
from worker.supervision.signals import SignalSocket

WORKER_EXIT_TIMEOUT_SECONDS = 2.0
"""Seconds that workers have to exit after the supervisor died."""

WARMUP_ROUNDS = 40
"""Rounds after which the interpreter has specialised the code of the loop."""


def main(descriptor: str, scoreboard: str, log: str) -> NoReturn:
    """Fork workers on request until the supervisor is gone. The arguments are those of the command line."""
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
    except MemoryError as error:  # the next fork server may succeed; the workers keep running
        logging.getLogger("forkserver").error("out of memory: %s", error)
        os._exit(EXIT_OUT_OF_MEMORY)
    except OSError as error:
        sys.exit(f"forkserver: {error}")


def start_logging(log: str) -> None:
    """Log to the LogSpec that `log` has as JSON; an empty text means no log."""
    logging.raiseExceptions = False  # no tracebacks on the terminal if the log cannot be written (a full disk)
    if log:
        configure_logging(LogSpec.from_json(log))
    for stream in log_streams():
        faulthandler.enable(stream)


class SupervisorGone(Exception):
    """The supervisor has exited, or has closed the connection."""


def end_workers(living: set[int]) -> NoReturn:
    """Wait until the workers have exited, at most WORKER_EXIT_TIMEOUT_SECONDS, then kill the process group.

    Workers exit by themselves when the supervisor is gone, unless they hang; a hung one may hold a lock. In a group
    inherited from an earlier fork server there may be workers whose exit cannot be observed: then always wait.
    """
    inherited = os.getpgrp() != os.getpid()
    end = time.monotonic() + WORKER_EXIT_TIMEOUT_SECONDS
    while (living or inherited) and time.monotonic() < end:
        living -= {pid for pid, _ in reap_workers()}
        time.sleep(0.02)
    while True:
        os.killpg(0, signal.SIGKILL)


def serve_requests(
    supervisor: socket.socket, children: SignalSocket, living: set[int], scoreboard: Scoreboard
) -> NoReturn:
    """Answer requests until SupervisorGone is raised. `living` is kept up to date with the workers that run."""
    specs: dict[str, WorkerSpec] = {}
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
                register_specs(specs, request)
            elif number == PING_REQUEST:
                send_answer(supervisor, here=os.getpid())
            else:
                spec = specs[request.decode()]
                pid = fork_or_errno() if descriptors else -errno.EMFILE
                if pid == 0:
                    run_worker(spec, number, descriptors[0], scoreboard)
                for descriptor in descriptors:
                    os.close(descriptor)
                if pid > 0:
                    living.add(pid)
                send_answer(supervisor, started=pid)


def register_specs(specs: dict[str, WorkerSpec], request: bytes) -> None:
    """Add the pickled specs of a request to `specs`, by name."""
    received: list[WorkerSpec] = pickle.loads(request)
    if not specs:
        warm_up(received[0].sensors[0])
    for timezone in {sensor.identity.timezone for spec in received for sensor in spec.sensors}:
        with contextlib.suppress(OSError, ValueError):  # the worker will report it
            load_timezone(timezone)  # loaded in each worker, it would take 0.3 MB of it
    specs |= {spec.name: spec for spec in received}
    gc.freeze()  # a collection in a worker would write into every object that it visits


def warm_up(spec: SensorSpec) -> None:
    """Do the work of a worker once, in a database in memory.

    The memory that this allocates, and the code that the interpreter specialises, is then shared by all workers.
    """
    sink = Database(StoreSpec(Path(IN_MEMORY_PATH)))
    (position,) = sink.claim([spec.identity], 1)
    sensor = Sensor(spec, RunSpec(seed=0, number=1, start_us=0, origin_ns=0), position)
    step = int(10_000_000 / float(spec.settings.exact_rate))
    for number in range(1, WARMUP_ROUNDS + 1):
        portions = sensor.portions(number * step, 100)
        sink.deliver(portions)
        for portion in portions:
            sensor.commit(portion)
    sink.close()


def fork_or_errno() -> int:
    """Fork like os.fork, but return the negative error number if the system has no room for another process."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)


def receive_request(supervisor: socket.socket) -> tuple[bytes, int, list[int]]:
    """Receive the next request: its content, its number, its descriptors. Raises SupervisorGone."""
    header, descriptors, _, _ = socket.recv_fds(supervisor, REQUEST_HEADER.size, 1)
    if not header:
        raise SupervisorGone
    header += receive_exactly(supervisor, REQUEST_HEADER.size - len(header))
    size, number = REQUEST_HEADER.unpack(header)
    return receive_exactly(supervisor, size), number, descriptors


def receive_exactly(supervisor: socket.socket, size: int) -> bytes:
    """Receive `size` bytes. Raises SupervisorGone."""
    received = bytearray()
    while len(received) < size:
        chunk = supervisor.recv(min(size - len(received), 1 << 20))
        if not chunk:
            raise SupervisorGone
        received += chunk
    return bytes(received)


def run_worker(spec: WorkerSpec, incarnation: int, descriptor: int, scoreboard: Scoreboard) -> NoReturn:
    """Run one worker in the fork, then exit."""

    def body(lifeline: socket.socket) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_fds_except(0, 1, 2, descriptor, *(stream.fileno() for stream in log_streams()))
        return work(spec, incarnation, scoreboard, lifeline)

    run_and_exit(spec.name, body, socket.socket(fileno=descriptor))


def reap_workers() -> list[tuple[int, int]]:
    """Return the process ids and exit codes of the workers that have exited since the last call."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append((pid, os.waitstatus_to_exitcode(status)))
    return ended


def send_answer(supervisor: socket.socket, **answer: int) -> None:
    """Send one line of JSON. Raises SupervisorGone."""
    try:
        supervisor.sendall(json.dumps(answer).encode() + b"\n")
    except (BrokenPipeError, ConnectionResetError) as error:
        raise SupervisorGone from error

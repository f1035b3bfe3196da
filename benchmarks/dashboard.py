"""What the dashboard costs for 1000 sensors: the snapshot's size, requests a second, and, with one open page, the server's
share of a processor and its memory. The server has one processor, the clients another where there is one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fleet.staged import StagedFleet  # noqa: E402

SENSORS = 1000
SERVE = """
import socket, sys
from pathlib import Path
from fleet.web.server import serve
serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]))
"""
CONNECTIONS = 4
SECONDS = 4.0
OPEN = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        staged = StagedFleet(Path(folder, "data"), SENSORS)
        chance = np.random.default_rng(1)
        advance(staged, chance)
        with server(staged) as (address, process):
            with socket.create_connection(address) as first:
                ask(first, "/livez")  # it is up
            clients = [socket.create_connection(address) for _ in range(CONNECTIONS)]
            print(f"snapshot of {SENSORS} sensors, gzipped   {len(ask(clients[0], '/api/snapshot')):9,} bytes")
            print(f"who they are, gzipped               {len(ask(clients[0], '/api/sensors')):9,} bytes")
            rate, busy = per_second(clients, process)
            print(
                f"snapshots, {CONNECTIONS} connections            {rate:9,.0f} requests/s, {busy:,.0f} a second of processor"
            )
            share = open_page(staged, chance, clients[0], process)
            print(f"one open page                       {share:9.2%} of a processor")
            print(f"memory (proportional)               {process.memory_full_info().pss / 1e6:9.1f} MB")
            for client in clients:
                client.close()


@contextmanager
def server(staged: StagedFleet) -> Iterator[tuple[tuple[str, int], psutil.Process]]:
    lifeline, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener, lifeline, theirs:
        numbers = listener.fileno(), theirs.fileno()
        command = [sys.executable, "-c", SERVE, str(numbers[0]), str(staged.run), str(numbers[1])]
        child = subprocess.Popen(command, cwd=ROOT, pass_fds=numbers)
        process = psutil.Process(child.pid)
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(child.pid, cores[:1])
            os.sched_setaffinity(0, cores[1:] or cores)
        try:
            yield listener.getsockname()[:2], process
        finally:
            child.terminate()
            child.wait(10)


def advance(staged: StagedFleet, chance: np.random.Generator) -> None:
    """A second later: other values, more readings."""
    rows = staged.scoreboard.rows
    rows["heartbeat_ns"] = time.monotonic_ns()
    rows["readings"] += 1 if rows["readings"].any() else 5000 + chance.integers(0, 300, SENSORS)
    rows["anomalies"] += chance.integers(0, 100, (SENSORS, 5)) == 0
    rows["anomaly"] = np.where(chance.random(SENSORS) < 0.05, chance.integers(0, 5, SENSORS), -1)
    rows["lag_us"] = chance.integers(0, 1_000_000, SENSORS)
    rows["values"][:, :5] = chance.normal((22, 60, 101325, 0.5, 24), (2, 10, 400, 0.1, 0.5), (SENSORS, 5))


def ask(client: socket.socket, path: str) -> bytes:
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    return body(client)


def body(client: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(65536)
    head, _, rest = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(rest) < length:
        rest += client.recv(65536)
    return rest


def per_second(clients: list[socket.socket], process: psutil.Process) -> tuple[float, float]:
    """Requests a second as the clock has it, and as the server's processor time has it: on a machine that others use,
    the second says more."""
    request = b"GET /api/snapshot HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n"
    count, before, begun = 0, used(process), time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        for client in clients:
            client.sendall(request)
        for client in clients:
            body(client)
        count += len(clients)
    return count / (time.perf_counter() - begun), count / (used(process) - before)


def used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def open_page(
    staged: StagedFleet, chance: np.random.Generator, client: socket.socket, process: psutil.Process
) -> float:
    """As a browser does it: snapshot and events every second."""
    before, begun = used(process), time.perf_counter()
    for _ in range(OPEN):
        advance(staged, chance)
        ask(client, "/api/snapshot")
        ask(client, "/api/events?after=0")
        time.sleep(1.0)
    return (used(process) - before) / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()

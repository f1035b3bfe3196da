"""`fleet receive`: the receiver as a process, from the port to the last line."""

from __future__ import annotations

import ipaddress
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fleet.delivery.receiver.app import ReceiverConfig, create_app
from fleet.delivery.receiver.metrics import ReceiverMetrics
from fleet.delivery.receiver.upload_server import UPLOAD_DRAIN_SECONDS, UploadServer
from fleet.delivery.targets.central_database import CentralDatabase
from fleet.errors import UserError
from fleet.runtime.http_port import BindError, bind_http
from fleet.web.server import run_server
from worker.supervision.signals import SignalSocket

PORT_ADVICE = "take another with --port, or 0 for any free one"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReceiverAddress:
    """Where a receiver listens, and the file that it writes to. Port 0 takes any free one."""

    central: Path
    host: str
    port: int


def receive(address: ReceiverAddress, config: ReceiverConfig, say: Say, warn: Say) -> int:
    """Take deliveries until SIGTERM or Ctrl-C; requests that have begun are ended first. A second signal ends it at once.
    For the main thread. UserError if the port or the file cannot be had."""
    try:
        listener, url = bind_http(address.host, address.port, PORT_ADVICE)
    except BindError as error:
        raise UserError(f"--{error.key}: {error}") from error
    with listener, closing(CentralDatabase(address.central)) as central:
        if config.token is None and not is_loopback(listener):
            warn(f"anybody who can reach {url} may send readings: set RECEIVE_TOKEN to ask for a token")
        metrics, begun = ReceiverMetrics(), time.monotonic()
        server = UploadServer(listener, create_app(central, config, metrics), 2 * config.max_body_bytes)
        with SignalSocket(signal.SIGTERM, signal.SIGINT) as wakeup:
            say(
                f"receiving on {url} into {address.central}"
                + (", misbehaving on purpose" if config.faults.enabled else "")
            )
            serve_until_signal(wakeup, server)
        stop_server(server)
        say(summary(metrics, time.monotonic() - begun))
    return 0


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def serve_until_signal(wakeup: SignalSocket, server: UploadServer) -> None:
    """Serve until a signal comes."""
    over, alarm = socket.socketpair()
    ended = threading.Event()
    # Threads inherit being daemons, so a client that does not read its answer cannot keep the process.
    threading.Thread(target=run_server, args=(server, alarm, ended), name="http", daemon=True).start()
    with over, alarm, selectors.DefaultSelector() as selector:
        selector.register(wakeup.socket, selectors.EVENT_READ)
        selector.register(over, selectors.EVENT_READ)
        selector.select()
        if ended.is_set():
            raise RuntimeError("the HTTP server ended by itself")  # its own traceback is in the log above


def stop_server(server: UploadServer) -> None:
    ending = threading.Thread(target=server.stop, name="http-stop", daemon=True)
    ending.start()
    ending.join(2 * UPLOAD_DRAIN_SECONDS)


def summary(metrics: ReceiverMetrics, seconds: float) -> str:
    readings, faults = metrics.readings(), metrics.faults()
    spoilt = (
        f"; on purpose {faults['failed']} failed and {faults['unanswered']} left unanswered"
        if any(faults.values())
        else ""
    )
    return (
        f"received {readings['accepted']} readings in {metrics.deliveries()} deliveries and {seconds:.1f} s:"
        f" {readings['accepted'] - readings['duplicate']} new, {readings['duplicate']} there already,"
        f" {readings['rejected']} rejected ({readings['conflict']} with other content){spoilt}"
    )

"""The HTTP server and the delivery as services of a fleet, for the commands that start one."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from fleet.config.delivery import Delivery
from fleet.runtime.fleet import FleetServices


def fleet_services() -> FleetServices:
    return FleetServices(serve_http, check_targets, deliver)


def serve_http(
    listener: socket.socket,
    run_directory: Path,
    lifeline: socket.socket,
    path_aliases: Mapping[str, str],
    allowed_hosts: Collection[str],
) -> None:
    """Serve the fleet in `run_directory` until `lifeline` closes. Runs in a child process of the supervisor, and imports
    the server there: Flask is 15 MB that the supervisor can do without."""
    from fleet.web.server import serve

    serve(listener, run_directory, lifeline, path_aliases, allowed_hosts)


def deliver(delivery: Delivery, databases: Path, status_file: Path, seed: int, lifeline: socket.socket) -> int:
    """Deliver the readings below `databases` until `lifeline` closes, and then what is left. Runs in a child process of the
    supervisor, and imports the targets there."""
    from fleet.delivery.live import LiveDelivery

    return LiveDelivery(delivery, databases, status_file, seed).run(lifeline)


def check_targets(delivery: Delivery) -> None:
    """UserError if a target cannot work, or is named twice."""
    if delivery.to:
        from fleet.delivery.live import check_targets

        check_targets(delivery)

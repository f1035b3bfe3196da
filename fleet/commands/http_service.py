"""The HTTP server as a service of a fleet, for the commands that start one."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from pathlib import Path


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

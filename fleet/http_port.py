"""The port of the aggregator, bound before anything else starts."""

from __future__ import annotations

import socket

from fleet.errors import UserError


def bind(host: str, port: int) -> tuple[socket.socket, str]:
    """A listening socket and its URL. UserError if the address cannot be had. Port 0 takes any free one."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except socket.gaierror as error:
        raise UserError(f"--host: {host} is not an address of this machine: {error.strerror}") from error
    except OSError as error:
        raise UserError(
            f"--port: {port} on {host} cannot be had: {error.strerror}; `--port 0` takes any free one, --no-http none"
        ) from error
    shown = f"[{host}]" if ":" in host else {"0.0.0.0": "127.0.0.1"}.get(host, host)
    return listener, f"http://{shown}:{listener.getsockname()[1]}/"

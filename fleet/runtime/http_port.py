"""The port of an HTTP server, bound before any other process starts."""

from __future__ import annotations

import errno
import os
import socket

from fleet.errors import UserError

OTHER_PORT_ADVICE = "take another with --port, 0 for any free one, or --no-http"
BIND_ERRORS = {
    errno.EADDRINUSE: "is in use by another program; {advice}",
    errno.EACCES: "is not for this user (ports below 1024 are the system's); {advice}",
    errno.EADDRNOTAVAIL: "is not an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
}


class BindError(UserError):
    """An address that cannot be bound. `key` is the part of it at fault, host or port."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def bind_http(host: str, port: int, advice: str = OTHER_PORT_ADVICE) -> tuple[socket.socket, str]:
    """Bind an address and return a listening socket and its URL. Port 0 takes any free one. Raises BindError, with
    `advice` on other ports."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: not a possible name in DNS
        raise BindError("host", f"{host} {BIND_ERRORS[errno.EADDRNOTAVAIL]}") from error
    except OSError as error:
        number = error.errno or errno.EIO
        reason = BIND_ERRORS.get(number, f"cannot be had: {os.strerror(number)}").format(advice=advice)
        if number == errno.EADDRNOTAVAIL:
            raise BindError("host", f"{host} {reason}") from error
        raise BindError("port", f"{port} on {host} {reason}") from error
    shown = f"[{host}]" if ":" in host else {"0.0.0.0": "127.0.0.1"}.get(host, host)
    return listener, f"http://{shown}:{listener.getsockname()[1]}/"

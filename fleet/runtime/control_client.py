"""The client of the control socket: send a command to the fleet of a data directory and receive its answer.

The fleet alone validates commands, so that a process that uses this stays small.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet.datadir.ownership import check_trusted
from fleet.errors import UserError
from fleet.escaping import escape

ANSWER_TIMEOUT_SECONDS = 30.0
"""Generating a thousand identities takes a second or two."""

MAX_SOCKET_PATH_BYTES = 100
"""The longest address of a Unix socket that is allowed everywhere (104 on macOS)."""


class CommandRefused(UserError):
    """The fleet refuses a command for a `reason`. `invalid` means that it is not a well-formed command."""

    def __init__(self, directory: Path, reason: str, *, invalid: bool) -> None:
        super().__init__(f"{directory}: {reason}")
        self.reason, self.invalid = reason, invalid


class NotListening(UserError):
    """No fleet listens on the socket: none runs, or it starts or ends at this moment."""


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Give an address for a Unix socket at `path`, through a symbolic link if the path is too long for one."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
        link = Path(directory, "run")
        link.symlink_to(path.parent.resolve())
        yield str(link / path.name)


def send_command(path: Path, timeout: float, /, **command: Any) -> dict[str, Any]:
    """Send a command to the fleet behind the socket at `path` and return its answer.

    Raises UserError if no fleet answers within `timeout` seconds, or if the socket or its folder belongs to another user,
    NotListening if none listens there, CommandRefused if it refuses.
    """
    directory = path.parent.parent
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            for owned in (path.parent, path):
                check_trusted(owned)
            with socket_address(path) as address:
                connection.connect(address)
            connection.sendall(json.dumps(command).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NotListening(f"{directory}: no fleet is running here") from error
        except PermissionError as error:
            raise UserError(f"{path}: belongs to another user") from error
        except TimeoutError as error:
            raise UserError(f"{directory}: the fleet did not answer within {timeout:g} s") from error
        except (ConnectionResetError, BrokenPipeError) as error:
            raise UserError(f"{directory}: the fleet ended before it answered") from error
    if not line.endswith(b"\n"):
        raise UserError(f"{directory}: the fleet ended before it answered")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    answer: dict[str, Any] = document if isinstance(document, dict) else {}
    if answer.get("ok") is True:
        return answer
    reason = escape(str(answer.get("error", "the answer is not that of a fleet")))
    raise CommandRefused(directory, reason, invalid=answer.get("invalid") is True)

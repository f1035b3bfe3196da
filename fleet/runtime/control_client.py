"""The other end of the control socket: a command to the fleet of a data directory, and its answer.

Also for a process that is to stay small: what a command may say is looked at by the fleet alone.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from fleet.errors import UserError
from fleet.escaping import escape
from fleet.runtime.control_address import socket_address

ANSWER_TIMEOUT_SECONDS = 30.0
"""Seconds to wait for the fleet's answer: minting a thousand identities takes one or two."""


class CommandRefused(UserError):
    """The fleet is there and does not do it, for a `reason`; `invalid` says that it is no command at all."""

    def __init__(self, directory: Path, reason: str, *, invalid: bool) -> None:
        super().__init__(f"{directory}: {reason}")
        self.reason, self.invalid = reason, invalid


def send_command(path: Path, timeout: float, /, **command: Any) -> dict[str, Any]:
    """Send a command to the fleet behind the socket at `path` and return its answer.

    UserError if no fleet listens there, or if it does not answer within `timeout` seconds; CommandRefused if it refuses.
    """
    directory = path.parent.parent
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            with socket_address(path) as address:
                connection.connect(address)
            connection.sendall(json.dumps(command).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise UserError(f"{directory}: no fleet is running here") from error
        except PermissionError as error:
            raise UserError(f"{path}: belongs to another user") from error
        except TimeoutError as error:
            raise UserError(f"{directory}: the fleet did not answer within {timeout:g} s") from error
        except (ConnectionResetError, BrokenPipeError) as error:
            raise UserError(f"{directory}: the fleet ended before it answered") from error
    if not line.endswith(b"\n"):
        raise UserError(f"{directory}: the fleet ended before it answered")
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    answer: dict[str, Any] = told if isinstance(told, dict) else {}
    if answer.get("ok") is True:
        return answer
    reason = escape(str(answer.get("error", "what answers there is no fleet")))
    raise CommandRefused(directory, reason, invalid=answer.get("invalid") is True)

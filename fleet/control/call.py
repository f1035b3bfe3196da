"""The other end of the control socket: a command to the fleet of a data directory, and its answer."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fleet.control.address import short
from fleet.control.commands import ANSWERS, Answer
from fleet.errors import UserError
from fleet.quotes import escaped


def call(path: Path, timeout: float, **command: Any) -> Answer:
    """Send a command to the fleet behind the socket at `path` and return its answer.

    UserError if no fleet listens there, if it does not answer within `timeout` seconds, or if it refuses.
    """
    directory = path.parent.parent
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            with short(path) as address:
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
        answer: Answer = ANSWERS.validate_json(line)
    except ValidationError:
        answer = {}
    if answer.get("ok") is True:
        return answer
    raise UserError(f"{directory}: {escaped(str(answer.get('error', 'what answers there is no fleet')))}")

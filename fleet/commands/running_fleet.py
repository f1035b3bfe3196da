"""The running fleet of a data directory, as commands in another terminal reach it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.datadir.directory import DataDirectory
    from fleet.runtime.commands import Answer

POLL_INTERVAL_SECONDS = 0.05


def ask_fleet(data: Path, **command: Any) -> Answer:
    """Send a command to the fleet that runs on `data` and return its answer. A fleet that starts is waited for.

    UserError if no fleet runs there, if it refuses the command, or if it does not answer in time.
    """
    from fleet.runtime.control_client import ANSWER_TIMEOUT_SECONDS, NotListening, send_command

    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    while True:
        directory = running_directory(data)
        try:
            return send_command(directory.control, ANSWER_TIMEOUT_SECONDS, **command)
        except NotListening:
            if time.monotonic() > deadline:
                raise UserError(f"{data}: the fleet here has not started yet; try again") from None
        time.sleep(POLL_INTERVAL_SECONDS)


def running_directory(data: Path) -> DataDirectory:
    """Return the data directory at `data`. UserError if no fleet runs on it."""
    from fleet.datadir.directory import DataDirectory

    directory = DataDirectory(data)
    if directory.holder() is None:
        raise UserError(
            f"{data}: no fleet is running here; `fleet ps` lists those that run, `fleet up --data {data}` starts one"
        )
    return directory

"""The running fleet of a data directory, as commands in another terminal reach it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.datadir.directory import DataDirectory
    from fleet.runtime.commands import Answer


def ask_fleet(data: Path, **command: Any) -> Answer:
    """Send a command to the fleet that runs on `data` and return its answer.

    UserError if no fleet runs there, if it refuses the command, or if it does not answer in time.
    """
    from fleet.datadir.directory import DataDirectory
    from fleet.runtime.control_client import ANSWER_TIMEOUT_SECONDS, send_command

    return send_command(DataDirectory(data).control, ANSWER_TIMEOUT_SECONDS, **command)


def running_directory(data: Path) -> DataDirectory:
    """Return the data directory at `data`. UserError if no fleet runs on it."""
    from fleet.datadir.directory import DataDirectory

    directory = DataDirectory(data)
    if directory.holder() is None:
        raise UserError(f"{data}: no fleet is running here")
    return directory

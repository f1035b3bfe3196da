"""What an operator asks of a running fleet from another terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from fleet.control import Answer, call
from fleet.data_directory import DataDirectory
from fleet.errors import UserError

PATIENCE = 30.0
"""Seconds to wait for an answer: minting a thousand identities takes one or two."""


def ask(data: Path, **command: Any) -> Answer:
    return call(DataDirectory(data).control, PATIENCE, **command)


def stop(data: Path, timeout: float) -> int:
    """Have the fleet drain, and wait until it has ended."""
    directory = DataDirectory(data)
    pid = ask(data, command="down")["pid"]
    end = time.monotonic() + timeout
    while directory.holder() is not None:
        if time.monotonic() > end:
            raise UserError(f"{data}: the fleet (pid {pid}) has not ended within {timeout:g} s")
        time.sleep(0.05)
    click.echo(f"{data}: the fleet has ended")
    return 0

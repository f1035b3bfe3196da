"""`fleet logs`: the one log of a fleet, or what it says of one sensor."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import click

from fleet.data_directory import DataDirectory
from fleet.errors import UserError
from fleet.roster import Roster

# "2026-01-01 00:00:00,000 INFO supervisor: NAME: text" or "... ERROR NAME: text"; a traceback follows its line.
HEAD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \w+ (?:supervisor: )?([^:\s]+):")


def show(data: Path, sensor: str | None, lines: int, *, follow: bool) -> int:
    """Print the last `lines` lines, and with `follow` those that are added until Ctrl-C."""
    directory = DataDirectory(data)
    wanted = of_worker(directory, sensor) if sensor else lambda _: True
    try:
        with directory.log.open(errors="replace") as log:
            for line in deque((line for line in log if wanted(line)), maxlen=lines):
                click.echo(line, nl=False)
            while follow:
                line = log.readline()
                if not line:
                    time.sleep(0.2)
                elif wanted(line):
                    click.echo(line, nl=False)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{data}: no fleet has run here") from None
    except OSError as error:
        raise UserError(f"{directory.log}: cannot be read: {error.strerror}") from None
    except KeyboardInterrupt:
        return 0
    return 0


def of_worker(directory: DataDirectory, sensor: str) -> Callable[[str], bool]:
    """Says of each line in turn whether it belongs to the sensor's worker. UserError if there is no such sensor."""
    try:
        members = Roster.read(directory.roster).members
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{directory.path}: no fleet has run here") from None
    workers = [member.worker for member in members if member.sensor_id == sensor]
    if not workers:
        raise UserError(f"{directory.path}: there is no sensor {sensor!r} in this fleet")
    current = ""

    def belongs(line: str) -> bool:
        nonlocal current
        head = HEAD.match(line)
        current = head[1] if head else current
        return current == workers[0]

    return belongs

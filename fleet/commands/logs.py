"""`fleet logs`: the one log of a fleet, or what it says of one sensor."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

import click

from fleet.datadir.directory import DataDirectory
from fleet.datadir.logs import lines_of_worker, read_log_spec, rotated_files
from fleet.datadir.roster import Roster
from fleet.errors import UserError


def show(data: Path, sensor: str | None, lines: int, *, follow: bool) -> int:
    """Print the last `lines` lines, and with `follow` those that are added until Ctrl-C."""
    directory = DataDirectory(data)
    spec = read_log_spec(directory)
    wanted = worker_line_filter(directory, sensor, spec.format) if sensor else lambda _: True
    try:
        log: TextIO = spec.path.open(encoding="utf-8", errors="replace")
        earlier = (line for path in rotated_files(spec.path) for line in read_lines(path))
        for line in deque((line for line in chain(earlier, log) if wanted(line)), maxlen=lines):
            click.echo(line, nl=False)
        while follow:
            line = log.readline()
            if line and wanted(line):
                click.echo(line, nl=False)
            elif not line:
                time.sleep(0.2)
                log = reopen_if_rotated(log, spec.path)
        log.close()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{data}: no fleet has run here") from None
    except OSError as error:
        raise UserError(f"{spec.path}: cannot be read: {error.strerror}") from None
    except KeyboardInterrupt:
        return 0
    return 0


def read_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as log:
        yield from log


def reopen_if_rotated(log: TextIO, path: Path) -> TextIO:
    """The open log, or the one that has its place since it was rotated. What was read so far was its end."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino != os.fstat(log.fileno()).st_ino:
            log.close()
            return path.open(encoding="utf-8", errors="replace")
    return log


def worker_line_filter(directory: DataDirectory, sensor: str, form: str) -> Callable[[str], bool]:
    """Says of each line in turn whether it belongs to the sensor's worker. UserError if there is no such sensor."""
    try:
        members = Roster.read(directory.roster).members
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{directory.path}: no fleet has run here") from None
    workers = [member.worker for member in members if member.sensor_id == sensor]
    if not workers:
        raise UserError(f"{directory.path}: there is no sensor {sensor!r} in this fleet")
    return lines_of_worker(workers[0], form)

"""`fleet logs`: the log of a fleet, or its lines about one sensor."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from fleet.commands.options import DATA_OPTION, Completion, IntegerParam
from fleet.errors import UserError

if TYPE_CHECKING:
    from fleet.datadir.directory import DataDirectory

POLL_INTERVAL_SECONDS = 0.2


@click.command()
@click.argument("sensor", required=False, shell_complete=Completion("sensor_id"))
@click.option("-f", "--follow", is_flag=True, help="Continue with lines as they are written.")
@click.option("-n", "--lines", type=IntegerParam(0, 10**9), default=100, show_default=True, help="How many last lines.")
@DATA_OPTION
def logs(sensor: str | None, follow: bool, lines: int, data: Path) -> int:
    """Show the log of the fleet or of one sensor."""
    return print_log(data, sensor, lines, follow=follow)


def print_log(data: Path, sensor: str | None, lines: int, *, follow: bool) -> int:
    """Print the last `lines` lines, and with `follow` new lines until Ctrl-C. UserError if no fleet has run on `data`."""
    from fleet.datadir.directory import DataDirectory
    from fleet.datadir.logs import read_log_spec, rotated_files

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
                time.sleep(POLL_INTERVAL_SECONDS)
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
    """Yield the lines of a log file."""
    with path.open(encoding="utf-8", errors="replace") as log:
        yield from log


def reopen_if_rotated(log: TextIO, path: Path) -> TextIO:
    """Return the log to read on in: the open one, read to its end, or its successor if it was rotated."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino != os.fstat(log.fileno()).st_ino:
            log.close()
            return path.open(encoding="utf-8", errors="replace")
    return log


def worker_line_filter(directory: DataDirectory, sensor: str, form: str) -> Callable[[str], bool]:
    """Return a filter that accepts the lines about a sensor's worker, given each line in turn.

    UserError if the fleet has no such sensor, or if none has run.
    """
    from fleet.datadir.logs import lines_of_worker
    from fleet.datadir.roster import Roster

    try:
        members = Roster.read(directory.roster).members
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{directory.path}: no fleet has run here") from None
    workers = [member.worker for member in members if member.sensor_id == sensor]
    if not workers:
        raise UserError(f"{directory.path}: there is no sensor {sensor!r} in this fleet")
    return lines_of_worker(workers[0], form)

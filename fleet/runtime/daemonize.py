"""Detaching for `fleet up --detach`: the fleet continues in a background process once it is certain that it runs."""

from __future__ import annotations

import os
import sys
import time

import click

from fleet.datadir.directory import DataDirectory
from fleet.datadir.roster import Roster
from fleet.datadir.token import dashboard_link
from fleet.errors import UserError
from fleet.monitoring.health import count_by_state
from worker.scoreboard import Scoreboard

START_TIMEOUT_SECONDS = 120.0


def detach(directory: DataDirectory) -> None:
    """Fork. The call returns in the child, which has no terminal; the parent waits until every sensor has committed, and
    exits.

    The child inherits the lock and the bound port. Raises UserError in the parent if the child ends before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        directory.write_pid()
        nowhere = os.open(os.devnull, os.O_RDONLY)
        output = os.open(directory.run / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for source, target in ((nowhere, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        return
    wait_for_start(directory, pid)
    roster = Roster.read(directory.roster)
    link = dashboard_link(roster.url, directory.token) if roster.url and sys.stdout.isatty() else roster.url
    where = f", dashboard: {link}" if link else ""
    click.echo(f"{len(roster.members)} sensors run in the background (pid {pid}){where}")
    click.echo(f"`fleet status --data {directory.path}` and `fleet down --data {directory.path}` say more and stop it")
    sys.stdout.flush()
    os._exit(0)


def wait_for_start(directory: DataDirectory, pid: int) -> None:
    rows = [member.row for member in Roster.read(directory.roster).members]
    scoreboard = Scoreboard(directory.scoreboard, writable=False)
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        seen = scoreboard.rows[rows]
        if (seen["first_commit_ns"] > 0).all():
            return
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            output = (directory.run / "output").read_text().strip().splitlines()
            code = os.waitstatus_to_exitcode(status)
            raise UserError(f"the fleet ended with exit code {code}: {output[-1] if output else 'it printed nothing'}")
        if time.monotonic() > end:
            states = count_by_state(seen["state"])
            raise UserError(
                f"not all workers have committed after {START_TIMEOUT_SECONDS:g} s ({states}); the fleet goes on, pid {pid}"
            )
        time.sleep(0.05)

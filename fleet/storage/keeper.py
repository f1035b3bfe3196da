"""The process beside the workers that keeps files around their databases: backups, and the checkpoint file.

It commits nothing and nobody waits for it. What it does is due at intervals; what fails is told in the log and in
`run/backups.json`, and is tried again at the next turn.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import UserError
from fleet.storage.backup_account import FILE, Account
from fleet.storage.backups import UNFINISHED, Failed, Stopped, back_up, discard, of
from fleet.storage.checkpoint_export import databases, export
from fleet.storage.roster import Roster
from supervisor import Supervisor

log = logging.getLogger("keeper")

SOON = 60.0
"""Seconds after the start within which a database that has no backup yet gets one."""

MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Backups:
    """Where to, how often (seconds), and how many of each database to keep."""

    folder: Path
    interval: float
    keep: int


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    path: Path
    interval: float


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is to be kept; None is not."""

    backups: Backups | None
    checkpoint: CheckpointFile | None

    def __bool__(self) -> bool:
        return bool(self.backups or self.checkpoint)


def keep(supervisor: Supervisor, keeping: Keeping, roster: Path) -> None:
    """Have a process beside the workers keep what there is to keep, if there is any."""
    account = roster.with_name(FILE)
    if not keeping.backups:
        account.unlink(missing_ok=True)  # of an earlier run
    if keeping:
        supervisor.serve("keeper", lambda lifeline: Keeper(keeping, roster, account, lifeline).run())


class Keeper:
    """One of them. `roster` says which databases there are, `account` is the path of what it tells."""

    def __init__(self, keeping: Keeping, roster: Path, account: Path, lifeline: socket.socket) -> None:
        self._keeping, self._roster, self._path = keeping, roster, account
        self._poll = select.poll()  # not select(): a fleet has more than 1024 descriptors
        self._poll.register(lifeline, select.POLLIN)
        self._begun = time.time()
        backups = keeping.backups
        self._account = Account(str(backups.folder), backups.interval, backups.keep) if backups else None

    def run(self) -> int:
        """Keep until the lifeline closes, which it does when all workers have ended."""
        jobs: list[Callable[[], float]] = []
        if self._keeping.backups:
            self._tidy(self._keeping.backups.folder)
            jobs.append(self._back_up_due)
        if self._keeping.checkpoint:
            jobs.append(self._export)
        due = [0.0 for _ in jobs]
        try:
            while True:
                for number, job in enumerate(jobs):
                    if time.monotonic() >= due[number]:
                        due[number] = time.monotonic() + job()
                self._sleep(min(due) - time.monotonic())
        except Stopped:
            if self._keeping.checkpoint:
                self._export()
            return 0

    def _sleep(self, seconds: float) -> None:
        """Raises Stopped when the lifeline closes. Nothing is ever sent over it."""
        if self._poll.poll(min(max(0.0, seconds), 3600.0) * 1000):
            raise Stopped

    def _export(self) -> float:
        checkpoint = self._keeping.checkpoint
        assert checkpoint
        try:
            export(Roster.read(self._roster), checkpoint.path)
        except (OSError, UserError) as error:
            log.error("the checkpoint file %s is not written: %s", checkpoint.path, error)
        return checkpoint.interval

    def _back_up_due(self) -> float:
        """Back up what is due. Returns the seconds until something is again."""
        backups = self._keeping.backups
        assert backups
        try:
            sources = databases(Roster.read(self._roster))
        except (OSError, UserError) as error:
            log.error("no backups: %s", error)
            return min(SOON, backups.interval)
        failures = []
        waits = [backups.interval]
        for source in sources:
            left = self._due(source, backups) - time.time()
            if left > 0:
                waits.append(left)
            elif reason := self._back_up(source, backups):
                failures.append((source.name, reason))
                waits.append(SOON)
        self._tell(failures)
        return min(waits)

    def _due(self, source: Path, backups: Backups) -> float:
        """Wall clock. The backups of earlier runs count, so that a fleet that is restarted often has some, too."""
        made = of(source, backups.folder)
        return made[-1].stat().st_mtime + backups.interval if made else self._begun + min(SOON, backups.interval)

    def _back_up(self, source: Path, backups: Backups) -> str:
        """Why there is no backup; an empty text if there is."""
        assert self._account
        try:
            made = back_up(source, backups.folder, backups.keep, lambda: self._sleep(0))
        except Failed as failed:
            log.error("no backup: %s", failed)
            self._account.failed += 1
            return str(failed)
        log.info("backup %s", made.name)
        self._account.made += 1
        self._account.last_at = time.time()
        return ""

    def _tell(self, failures: list[tuple[str, str]]) -> None:
        assert self._account
        self._account.failures = tuple(failures[:MOST_TOLD])
        try:
            self._account.write(self._path)
        except OSError as error:
            log.error("%s is not written: %s", self._path, error)

    def _tidy(self, folder: Path) -> None:
        """Remove what one that was killed has left unfinished."""
        for left in folder.glob(f"*.backup-*{UNFINISHED}"):
            discard(left)

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

from fleet.datadir.backup_status import BACKUP_STATUS_FILE, BackupStatus
from fleet.datadir.backups import (
    UNFINISHED_SUFFIX,
    BackupFailed,
    StopRequested,
    back_up,
    backups_of,
    remove_database_files,
)
from fleet.datadir.checkpoint_export import database_paths, write_checkpoint_file
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from supervisor import Supervisor

log = logging.getLogger("keeper")

FIRST_BACKUP_SECONDS = 60.0
"""Seconds after the start within which a database that has no backup yet gets one."""

MAX_FAILURES_REPORTED = 20


@dataclass(frozen=True, slots=True)
class BackupSchedule:
    """Where to, how often (seconds), and how many of each database to keep."""

    folder: Path
    interval: float
    keep: int


@dataclass(frozen=True, slots=True)
class CheckpointExport:
    path: Path
    interval: float


@dataclass(frozen=True, slots=True)
class MaintenanceConfig:
    """What is to be kept; None is not."""

    backups: BackupSchedule | None
    checkpoint: CheckpointExport | None

    def __bool__(self) -> bool:
        return bool(self.backups or self.checkpoint)


def start_maintenance(supervisor: Supervisor, config: MaintenanceConfig, roster: Path) -> None:
    """Have a process beside the workers keep what there is to keep, if there is any."""
    status_file = roster.with_name(BACKUP_STATUS_FILE)
    if not config.backups:
        status_file.unlink(missing_ok=True)  # of an earlier run
    if config:
        supervisor.add_service(
            "keeper", lambda lifeline: MaintenanceProcess(config, roster, status_file, lifeline).run()
        )


class MaintenanceProcess:
    """One of them. `roster` says which databases there are, `status_file` is the path of what it tells."""

    def __init__(self, config: MaintenanceConfig, roster: Path, status_file: Path, lifeline: socket.socket) -> None:
        self._config, self._roster, self._path = config, roster, status_file
        self._poll = select.poll()  # not select(): a fleet has more than 1024 descriptors
        self._poll.register(lifeline, select.POLLIN)
        self._started_at = time.time()
        backups = config.backups
        self._status = BackupStatus(str(backups.folder), backups.interval, backups.keep) if backups else None

    def run(self) -> int:
        """Keep until the lifeline closes, which it does when all workers have ended."""
        jobs: list[Callable[[], float]] = []
        if self._config.backups:
            self._remove_unfinished(self._config.backups.folder)
            jobs.append(self._back_up_due)
        if self._config.checkpoint:
            jobs.append(self._export)
        due = [0.0 for _ in jobs]
        try:
            while True:
                for number, job in enumerate(jobs):
                    if time.monotonic() >= due[number]:
                        due[number] = time.monotonic() + job()
                self._sleep(min(due) - time.monotonic())
        except StopRequested:
            if self._config.checkpoint:
                self._export()
            return 0

    def _sleep(self, seconds: float) -> None:
        """Raises StopRequested when the lifeline closes. Nothing is ever sent over it."""
        if self._poll.poll(min(max(0.0, seconds), 3600.0) * 1000):
            raise StopRequested

    def _export(self) -> float:
        checkpoint = self._config.checkpoint
        assert checkpoint
        try:
            write_checkpoint_file(Roster.read(self._roster), checkpoint.path)
        except (OSError, UserError) as error:
            log.error("the checkpoint file %s is not written: %s", checkpoint.path, error)
        return checkpoint.interval

    def _back_up_due(self) -> float:
        """Back up what is due. Returns the seconds until something is again."""
        backups = self._config.backups
        assert backups
        try:
            sources = database_paths(Roster.read(self._roster))
        except (OSError, UserError) as error:
            log.error("no backups: %s", error)
            return min(FIRST_BACKUP_SECONDS, backups.interval)
        failures = []
        waits = [backups.interval]
        for source in sources:
            left = self._due_at(source, backups) - time.time()
            if left > 0:
                waits.append(left)
            elif reason := self._back_up(source, backups):
                failures.append((source.name, reason))
                waits.append(FIRST_BACKUP_SECONDS)
        self._write_status(failures)
        return min(waits)

    def _due_at(self, source: Path, backups: BackupSchedule) -> float:
        """Wall clock. The backups of earlier runs count, so that a fleet that is restarted often has some, too."""
        made = backups_of(source, backups.folder)
        return (
            made[-1].stat().st_mtime + backups.interval
            if made
            else self._started_at + min(FIRST_BACKUP_SECONDS, backups.interval)
        )

    def _back_up(self, source: Path, backups: BackupSchedule) -> str:
        """Why there is no backup; an empty text if there is."""
        assert self._status
        try:
            made = back_up(source, backups.folder, backups.keep, lambda: self._sleep(0))
        except BackupFailed as failed:
            log.error("no backup: %s", failed)
            self._status.failed += 1
            return str(failed)
        log.info("backup %s", made.name)
        self._status.made += 1
        self._status.last_at = time.time()
        return ""

    def _write_status(self, failures: list[tuple[str, str]]) -> None:
        assert self._status
        self._status.failures = tuple(failures[:MAX_FAILURES_REPORTED])
        try:
            self._status.write(self._path)
        except OSError as error:
            log.error("%s is not written: %s", self._path, error)

    def _remove_unfinished(self, folder: Path) -> None:
        """Remove what one that was killed has left unfinished."""
        for left in folder.glob(f"*.backup-*{UNFINISHED_SUFFIX}"):
            remove_database_files(left)

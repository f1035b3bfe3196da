"""The maintenance process: makes backups of the databases and exports the checkpoint file, at intervals.

It runs beside the workers, which never wait for it. A failure is recorded in the log and in `run/backups.json`, and is
tried again in the next round.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleet.config.config import Config
from fleet.datadir.backups import (
    BACKUP_STATUS_FILE,
    UNFINISHED_SUFFIX,
    BackupFailed,
    BackupStatus,
    StopRequested,
    back_up,
    backups_of,
    remove_database_files,
)
from fleet.datadir.checkpoint_export import database_paths, write_checkpoint_file
from fleet.datadir.directory import DataDirectory
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from supervisor import Supervisor

log = logging.getLogger("maintenance")

FIRST_BACKUP_SECONDS = 60.0
"""Seconds after the start within which a database without any backup gets one."""

MIN_INTERVAL_SECONDS = 0.1
"""The shortest interval; shorter ones in a config count as this one."""

MAX_FAILURES_REPORTED = 20


@dataclass(frozen=True, slots=True)
class BackupSchedule:
    """The folder of backups, the seconds between two of them, and how many to keep of each database."""

    folder: Path
    interval: float
    keep: int


@dataclass(frozen=True, slots=True)
class CheckpointExport:
    path: Path
    interval: float


@dataclass(frozen=True, slots=True)
class MaintenanceConfig:
    """The tasks of the maintenance process; None for those that the config does not ask for."""

    backups: BackupSchedule | None
    checkpoint: CheckpointExport | None

    def __bool__(self) -> bool:
        return bool(self.backups or self.checkpoint)


def maintenance_config(config: Config, directory: DataDirectory) -> MaintenanceConfig:
    """Return the tasks that a config asks for. All files lie in the data directory, whatever folders the config names."""
    backup, export, folder = config.database.backup, config.simulation.checkpoint, directory.databases
    backups = BackupSchedule(folder / Path(backup.path).name, max(backup.interval, MIN_INTERVAL_SECONDS), backup.keep)
    checkpoint = CheckpointExport(folder / Path(export.file).name, max(export.interval, MIN_INTERVAL_SECONDS))
    return MaintenanceConfig(backups if backup.enabled else None, checkpoint if export.enabled else None)


def start_maintenance(supervisor: Supervisor, config: MaintenanceConfig, roster: Path) -> None:
    """Start the maintenance process as a service of the supervisor, if there is any task for it."""
    status_file = roster.with_name(BACKUP_STATUS_FILE)
    if not config.backups:
        status_file.unlink(missing_ok=True)  # of an earlier run
    if config:
        supervisor.add_service(
            "maintenance", lambda lifeline: MaintenanceProcess(config, roster, status_file, lifeline).run()
        )


class MaintenanceProcess:
    """The body of the process. `roster` is the path of the roster, which names the databases; `status_file` that of the
    status of backups."""

    def __init__(self, config: MaintenanceConfig, roster: Path, status_file: Path, lifeline: socket.socket) -> None:
        self._config, self._roster, self._path = config, roster, status_file
        self._poll = select.poll()  # not select(): a fleet has more than 1024 descriptors
        self._poll.register(lifeline, select.POLLIN)
        self._started_at = time.time()
        backups = config.backups
        self._status = BackupStatus(str(backups.folder), backups.interval, backups.keep) if backups else None

    def run(self) -> int:
        """Run the tasks until the lifeline closes, which it does when all workers have ended."""
        tasks: list[Callable[[], float]] = []
        if self._config.backups:
            self._remove_unfinished(self._config.backups.folder)
            tasks.append(self._back_up_due)
        if self._config.checkpoint:
            tasks.append(self._export)
        due = [0.0 for _ in tasks]
        try:
            while True:
                for number, task in enumerate(tasks):
                    if time.monotonic() >= due[number]:
                        due[number] = time.monotonic() + task()
                self._sleep(min(due) - time.monotonic())
        except StopRequested:
            if self._config.checkpoint:
                self._export()
            return 0

    def _sleep(self, seconds: float) -> None:
        """Sleep. Raises StopRequested when the lifeline closes; nothing is ever sent over it."""
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
        """Make the backups that are due. Returns the seconds until the next one is."""
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
        """Return the wall-clock time of the next backup. The backups of earlier runs count, so that a fleet that is restarted
        often gets some, too."""
        made = backups_of(source, backups.folder)
        return (
            made[-1].stat().st_mtime + backups.interval
            if made
            else self._started_at + min(FIRST_BACKUP_SECONDS, backups.interval)
        )

    def _back_up(self, source: Path, backups: BackupSchedule) -> str:
        """Make a backup. Returns the reason if it failed, else an empty text."""
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
        """Remove unfinished backups, left by a process that was killed."""
        for left in folder.glob(f"*.backup-*{UNFINISHED_SUFFIX}"):
            remove_database_files(left)

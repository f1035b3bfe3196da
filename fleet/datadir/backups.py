"""Backups of a database, and the status file `run/backups.json` about them.

SQLite copies a database while it is written to. The copy is verified and then becomes one of the last few backups. A
backup shows the database at one moment. It is named `NAME.backup-20260101T000000Z.db`, has the role `backup` in its
`database_info`, and is a single file. A backup never replaces a database by itself: see docs/files.md for restoring one.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from fleet.datadir.readings import DatabaseUnreadable, database_sizes
from fleet.datadir.shared_connection import shared_connection
from fleet.datadir.state_file import load_state, save_state
from fleet.errors import UserError
from worker.storage.connection import SELECT_BEYOND_CHECKPOINT
from worker.storage.database_files import fsync_directory

BACKUP_STATUS_FILE = "backups.json"

BACKUP_STEM = re.compile(r"\.backup-\d{8}T\d{6}Z$")
"""The end of the stem of a backup's name."""

UNFINISHED_SUFFIX = ".new"

PAGES_PER_STEP = 1024
"""Pages copied between two checks for a request to stop: 4 MB, which take some milliseconds."""

MAX_COPY_RESTARTS = 20
"""How often a copy may start over. Without a write-ahead log it has to whenever another process commits."""

RESERVED_DISK_BYTES = 64 << 20
"""Bytes of the disk that a backup must leave free for the fleet."""


class BackupFailed(Exception):
    """There is no new backup; the old ones are unchanged. `str(error)` is the reason in one line."""


class StopRequested(Exception):
    """The process that makes backups has been asked to end."""


@dataclass(slots=True)
class BackupStatus:
    """The backups of this run: counts, the time of the last one (seconds since 1970), and the failures of the last
    round as (database, reason)."""

    folder: str
    interval: float
    keep: int
    made: int = 0
    failed: int = 0
    last_at: float | None = None
    failures: tuple[tuple[str, str], ...] = ()

    def write(self, path: Path) -> None:
        """Replace the file. Raises OSError, and UserError for what could not be read."""
        save_state(path, self)


def read_backup_status(run_directory: Path) -> BackupStatus | None:
    """Read the status, None if the fleet makes no backups or the file cannot be read."""
    try:
        return load_state(run_directory / BACKUP_STATUS_FILE, BackupStatus)
    except (OSError, ValueError, UserError):
        return None


def back_up(source: Path, folder: Path, keep: int, pause: Callable[[], None] = lambda: None) -> Path:
    """Make a backup of the database at `source`, and remove all but the last `keep` of its backups.

    `pause` is called every few milliseconds and may raise StopRequested. Raises BackupFailed. With a write-ahead log no
    writer ever waits; without one, a writer waits for PAGES_PER_STEP pages at most.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_free_space(source, folder)
        finished = folder / f"{source.stem}.backup-{datetime.now(UTC):%Y%m%dT%H%M%SZ}{source.suffix}"
        unfinished = finished.with_name(finished.name + UNFINISHED_SUFFIX)
        try:
            copy_database(source, unfinished, pause)
            verify_copy(unfinished)
            os.replace(unfinished, finished)
            fsync_directory(folder)
        finally:
            remove_database_files(unfinished)
        for old in backups_of(source, folder)[:-keep]:
            old.unlink(missing_ok=True)
    except DatabaseUnreadable as error:
        raise BackupFailed(str(error)) from error
    except apsw.Error as error:
        raise BackupFailed(f"{source.name}: {error}") from error
    except OSError as error:
        raise BackupFailed(f"{source.name}: {error.strerror} ({folder})") from error
    return finished


def backups_of(source: Path, folder: Path) -> list[Path]:
    """Return the backups of a database, oldest first."""
    found = folder.glob(f"{source.stem}.backup-*{source.suffix}")
    return sorted(path for path in found if BACKUP_STEM.sub("", path.stem) == source.stem and is_backup(path))


def is_backup(path: Path) -> bool:
    return BACKUP_STEM.search(path.stem) is not None


def check_free_space(source: Path, folder: Path) -> None:
    size = database_sizes(source)
    if shutil.disk_usage(folder).free < size.database + size.wal + RESERVED_DISK_BYTES:
        raise BackupFailed(f"{source.name}: the disk of {folder} has no room for a backup")


def copy_database(source: Path, target: Path, pause: Callable[[], None]) -> None:
    """Copy a database, as it is at one moment, into a file that no other process has open. Raises apsw.Error."""
    remove_database_files(target)
    with shared_connection(source) as shared, closing(apsw.Connection(str(target))) as copied:
        opened = shared.connection
        if opened.pragma("journal_mode") == "wal":
            # A read transaction pins one state of the database. No writer waits for it, and the copy never starts over.
            opened.execute("BEGIN")
            opened.execute("SELECT count(*) FROM database_info").fetchall()
        with copied.backup("main", opened, "main") as backup:
            copy_pages(backup, pause)
        copied.pragma("journal_mode", "DELETE")  # a single file that any program can open in any place
        copied.execute("UPDATE database_info SET role = 'backup'")


def copy_pages(backup: apsw.Backup, pause: Callable[[], None]) -> None:
    left, restarts = None, 0
    while True:
        try:
            if backup.step(PAGES_PER_STEP):
                return
        except (apsw.BusyError, apsw.LockedError):
            restarts += 1
            time.sleep(0.05)
        if left is not None and backup.remaining > left:
            restarts += 1
        left = backup.remaining
        if restarts > MAX_COPY_RESTARTS:
            raise apsw.BusyError("it is written to faster than it can be copied (wal_mode: true would help)")
        pause()


def verify_copy(path: Path) -> None:
    """Raise apsw.CorruptError if the copy is not sound."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as opened:
        verdict = opened.execute("PRAGMA quick_check(1)").get
        if verdict != "ok":
            raise apsw.CorruptError(f"its copy is damaged: {verdict}".replace("\n", " "))
        if opened.execute(SELECT_BEYOND_CHECKPOINT).get:
            raise apsw.CorruptError("its copy has readings beyond a checkpoint")
        if opened.execute("SELECT role FROM database_info").get != "backup":
            raise apsw.CorruptError("its copy is not on record as a backup")


def remove_database_files(path: Path) -> None:
    for ending in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)

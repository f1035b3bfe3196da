"""Backups of a database: copied by SQLite while it is written to, verified, and then one file among the last few.

A backup is whole as of one moment. It lies under `NAME.backup-20260101T000000Z.db`, has the role `backup` on record, and
needs no companions. It never replaces a database by itself: see docs/files.md for restoring one.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw

from fleet.datadir.readings import DatabaseUnreadable, database_sizes
from fleet.datadir.shared_connection import shared_connection
from worker.storage.connection import SELECT_BEYOND_CHECKPOINT
from worker.storage.database_files import fsync_directory

BACKUP_STEM = re.compile(r"\.backup-\d{8}T\d{6}Z$")
"""What the stem of a backup's name ends with."""

UNFINISHED_SUFFIX = ".new"

PAGES_PER_STEP = 1024
"""Pages copied between two looks at whether to go on: 4 MB, some milliseconds."""

MAX_COPY_RESTARTS = 20
"""How often a copy may begin again. Without a write-ahead log it has to whenever somebody commits."""

RESERVED_DISK_BYTES = 64 << 20
"""Bytes of the disk that stay free for the fleet."""


class BackupFailed(Exception):
    """There is no new backup; the old ones are as they were. `str(error)` says why, in one line."""


class StopRequested(Exception):
    """Somebody wants this process to end."""


def back_up(source: Path, folder: Path, keep: int, pause: Callable[[], None] = lambda: None) -> Path:
    """Make a backup of the database at `source`, and remove all but the last `keep` of its backups.

    `pause` is called every few milliseconds and may raise StopRequested. Raises BackupFailed. With a write-ahead log no writer ever
    waits; without one, a writer waits for PAGES_PER_STEP pages at most.
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
    """The backups of a database, oldest first."""
    found = folder.glob(f"{source.stem}.backup-*{source.suffix}")
    return sorted(path for path in found if BACKUP_STEM.sub("", path.stem) == source.stem and is_backup(path))


def is_backup(path: Path) -> bool:
    return BACKUP_STEM.search(path.stem) is not None


def check_free_space(source: Path, folder: Path) -> None:
    size = database_sizes(source)
    if shutil.disk_usage(folder).free < size.database + size.wal + RESERVED_DISK_BYTES:
        raise BackupFailed(f"{source.name}: the disk of {folder} has no room for a backup")


def copy_database(source: Path, target: Path, pause: Callable[[], None]) -> None:
    """A copy as of one moment, in a file that nobody else has open; apsw.Error where it cannot be had."""
    remove_database_files(target)
    with shared_connection(source) as found, closing(apsw.Connection(str(target))) as copied:
        opened = found.connection
        if opened.pragma("journal_mode") == "wal":
            # Reading goes on in one transaction, which no writer has to wait for, so that nothing begins anew.
            opened.execute("BEGIN")
            opened.execute("SELECT count(*) FROM database_info").fetchall()
        with copied.backup("main", opened, "main") as backup:
            copy_pages(backup, pause)
        copied.pragma("journal_mode", "DELETE")  # one file, that any program can open wherever it is put
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

"""The data directory of a fleet: its files, and its lock.

One fleet runs per directory. It holds an flock on `run/lock`, which the system releases even after a crash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from fleet.datadir import manifest
from fleet.datadir.interventions import INTERVENTIONS_FILE
from fleet.datadir.manifest import MAX_START_US, FleetManifest
from fleet.datadir.ownership import secure_run_folder
from fleet.datadir.readings import SQLITE_MAGIC, DatabaseUnreadable, latest_due_us
from fleet.errors import UserError
from worker.schedule import SECOND_US
from worker.scoreboard import Scoreboard

__all__ = ["DataDirectory", "FleetManifest", "check_is_sqlite", "database_folder"]

PLAUSIBLE_LEAD_US = 60 * SECOND_US
"""The lead of a reading over the wall clock up to which nothing is wrong: clocks are slewed, and set."""


MAX_PID_WAIT_SECONDS = 2.0
LOGS_FOLDER = "logs"
"""The folder of a log that the config names. Any other log is `run/fleet.log`."""

SINGLE_WORKERS_FOLDER = "workers"
"""The folder beside a database that has a directory for each single worker (`python -m worker`) that writes to it."""


class LatestReading(NamedTuple):
    """The simulated time of the latest reading in microseconds since 1970, 0 if there is none, and a warning in one line
    if the scoreboard has another one."""

    time_us: int
    warning: str = ""


class DataDirectory:
    """The files under one data directory. Nothing is created before `hold`. `databases` is the folder of the databases,
    by default the directory itself."""

    def __init__(self, path: Path, databases: Path | None = None) -> None:
        self.path = path
        self.databases = databases or path
        self.run = path / "run"
        self.scoreboard = self.run / "board"
        self.roster = self.run / "roster.json"
        self.reload = self.run / "reload.json"
        self.control = self.run / "control.sock"
        self.log = self.run / "fleet.log"
        self.identities = path / "identities"
        self.rollout = self.run / "rollout.json"
        self.interventions = self.run / INTERVENTIONS_FILE
        self.events = self.run / "events.jsonl"
        self.token = self.run / "token"
        self._manifest = path / "fleet.json"
        self._lock = self.run / "lock"
        self._lock_file: IO[str] | None = None

    @property
    def used(self) -> bool:
        """True if a fleet has run here, or tried to."""
        return self._lock.exists()

    def check_startable(self) -> None:
        """Raise UserError if a fleet could not run here, as far as that is known without a change to any file."""
        for folder in dict.fromkeys((self.databases, self.path, self.run)):
            if os.path.lexists(folder):
                self._require(folder, folder.is_dir(), "is not a directory")
                self._require(folder, *check_writable(folder))
        if not os.path.lexists(self.path):
            parent = next(folder for folder in self.path.absolute().parents if os.path.lexists(folder))
            self._require(parent, parent.is_dir(), "is not a directory")
            self._require(parent, *check_writable(parent))
        for file in (self._manifest, self._lock, self.scoreboard, self.roster, self.control, self.log):
            if os.path.lexists(file):
                self._require(file, not file.is_dir(), "is a directory, not a file")
                self._require(file, *check_writable(file))
        holder = self.holder()
        if holder is not None:
            raise self._in_use_error(str(holder or self._written_pid()))

    def _require(self, path: Path, condition: bool, reason: str) -> None:
        if not condition:
            subject = "it" if path == self.path else str(path)
            raise UserError(f"--data: {self.path} cannot be the data directory: {subject} {reason}")

    def _in_use_error(self, holder: str) -> UserError:
        return UserError(
            f"--data: {self.path}: another fleet runs here (pid {holder}): "
            f"stop it with `fleet down --data {self.path}`, or take another directory"
        )

    def _written_pid(self) -> str:
        """Return the process id in the lock file, which its holder writes a moment after it has locked the file."""
        deadline = time.monotonic() + MAX_PID_WAIT_SECONDS
        while not (text := self._lock.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return text or "unknown"

    def hold(self) -> None:
        """Create the directory if necessary and lock it. Raises UserError if it cannot be written, if another fleet runs, or
        if `run/` or a file in it belongs to another user."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.run.mkdir(mode=0o700, exist_ok=True)
            secure_run_folder(self.run)
            lock_file = self._lock.open("a+")
        except OSError as error:
            raise UserError(f"{self.path}: the data directory cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock_file.close()
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise UserError(f"{self._lock}: cannot be locked: {error.strerror}") from error
            raise self._in_use_error(self._written_pid()) from error
        self._lock_file = lock_file
        self.write_pid()

    def write_pid(self) -> None:
        """Write this process's id into the lock file, for messages about a directory in use. Raises UserError on a full disk."""
        assert self._lock_file is not None
        try:
            self._lock_file.truncate(0)
            self._lock_file.write(f"{os.getpid()}\n")
            self._lock_file.flush()
        except OSError as error:
            raise UserError(f"{self._lock}: cannot be written: {error.strerror}") from error

    def holder(self) -> int | None:
        """Return the process id of the fleet that runs here, 0 if it is not known yet, None if no fleet runs."""
        try:
            with self._lock.open() as probe:
                try:
                    fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    pid = probe.read().strip()
                    return int(pid) if pid.isdecimal() else 0
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            pass
        except OSError as error:
            raise UserError(f"{self._lock}: cannot be read: {error.strerror}") from error
        return None

    def read_manifest(self) -> FleetManifest | None:
        """Read the manifest, None in a new directory. Raises UserError if it is damaged."""
        return manifest.read_manifest(self._manifest)

    def write_manifest(self, record: FleetManifest) -> None:
        manifest.write_manifest(self._manifest, record)

    def latest_us(self) -> int:
        """Return the simulated time of the latest reading on the scoreboard of an earlier run, 0 if there is none."""
        try:
            rows = Scoreboard(self.scoreboard, writable=False).rows
        except (OSError, ValueError):  # no scoreboard, or not a whole number of rows
            return 0
        return int(rows["timestamp_us"].max(initial=0))

    def latest_reading(self, record: FleetManifest) -> LatestReading:
        """Return the latest reading of the earlier runs of a fleet.

        The scoreboard is not synced to disk, so it may be damaged after a power failure. A time on it that is ahead of the
        clock is taken from the databases instead.
        """
        recorded = self.latest_us()
        if not recorded and not record.real_time:  # the clock goes on from there, and there is no scoreboard
            return LatestReading(self._latest_in_databases())
        if recorded <= record.time_at(time.time_ns() // 1000) + PLAUSIBLE_LEAD_US:
            return LatestReading(recorded)
        written = self._latest_in_databases()
        if recorded <= written + PLAUSIBLE_LEAD_US:
            return LatestReading(written)
        return LatestReading(
            written,
            f"{self.scoreboard}: ignored, it is damaged: its latest reading is at {recorded} microseconds since 1970, "
            "and no database has it",
        )

    def _latest_in_databases(self) -> int:
        latest = 0
        for path in self.databases.glob("*.db"):
            with suppress(DatabaseUnreadable):
                time_us = latest_due_us(path) or 0
                latest = max(latest, time_us if time_us <= MAX_START_US else 0)
        return latest

    def move_aside(self, database: Path, run: int) -> None:
        """Rename an existing database and its companion files, to make room for a new one."""
        for suffix in ("", "-wal", "-shm"):
            old = database.with_name(database.name + suffix)
            if old.exists():
                aside = database.with_name(f"{database.stem}.before-{run}{database.suffix}{suffix}")
                os.replace(old, aside)


def database_folder(data: Path) -> Path:
    """Return the folder of the databases: that of a single worker is two levels above its own directory."""
    absolute = data.absolute()
    return absolute.parent.parent if absolute.parent.name == SINGLE_WORKERS_FOLDER else data


def local_log(data: Path, recorded: Path) -> Path:
    """Return the log of a data directory: of a recorded path only the name counts, in the folder for logs."""
    if recorded.parent.name == LOGS_FOLDER and recorded.name:
        return database_folder(data) / LOGS_FOLDER / recorded.name
    return DataDirectory(data).log


def check_is_sqlite(database: Path) -> None:
    """Raise UserError if there is something else in the place of a database."""
    if database.is_dir():
        raise UserError(f"{database}: is a directory, not a database")
    if database.exists():
        with database.open("rb") as file:
            start = file.read(len(SQLITE_MAGIC))
        if start not in (b"", SQLITE_MAGIC):
            raise UserError(
                f"{database}: is not an SQLite database: move it away, or set database.path to another file"
            )


def check_writable(path: Path) -> tuple[bool, str]:
    """Return whether this process may write to the path, and the reason if not. The system is asked, because a read-only
    file system and an immutable file bind root as well."""
    needed = os.W_OK | os.X_OK if path.is_dir() else os.W_OK
    if path.is_socket() or os.access(path, needed):
        return True, ""
    read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return False, "is on a read-only file system" if read_only else "may not be written by this user"

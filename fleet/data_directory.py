"""The data directory of a fleet: its files, its lock, and the record that outlives a run.

One fleet per directory: whoever runs holds an flock on `run/lock`, which no crash can leave behind.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from fleet.errors import UserError
from worker.spec import Layout


@dataclass(frozen=True, slots=True)
class FleetRecord:
    """What a later start on the same directory must not contradict. Times are microseconds since 1970.

    `start_us` is the simulated time of the first reading ever, `wall_us` the wall clock then. `sensors` are
    (sensor id, worker) in the order of the fleet, also those that a smaller fleet leaves out for now.
    """

    seed: int
    layout: Layout
    sensors_per_worker: int
    start_us: int
    wall_us: int
    runs: int
    sensors: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, fields: dict[str, Any]) -> FleetRecord:
        sensors = tuple((sensor, worker) for sensor, worker in fields.pop("sensors"))
        return cls(sensors=sensors, **fields)


class DataDirectory:
    """The files under one data directory. Nothing is made before `hold`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run"
        self.board = self.run / "board"
        self.roster = self.run / "roster.json"
        self.control = self.run / "control.sock"
        self.log = self.run / "fleet.log"
        self.identities = path / "identities"
        self._record = path / "fleet.json"
        self._lock = self.run / "lock"
        self._held: IO[str] | None = None

    def hold(self) -> None:
        """Make the directory if need be and take its lock. UserError if it cannot be written or somebody has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.run.mkdir(mode=0o700, exist_ok=True)
            held = open(self._lock, "a+")  # noqa: SIM115 - held for as long as the fleet runs
        except OSError as error:
            raise UserError(f"{self.path}: the data directory cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise UserError(f"{self._lock}: cannot be locked: {error.strerror}") from error
            holder = self._lock.read_text().strip() or "unknown"
            held.close()
            raise UserError(
                f"{self.path}: another fleet runs here (pid {holder}): stop it with `fleet down --data {self.path}`, "
                "or take another --data directory"
            ) from error
        self._held = held
        self.sign()

    def sign(self) -> None:
        """Write this process's id into the lock file, for those who find it taken."""
        assert self._held is not None
        self._held.truncate(0)
        self._held.write(f"{os.getpid()}\n")
        self._held.flush()

    def holder(self) -> int | None:
        """The process id of the fleet that runs here, None if none does."""
        try:
            with open(self._lock) as probe:
                try:
                    fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return int(probe.read().strip() or 0)
        except FileNotFoundError:
            pass
        return None

    def read_record(self) -> FleetRecord | None:
        """The record of earlier runs, None on a new directory."""
        try:
            return FleetRecord.of(json.loads(self._record.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise UserError(f"{self._record}: not a fleet's record ({error}); move it aside to start anew") from error

    def write_record(self, record: FleetRecord) -> None:
        temporary = self._record.with_suffix(".new")
        with open(temporary, "w") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._record)

    def set_aside(self, database: Path, run: int) -> None:
        """Move an existing database, with what belongs to it, out of the way of a new one."""
        for suffix in ("", "-wal", "-shm"):
            old = database.with_name(database.name + suffix)
            if old.exists():
                aside = database.with_name(f"{database.stem}.before-{run}{database.suffix}{suffix}")
                os.replace(old, aside)

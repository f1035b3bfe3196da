"""The roster: the sensors of a running fleet, and where the scoreboard row, database and log of each are.

The supervising process replaces `<data>/run/roster.json` atomically. All others read it (HTTP server, `fleet status`,
`fleet logs`). Together with the scoreboard it is all that a reader needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fleet.datadir.directory import database_folder, local_log
from fleet.datadir.state_file import Bounds, load_state, save_state
from worker.spec import Identity, Layout, Resume

DEFAULT_HANG_SECONDS = 20.0
"""The default of `supervision.hang_seconds`, and its value in rosters of version 0.1.0, which do not have it."""


@dataclass(frozen=True, slots=True)
class Member:
    """One sensor of the fleet. `channels` are (name, unit) in the order of the scoreboard's values. `first_due_us` is the
    simulated time of its first reading in the run, unless it catches up on earlier ones; 0 in rosters of version 0.1.0,
    where it is the start of the run."""

    row: Annotated[int, Bounds(least=0)]
    worker: str
    rate: float
    database: Path
    log: Path
    channels: tuple[tuple[str, str], ...]
    identity: Identity
    first_due_us: Annotated[int, Bounds(least=0)] = 0

    @property
    def sensor_id(self) -> str:
        return self.identity.sensor_id


@dataclass(frozen=True, slots=True)
class Roster:
    """The fleet since its last change. `started_ns` is on the monotonic clock, `started_at` ISO wall time, `start_time`
    the simulated time of the run's start, `duration` the simulated seconds to run or None. A worker without a heartbeat
    for `hang_seconds` hangs. With `resume` "skip" the readings before the run that are not written are left out. Simulated
    time passes `speed` times as fast as the wall clock. With a history, it has the length `backfill_us` and ends at `live_us`
    (simulated time)."""

    seed: int
    layout: Layout
    run: int
    pid: int
    config: str
    started_at: str
    started_ns: int
    start_time: str
    duration: float | None
    url: str | None
    members: tuple[Member, ...]
    hang_seconds: float = DEFAULT_HANG_SECONDS
    resume: Resume = "catch_up"
    speed: Annotated[float, Bounds(0, 10_000)] = 1.0
    live_us: Annotated[int, Bounds(least=0)] = 0
    backfill_us: Annotated[int, Bounds(least=0)] = 0

    @property
    def target_rates(self) -> list[float]:
        """The readings that each member is to write in a second of the wall clock."""
        return [member.rate * self.speed for member in self.members]

    def write(self, path: Path) -> None:
        """Replace the file. Raises OSError, and UserError for what could not be read."""
        save_state(path, self)

    @classmethod
    def read(cls, path: Path) -> Roster:
        """Read the roster at `path`. Raises FileNotFoundError if no fleet has run, UserError if it is damaged.

        Files are taken from the data directory that the roster is in, by their names, wherever they were when it was
        written: a copied directory has its own, and nothing leads out of it.
        """
        return load_state(path, cls).relocated(path.parent.parent)

    def relocated(self, data: Path) -> Roster:
        """Return the roster of the same fleet with its files in the data directory `data`."""
        folder = database_folder(data)
        databases = {member.database: folder / member.database.name for member in self.members}
        logs = {member.log: local_log(data, member.log) for member in self.members}
        return replace(
            self,
            members=tuple(
                replace(member, database=databases[member.database], log=logs[member.log]) for member in self.members
            ),
        )

"""What can be seen of a running fleet from outside at one moment: its roster and a copy of its scoreboard.

Nothing but files is looked at, so a stuck or dead process is seen as well as a live one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fleet.datadir.backup_status import read_backup_status
from fleet.datadir.reload_report import read_report
from fleet.datadir.roster import Member, Roster
from fleet.errors import UserError
from fleet.monitoring.channels import ChannelIndex, index_channels
from fleet.monitoring.history import History
from fleet.monitoring.rate import RateMeter
from worker.scoreboard import ROW_DTYPE, Rows, Scoreboard

# A client that asks for ever new pages of the list must not fill the memory within one tick.
MAX_CACHED_BODIES = 32

FileVersion = tuple[int, int, int]
Scalar = TypeVar("Scalar", bound=np.generic)


class FleetUnavailable(Exception):
    """There is nothing to see: no fleet has started here, or its files cannot be read. `str(error)` is one line."""


class BodyCache:
    """Encoded answers, each built once for one observation, however many clients ask at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: dict[object, bytes] = {}

    def get(self, key: object, build: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key not in self._bodies:
                if len(self._bodies) >= MAX_CACHED_BODIES:
                    self._bodies.clear()
                self._bodies[key] = build()
            return self._bodies[key]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A fleet at one moment. `rows`, `measured_rates` (readings a second) and `target_rates` (asked for) are in the order of
    `roster.members`, `departed_rows` are the rows of sensors that have left the fleet in this run, `reload` is as of
    `fleet.datadir.reload_report`; `now_ns` and `roster_changed_ns` (when the roster last changed) are on the monotonic clock."""

    roster: Roster
    index: dict[str, int]
    target_rates: npt.NDArray[np.float64]
    roster_changed_ns: int
    rows: Rows
    measured_rates: npt.NDArray[np.float64]
    rate_window_seconds: float
    now_ns: int
    now: datetime
    departed_rows: Rows = field(default_factory=lambda: np.zeros(0, dtype=ROW_DTYPE))
    reload: Mapping[str, Any] = field(default_factory=dict)
    backups: Mapping[str, Any] = field(default_factory=dict)
    channels: ChannelIndex = field(default_factory=lambda: index_channels(()))
    history: History = field(default_factory=History)
    body_cache: BodyCache = field(default_factory=BodyCache)

    @property
    def members(self) -> tuple[Member, ...]:
        return self.roster.members

    @property
    def all_rows(self) -> Rows:
        """The rows of all who are or have been in the fleet in this run, so that no sum ever gets smaller."""
        return np.concatenate((self.rows, self.departed_rows)) if len(self.departed_rows) else self.rows

    @property
    def uptime(self) -> float:
        """Seconds since the fleet started."""
        return max(self.now_ns - self.roster.started_ns, 0) / 1e9


@dataclass(frozen=True, slots=True)
class RosterState:
    """The roster as it was last read, and what follows from it alone."""

    stamp: FileVersion
    roster: Roster
    index: dict[str, int]
    target_rates: npt.NDArray[np.float64]
    board_rows: npt.NDArray[np.intp]
    channels: ChannelIndex
    roster_changed_ns: int


class Observer:
    """Looks at the files of `run_directory`, at most once every `tick` seconds, for any number of threads."""

    def __init__(self, run_directory: Path, tick: float = 0.5, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.run_directory = run_directory
        self._tick_ns = int(tick * 1e9)
        self._clock = clock
        self._lock = threading.Lock()
        self._roster_state: RosterState | None = None
        self._board: tuple[FileVersion, Scoreboard] | None = None
        self._rate_meter: RateMeter | None = None
        self._last: Observation | None = None
        self.history = History()

    def observe(self) -> Observation:
        """The fleet as it is now, or as it was up to one tick ago; raises FleetUnavailable."""
        with self._lock:
            now_ns = self._clock()
            if self._last is None or now_ns - self._last.now_ns >= self._tick_ns:
                self._last = None  # a fleet whose files are gone must not be shown from memory
                self._last = self._read(now_ns)
                self.history.record(self._last)
            return self._last

    def _read(self, now_ns: int) -> Observation:
        try:
            roster_state = self._read_roster(now_ns)
            scoreboard = self._open_board(roster_state.roster.started_ns)
        except FileNotFoundError as error:
            raise FleetUnavailable(f"no fleet has started here: there is no {error.filename}") from error
        except UserError as error:
            raise FleetUnavailable(str(error)) from error
        except (OSError, ValueError) as error:
            raise FleetUnavailable(f"{self.run_directory} cannot be read: {type(error).__name__}: {error}") from error
        assert self._rate_meter is not None  # begun with the scoreboard
        everything = scoreboard.snapshot()
        self._rate_meter.record(now_ns, everything["readings"])
        return Observation(
            roster=roster_state.roster,
            index=roster_state.index,
            target_rates=roster_state.target_rates,
            roster_changed_ns=roster_state.roster_changed_ns,
            rows=take_rows(everything, roster_state.board_rows),
            measured_rates=take_rows(self._rate_meter.per_second(), roster_state.board_rows),
            rate_window_seconds=self._rate_meter.seconds,
            now_ns=now_ns,
            now=datetime.now(UTC),
            departed_rows=find_departed_rows(everything, roster_state.board_rows),
            reload=read_report(self.run_directory / "reload.json"),
            backups=read_backup_status(self.run_directory),
            channels=roster_state.channels,
            history=self.history,
        )

    def _read_roster(self, now_ns: int) -> RosterState:
        path = self.run_directory / "roster.json"
        found = file_version(path)
        if self._roster_state is None or self._roster_state.stamp != found:
            roster = Roster.read(path)
            self._roster_state = RosterState(
                stamp=found,
                roster=roster,
                index={member.sensor_id: number for number, member in enumerate(roster.members)},
                target_rates=np.array([member.rate for member in roster.members], dtype=np.float64),
                board_rows=np.array([member.row for member in roster.members], dtype=np.intp),
                channels=index_channels(roster.members),
                roster_changed_ns=now_ns - max(time.time_ns() - found[1], 0),
            )
        return self._roster_state

    def _open_board(self, started_ns: int) -> Scoreboard:
        path = self.run_directory / "board"
        inode, _, size = file_version(path)
        found = (inode, 0, size)  # every store into the mapping may change the time
        if self._board is None or self._board[0] != found:
            scoreboard = Scoreboard(path, writable=False)
            self._board = (found, scoreboard)
            self._rate_meter = RateMeter(started_ns, scoreboard.capacity)
        return self._board[1]


def file_version(path: Path) -> FileVersion:
    """(inode, time of change in ns, size): differs when the file was replaced."""
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def take_rows(everything: npt.NDArray[Scalar], numbers: npt.NDArray[np.intp]) -> npt.NDArray[Scalar]:
    """The entries at `numbers`, zero where the scoreboard does not reach yet (the roster is a moment ahead of it)."""
    if np.array_equal(numbers, np.arange(len(everything))):
        return everything  # as in most fleets: spare the copy
    there = numbers < len(everything)
    if there.all():
        return everything[numbers]
    found = np.zeros(len(numbers), dtype=everything.dtype)
    found[there] = everything[numbers[there]]
    return found


def find_departed_rows(everything: Rows, numbers: npt.NDArray[np.intp]) -> Rows:
    """The rows that somebody has written to, but for those at `numbers`."""
    used = everything["incarnation"] > 0
    used[numbers[numbers < len(used)]] = False
    return everything[used]

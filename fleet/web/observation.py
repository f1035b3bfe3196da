"""What can be seen of a running fleet from outside at one moment: its roster and a copy of its board.

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

from fleet.errors import UserError
from fleet.storage.backup_account import read_account
from fleet.storage.reload_report import read_report
from fleet.storage.roster import Member, Roster
from fleet.web.channels import Channels, channels_of
from fleet.web.history import History
from fleet.web.pace import Pace
from worker.board import ROW, Board, Rows

# A client that asks for ever new pages of the list must not fill the memory within one tick.
MOST_BODIES = 32

Stamp = tuple[int, int, int]
Scalar = TypeVar("Scalar", bound=np.generic)


class NoFleet(Exception):
    """There is nothing to see: no fleet has started here, or its files cannot be read. `str(error)` is one line."""


class Bodies:
    """Encoded answers, each built once for one observation, however many clients ask at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: dict[object, bytes] = {}

    def get(self, key: object, build: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key not in self._bodies:
                if len(self._bodies) >= MOST_BODIES:
                    self._bodies.clear()
                self._bodies[key] = build()
            return self._bodies[key]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A fleet at one moment. `rows`, `pace` (readings a second) and `rates` (asked for) are in the order of
    `roster.members`, `gone` are the rows of sensors that have left the fleet in this run, `reload` is as of
    `fleet.storage.reload_report`; `now_ns` and `changed_ns` (when the roster last changed) are on the monotonic clock."""

    roster: Roster
    index: dict[str, int]
    rates: npt.NDArray[np.float64]
    changed_ns: int
    rows: Rows
    pace: npt.NDArray[np.float64]
    pace_seconds: float
    now_ns: int
    now: datetime
    gone: Rows = field(default_factory=lambda: np.zeros(0, dtype=ROW))
    reload: Mapping[str, Any] = field(default_factory=dict)
    backups: Mapping[str, Any] = field(default_factory=dict)
    channels: Channels = field(default_factory=lambda: channels_of(()))
    history: History = field(default_factory=History)
    bodies: Bodies = field(default_factory=Bodies)

    @property
    def members(self) -> tuple[Member, ...]:
        return self.roster.members

    @property
    def everyone(self) -> Rows:
        """The rows of all who are or have been in the fleet in this run, so that no sum ever gets smaller."""
        return np.concatenate((self.rows, self.gone)) if len(self.gone) else self.rows

    @property
    def uptime(self) -> float:
        """Seconds since the fleet started."""
        return max(self.now_ns - self.roster.started_ns, 0) / 1e9


@dataclass(frozen=True, slots=True)
class Membership:
    """The roster as it was last read, and what follows from it alone."""

    stamp: Stamp
    roster: Roster
    index: dict[str, int]
    rates: npt.NDArray[np.float64]
    board_rows: npt.NDArray[np.intp]
    channels: Channels
    changed_ns: int


class Observer:
    """Looks at the files of `run_directory`, at most once every `tick` seconds, for any number of threads."""

    def __init__(self, run_directory: Path, tick: float = 0.5, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.run_directory = run_directory
        self._tick_ns = int(tick * 1e9)
        self._clock = clock
        self._lock = threading.Lock()
        self._membership: Membership | None = None
        self._board: tuple[Stamp, Board] | None = None
        self._pace: Pace | None = None
        self._last: Observation | None = None
        self.history = History()

    def observe(self) -> Observation:
        """The fleet as it is now, or as it was up to one tick ago; raises NoFleet."""
        with self._lock:
            now_ns = self._clock()
            if self._last is None or now_ns - self._last.now_ns >= self._tick_ns:
                self._last = None  # a fleet whose files are gone must not be shown from memory
                self._last = self._look(now_ns)
                self.history.note(self._last)
            return self._last

    def _look(self, now_ns: int) -> Observation:
        try:
            membership = self._read_roster(now_ns)
            board = self._map_board(membership.roster.started_ns)
        except FileNotFoundError as error:
            raise NoFleet(f"no fleet has started here: there is no {error.filename}") from error
        except UserError as error:
            raise NoFleet(str(error)) from error
        except (OSError, ValueError) as error:
            raise NoFleet(f"{self.run_directory} cannot be read: {type(error).__name__}: {error}") from error
        assert self._pace is not None  # begun with the board
        everything = board.snapshot()
        self._pace.note(now_ns, everything["readings"])
        return Observation(
            roster=membership.roster,
            index=membership.index,
            rates=membership.rates,
            changed_ns=membership.changed_ns,
            rows=picked(everything, membership.board_rows),
            pace=picked(self._pace.per_second(), membership.board_rows),
            pace_seconds=self._pace.seconds,
            now_ns=now_ns,
            now=datetime.now(UTC),
            gone=left_behind(everything, membership.board_rows),
            reload=read_report(self.run_directory / "reload.json"),
            backups=read_account(self.run_directory),
            channels=membership.channels,
            history=self.history,
        )

    def _read_roster(self, now_ns: int) -> Membership:
        path = self.run_directory / "roster.json"
        found = stamp(path)
        if self._membership is None or self._membership.stamp != found:
            roster = Roster.read(path)
            self._membership = Membership(
                stamp=found,
                roster=roster,
                index={member.sensor_id: number for number, member in enumerate(roster.members)},
                rates=np.array([member.rate for member in roster.members], dtype=np.float64),
                board_rows=np.array([member.row for member in roster.members], dtype=np.intp),
                channels=channels_of(roster.members),
                changed_ns=now_ns - max(time.time_ns() - found[1], 0),
            )
        return self._membership

    def _map_board(self, started_ns: int) -> Board:
        path = self.run_directory / "board"
        inode, _, size = stamp(path)
        found = (inode, 0, size)  # every store into the mapping may change the time
        if self._board is None or self._board[0] != found:
            board = Board(path, writable=False)
            self._board = (found, board)
            self._pace = Pace(started_ns, board.capacity)
        return self._board[1]


def stamp(path: Path) -> Stamp:
    """(inode, time of change in ns, size): differs when the file was replaced."""
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def picked(everything: npt.NDArray[Scalar], numbers: npt.NDArray[np.intp]) -> npt.NDArray[Scalar]:
    """The entries at `numbers`, zero where the board does not reach yet (the roster is a moment ahead of it)."""
    if np.array_equal(numbers, np.arange(len(everything))):
        return everything  # as in most fleets: spare the copy
    there = numbers < len(everything)
    if there.all():
        return everything[numbers]
    found = np.zeros(len(numbers), dtype=everything.dtype)
    found[there] = everything[numbers[there]]
    return found


def left_behind(everything: Rows, numbers: npt.NDArray[np.intp]) -> Rows:
    """The rows that somebody has written to, but for those at `numbers`."""
    used = everything["incarnation"] > 0
    used[numbers[numbers < len(used)]] = False
    return everything[used]

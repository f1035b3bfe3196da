"""The observation of a running fleet from outside: its roster, a copy of its scoreboard, and its status files.

Only files are read, so a stuck or dead process is observed as well as a live one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fleet.datadir.backups import BackupStatus, read_backup_status
from fleet.datadir.delivery_status import DeliveryStatus, read_delivery_status
from fleet.datadir.manifest import MAX_START_US
from fleet.datadir.reload_report import ReloadReport, read_report
from fleet.datadir.roster import Member, Roster
from fleet.errors import UserError
from fleet.monitoring.health import FleetState
from fleet.monitoring.history import History
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import MAX_CHANNELS, ROW_DTYPE, STATES, Rows, Scoreboard

MAX_CACHED_BODIES = 32
"""Answers kept for one observation; a client that asks for ever new pages of a list must not fill the memory."""

RATE_WINDOW_NS = 10_000_000_000
MIN_RATE_WINDOW_NS = 3_000_000_000
"""Workers commit once a second: over less than a few commits a rate means little."""

FIELD_LIMITS = {
    "state": (0, len(STATES) - 1),
    "anomaly": (-1, len(ANOMALY_TYPES) - 1),
    "timestamp_us": (0, MAX_START_US),
    "committed_at_us": (0, MAX_START_US),
}
"""The least and greatest valid value of fields of the scoreboard."""

FileVersion = tuple[int, int, int]
Scalar = TypeVar("Scalar", bound=np.generic)
Counts = npt.NDArray[np.int64]


class FleetUnavailable(Exception):
    """There is nothing to observe: no fleet has started here, or its files cannot be read. `str(error)` is one line."""


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


class FleetChannel(NamedTuple):
    """A channel of a fleet: a name with a unit. `key` is the name, or `name (unit)` if other sensors measure a channel of
    that name in another unit: values in different units are different quantities everywhere."""

    key: str
    name: str
    unit: str


class ChannelIndex(NamedTuple):
    """The channels of a fleet. `channels` are those that a sensor has, in order of appearance, `positions` the index of
    each, by its key, in the `values` of each sensor, -1 for none. `sets` are the keys of the channels that sensors have
    together, one set for each kind of sensor, and `set_numbers` is the set of each sensor."""

    channels: tuple[FleetChannel, ...]
    positions: dict[str, npt.NDArray[np.intp]]
    sets: tuple[tuple[str, ...], ...]
    set_numbers: npt.NDArray[np.intp]


def index_channels(members: Sequence[Member]) -> ChannelIndex:
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    set_numbers = np.array([numbers.setdefault(member.channels, len(numbers)) for member in members], dtype=np.intp)
    keys = channel_keys(list(dict.fromkeys(channel for channels in numbers for channel in channels[:MAX_CHANNELS])))
    positions = {
        key: np.array([channel_position(channels, channel) for channels in numbers], dtype=np.intp)[set_numbers]
        for channel, key in keys.items()
    }
    return ChannelIndex(
        channels=tuple(FleetChannel(key, *channel) for channel, key in keys.items()),
        positions=positions,
        sets=tuple(tuple(keys[channel] for channel in channels[:MAX_CHANNELS]) for channels in numbers),
        set_numbers=set_numbers,
    )


def channel_keys(channels: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the key of each (name, unit), which no other one has."""
    names = Counter(name for name, _ in channels)
    return {(name, unit): name if names[name] == 1 else f"{name} ({unit})" for name, unit in channels}


def channel_position(channels: tuple[tuple[str, str], ...], channel: tuple[str, str]) -> int:
    return channels.index(channel) if channel in channels[:MAX_CHANNELS] else -1


class RateMeter:
    """The rate at which each row writes readings, from counters recorded at a few moments. It begins at `started_ns`
    with nothing written.

    The answer depends on when counters were recorded, not on who asked before or how often. A row that was given to
    another sensor and begins again at zero counts as standing still.
    """

    def __init__(self, started_ns: int, rows: int) -> None:
        self._samples: deque[tuple[int, Counts]] = deque([(started_ns, np.zeros(rows, dtype=np.int64))])

    def record(self, now_ns: int, counts: Counts) -> None:
        """Add a sample, and drop samples older than the window once a newer one can serve."""
        self._samples.append((now_ns, counts.copy()))
        while now_ns - self._samples[0][0] > RATE_WINDOW_NS and now_ns - self._samples[1][0] >= MIN_RATE_WINDOW_NS:
            self._samples.popleft()

    def per_second(self) -> npt.NDArray[np.float64]:
        """Return the readings a second of each row between the oldest and the newest sample."""
        (then_ns, before), (now_ns, after) = self._samples[0], self._samples[-1]
        written: Counts = np.maximum(after - before, 0)
        return written / (max(now_ns - then_ns, 1) / 1e9)

    @property
    def seconds(self) -> float:
        """The time between the oldest and the newest sample."""
        return (self._samples[-1][0] - self._samples[0][0]) / 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Observation(FleetState):
    """A fleet at one moment. `measured_rates` (readings a second) are in the order of `roster.members`. `departed_rows`
    are the rows of sensors that have left the fleet in this run. `reload`, `backups` and `delivery` are None if there is no
    such file."""

    index: dict[str, int]
    measured_rates: npt.NDArray[np.float64]
    rate_window_seconds: float
    now: datetime
    departed_rows: Rows = field(default_factory=lambda: np.zeros(0, dtype=ROW_DTYPE))
    reload: ReloadReport | None = None
    backups: BackupStatus | None = None
    delivery: DeliveryStatus | None = None
    channels: ChannelIndex = field(default_factory=lambda: index_channels(()))
    history: History = field(default_factory=History)
    body_cache: BodyCache = field(default_factory=BodyCache)

    @property
    def all_rows(self) -> Rows:
        """The rows of all sensors that are or have been in the fleet in this run, so that no sum ever decreases."""
        return np.concatenate((self.rows, self.departed_rows)) if len(self.departed_rows) else self.rows

    @property
    def uptime(self) -> float:
        """Seconds since the fleet started."""
        return max(self.now_ns - self.roster.started_ns, 0) / 1e9


@dataclass(frozen=True, slots=True)
class RosterState:
    """The roster at its last reading, and everything that follows from it alone."""

    version: FileVersion
    roster: Roster
    index: dict[str, int]
    target_rates: npt.NDArray[np.float64]
    board_rows: npt.NDArray[np.intp]
    channels: ChannelIndex
    roster_changed_ns: int


class Observer:
    """Reads the files of `run_directory` at most once every `tick` seconds, for any number of threads."""

    def __init__(self, run_directory: Path, tick: float = 0.5, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.run_directory = run_directory
        self._tick_ns = int(tick * 1e9)
        self._clock = clock
        self._lock = threading.Lock()
        self._roster_state: RosterState | None = None
        self._scoreboard: tuple[tuple[int, int], Scoreboard, RateMeter] | None = None
        self._last: Observation | None = None
        self.history = History()

    def observe(self) -> Observation:
        """Return an observation that is at most one tick old. Raises FleetUnavailable."""
        with self._lock:
            now_ns = self._clock()
            if self._last is None or now_ns - self._last.now_ns >= self._tick_ns:
                self._last = None  # a fleet whose files are gone must not be served from memory
                self._last = self._read(now_ns)
                self.history.record(self._last)
            return self._last

    def _read(self, now_ns: int) -> Observation:
        try:
            roster_state = self._read_roster(now_ns)
            scoreboard, rate_meter = self._open_scoreboard(roster_state.roster.started_ns)
        except FileNotFoundError as error:
            raise FleetUnavailable(f"no fleet has started here: there is no {error.filename}") from error
        except UserError as error:
            raise FleetUnavailable(str(error)) from error
        except (OSError, ValueError) as error:
            raise FleetUnavailable(f"{self.run_directory} cannot be read: {type(error).__name__}: {error}") from error
        all_rows = limit_fields(scoreboard.snapshot())
        rate_meter.record(now_ns, all_rows["readings"])
        return Observation(
            roster=roster_state.roster,
            index=roster_state.index,
            target_rates=roster_state.target_rates,
            roster_changed_ns=roster_state.roster_changed_ns,
            rows=take_rows(all_rows, roster_state.board_rows),
            measured_rates=take_rows(rate_meter.per_second(), roster_state.board_rows),
            rate_window_seconds=rate_meter.seconds,
            now_ns=now_ns,
            now=datetime.now(UTC),
            departed_rows=find_departed_rows(all_rows, roster_state.board_rows),
            reload=read_report(self.run_directory / "reload.json"),
            backups=read_backup_status(self.run_directory),
            delivery=read_delivery_status(self.run_directory),
            channels=roster_state.channels,
            history=self.history,
        )

    def _read_roster(self, now_ns: int) -> RosterState:
        path = self.run_directory / "roster.json"
        version = file_version(path)
        if self._roster_state is None or self._roster_state.version != version:
            roster = Roster.read(path)
            self._roster_state = RosterState(
                version=version,
                roster=roster,
                index={member.sensor_id: number for number, member in enumerate(roster.members)},
                target_rates=np.array(roster.target_rates, dtype=np.float64),
                board_rows=np.array([member.row for member in roster.members], dtype=np.intp),
                channels=index_channels(roster.members),
                roster_changed_ns=now_ns - max(time.time_ns() - version[1], 0),
            )
        return self._roster_state

    def _open_scoreboard(self, started_ns: int) -> tuple[Scoreboard, RateMeter]:
        path = self.run_directory / "board"
        inode, _, size = file_version(path)  # every store into the mapping may change the time
        if self._scoreboard is None or self._scoreboard[0] != (inode, size):
            scoreboard = Scoreboard(path, writable=False)
            self._scoreboard = ((inode, size), scoreboard, RateMeter(started_ns, scoreboard.capacity))
        _, scoreboard, rate_meter = self._scoreboard
        return scoreboard, rate_meter


def limit_fields(rows: Rows) -> Rows:
    """Limit the fields that are looked up or shown as a time, in place: the scoreboard of an earlier run may be damaged."""
    for name, (least, greatest) in FIELD_LIMITS.items():
        np.clip(rows[name], least, greatest, out=rows[name])
    return rows


def file_version(path: Path) -> FileVersion:
    """Return (inode, modification time in ns, size), which differs once the file has been replaced."""
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def take_rows(all_rows: npt.NDArray[Scalar], numbers: npt.NDArray[np.intp]) -> npt.NDArray[Scalar]:
    """Return the rows at `numbers`, zero where the scoreboard does not reach yet: the roster is a moment ahead of it."""
    if np.array_equal(numbers, np.arange(len(all_rows))):
        return all_rows  # as in most fleets: spare the copy
    present = numbers < len(all_rows)
    if present.all():
        return all_rows[numbers]
    rows = np.zeros(len(numbers), dtype=all_rows.dtype)
    rows[present] = all_rows[numbers[present]]
    return rows


def find_departed_rows(all_rows: Rows, numbers: npt.NDArray[np.intp]) -> Rows:
    """Return the rows that a worker has written to, except those at `numbers`."""
    used = all_rows["incarnation"] > 0
    used[numbers[numbers < len(used)]] = False
    return all_rows[used]

"""One database checked, from its first row to its last, in short read transactions that no writer has to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import apsw

from fleet.storage.backups import is_backup
from fleet.storage.readings import Unreadable, connection
from fleet.verification.books import Books
from fleet.verification.chronicle import FAR, Chronicle, Row, Stretch
from fleet.verification.episode_check import Span, compare_episodes, strangers
from fleet.verification.findings import Finding, Ledger
from fleet.verification.row_scan import LOWEST, Scan
from fleet.verification.trail import Trail, difference
from worker.schedule import Schedule
from worker.schema import IDENTITY_COLUMNS, identity_values

TABLES = ("sensor_readings", "anomaly_episodes", "epochs", "checkpoints", "database_info")
HAS_TABLES = f"SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ({','.join('?' * len(TABLES))})"

PATIENCE_MS = 10_000
"""How long to wait for a lock."""

LEAST_ROWS, MOST_ROWS, ROWS_PER_SENSOR = 20_000, 200_000, 1_000
"""Rows that are read at once: enough for each sensor that blocks of its readings are worth computing."""

MOST_PLANS = 2_000
"""Sensors of one database whose compiled plans are kept."""

SLICE_SECONDS = 0.2
MOST_DAMAGES = 1_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What to check: one sensor or (None) all. `seed` is what every epoch must have, None if nobody knows."""

    sensor: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a sensor stands: its checkpoint and the schedule it is in, None if it has none that can be read."""

    next_seq: int
    schedule: Schedule | None


class Origin(NamedTuple):
    """A sensor's readings before `first_seq` are in the database `file`, which was rotated."""

    first_seq: int
    file: str


@dataclass(slots=True)
class Account:
    """What was found in one database. `skipped` says why there was nothing to check."""

    readings: int = 0
    episodes: int = 0
    sensors: dict[str, Standing] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    skipped: str | None = None


def audit(path: Path, scope: Scope, ledger: Ledger, told: Callable[[float], None]) -> Account:
    """Check the database at `path`; `told` hears the share that is done. Whatever is wrong goes into the ledger."""
    account = Account()
    try:
        with connection(path) as opened:
            opened.set_busy_timeout(PATIENCE_MS)
            found = {name for (name,) in opened.execute(HAS_TABLES, TABLES)}
            if not found - {"sensor_readings"}:
                account.skipped = "no database of a fleet"
            elif "database_info" in found and opened.execute("SELECT role FROM database_info").get == "central":
                account.skipped = "a central database"
            elif len(found) < len(TABLES):
                missing = ", ".join(name for name in TABLES if name not in found)
                ledger.note(Finding("unreadable", None, path.name, None, None, f"it has no table {missing}"))
            elif is_backup(path):
                account.skipped = "a backup"
            else:
                Audit(opened, path.name, scope, ledger, account).run(told)
    except Unreadable as error:
        reason = str(error).removeprefix(f"{path}: ")
        ledger.note(Finding("unreadable", None, path.name, None, None, reason))
    return account


class Audit:
    """One database under examination. Everything it reads in one snapshot is judged by that snapshot's checkpoints."""

    def __init__(self, opened: apsw.Connection, name: str, scope: Scope, ledger: Ledger, account: Account) -> None:
        self._connection, self._name, self._ledger, self._account = opened, name, ledger, account
        self._books = Books(self._note_sensor, scope.seed, scope.sensor)
        self._scan = Scan(opened, only=scope.sensor is not None)
        self._all = scope.sensor is None
        self._trails: dict[str, Trail] = {}

    def run(self, told: Callable[[float], None]) -> None:
        self._scan.look()
        self._account.origins = origins(self._connection)
        after: int | None = LOWEST
        damages = 0
        while after is not None:
            with snapshot(self._connection):
                self._read_books()
                size = self._scan.last_id() or 1
                after, damaged = self._check_rows(after)
                damages += damaged
                after = after if damages < MOST_DAMAGES else None
                if after is None:
                    self._finish_rows()
            told(1.0 if after is None else after / size)
        if self._trails or self._all:
            self._check_episodes()
        for sensor_id, next_seq in self._books.checkpoints.items():
            epoch = self._books.stretches[sensor_id][-1].epoch
            self._account.sensors[sensor_id] = Standing(next_seq, epoch.schedule if epoch else None)

    # Readings

    def _read_books(self) -> None:
        books = self._books
        changed = books.read(self._connection)
        for sensor_id in books.checkpoints:
            trail = self._trails.get(sensor_id)
            if trail is None:
                chronicle = self._chronicle(sensor_id, books.stretches[sensor_id])
                self._trails[sensor_id] = Trail(chronicle, partial(self._note, sensor_id), self._begin(sensor_id))
            elif changed:
                trail.chronicle = self._chronicle(sensor_id, books.stretches[sensor_id])

    def _begin(self, sensor_id: str) -> int:
        """The first reading of a sensor that is to be here."""
        origin = self._account.origins.get(sensor_id)
        return origin.first_seq if origin else 0

    def _chronicle(self, sensor_id: str, stretches: tuple[Stretch, ...]) -> Chronicle:
        return Chronicle(stretches, partial(self._books.tell, "epoch", sensor_id))

    def _check_rows(self, after: int) -> tuple[int | None, bool]:
        """Check a chunk. Returns the id after which to go on, None after the last, and whether there was damage."""
        trails = list(self._trails.items())
        if not trails and not self._all:
            return None, False
        asked = [self._identity(sensor_id, trail) for sensor_id, trail in trails]
        self._scan.ask(asked)
        limit = min(MOST_ROWS, max(LEAST_ROWS, len(trails) * ROWS_PER_SENSOR))
        rows, next_after, damage = self._scan.chunk(after, limit)
        self._account.readings += len(rows)
        if damage:
            self._ledger.note(Finding("unreadable", None, self._name, None, None, damage))
        if len(trails) == 1:
            self._follow(*trails[0], rows, asked[0], (1,))
        else:
            for number, some in by_number(rows).items():
                if number is None:
                    self._strangers(some)
                else:
                    self._follow(*trails[number], some, asked[number], (1, number))
        if len(trails) > MOST_PLANS:
            for _, trail in trails:
                trail.chronicle.forget()
        return next_after, damage is not None

    def _identity(self, sensor_id: str, trail: Trail) -> Row:
        """That of the readings to come."""
        epoch = trail.chronicle.stretch(trail.next).epoch
        return identity_values(epoch.identity) if epoch else (sensor_id, *[None] * (len(IDENTITY_COLUMNS) - 1))

    def _follow(self, sensor_id: str, trail: Trail, rows: list[Row], asked: Row, constants: tuple[int, ...]) -> None:
        trail.follow(rows, self._books.checkpoints[sensor_id], asked, constants, self._differing)

    def _differing(self, row_id: int, right: Row) -> str:
        found = self._scan.identity(row_id)
        pairs = zip(IDENTITY_COLUMNS, found, right, strict=True)
        return "; ".join(difference(name, value, must) for name, value, must in pairs if value != must)

    def _strangers(self, rows: list[Row]) -> None:
        for row in rows:
            sensor_id = None if self._ledger.full("stray") else str(self._scan.identity(row[0])[0])
            detail = f"row {row[0]} is of a sensor that has no checkpoint"
            self._ledger.note(Finding("stray", sensor_id, self._name, None, None, detail))

    def _finish_rows(self) -> None:
        for sensor_id, trail in self._trails.items():
            trail.finish(self._books.checkpoints[sensor_id])

    # Episodes

    def _check_episodes(self) -> None:
        waiting = [(sensor_id, LOWEST) for sensor_id in sorted(self._trails, reverse=True)]
        while waiting:
            with snapshot(self._connection):
                self._read_books()
                until = time.monotonic() + SLICE_SECONDS
                while waiting and time.monotonic() < until:
                    sensor_id, low = waiting.pop()
                    more = self._compare_episodes(sensor_id, low)
                    if more is not None:
                        waiting.append((sensor_id, more))
        if self._all:
            for sensor_id, detail in strangers(self._connection):
                self._note(sensor_id, "episode extra", None, None, detail)

    def _compare_episodes(self, sensor_id: str, low: int) -> int | None:
        chronicle, end = self._trails[sensor_id].chronicle, self._books.checkpoints[sensor_id]
        note = partial(self._note, sensor_id)
        span = Span(self._begin(sensor_id), end, min(end, self._trails[sensor_id].reach + FAR))
        looked_at, more = compare_episodes(self._connection, sensor_id, chronicle, low, span, note)
        self._account.episodes += looked_at
        if len(self._trails) > MOST_PLANS:
            chronicle.forget()
        return more

    # Findings

    def _note(self, sensor_id: str, kind: str, first: int | None, last: int | None, detail: str) -> None:
        self._ledger.note(Finding(kind, sensor_id, self._name, first, last, detail))

    def _note_sensor(self, kind: str, sensor_id: str, first_seq: int | None, detail: str) -> None:
        self._ledger.note(Finding(kind, sensor_id, self._name, first_seq, None, detail))


def origins(opened: apsw.Connection) -> dict[str, Origin]:
    """Where the readings before those of a database are; only one that follows on a rotated one has that on record."""
    if not opened.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'origins'").get:
        return {}
    found = opened.execute("SELECT sensor_id, first_seq, file FROM origins").fetchall()
    return {
        str(sensor): Origin(first, str(file)) for sensor, first, file in found if isinstance(first, int) and first > 0
    }


def by_number(rows: list[Row]) -> dict[int | None, list[Row]]:
    """Rows by what stands last in each."""
    buckets: dict[int | None, list[Row]] = {}
    for row in rows:
        number = row[-1]
        if number in buckets:
            buckets[number].append(row)
        else:
            buckets[number] = [row]
    return buckets


@contextmanager
def snapshot(opened: apsw.Connection) -> Iterator[None]:
    """A read transaction: everything in it sees the same state."""
    opened.execute("BEGIN")
    try:
        yield
    finally:
        if opened.in_transaction:
            opened.execute("COMMIT")  # of what went into temporary tables

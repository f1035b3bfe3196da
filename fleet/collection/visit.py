"""A visit to one database: what is new in it is handed over, batch by batch, and marked once it is safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import apsw

from fleet.collection.batch import NOTHING, Batch, Source
from fleet.collection.handover import Handover
from fleet.collection.history import Marks, News, news
from fleet.collection.leases import Leases
from fleet.collection.source_database import existing, first_id, harden, last_id, mark, next_ids, stored
from fleet.collection.sources import Skipped, examine
from fleet.collection.state import State
from fleet.collection.tally import Account, Tally
from fleet.collection.target import Failed, Target
from fleet.storage.beside import Beside, beside
from fleet.storage.readings import Unreadable, connection

NO_NEWS = News(NOTHING, NOTHING, {}, more=False)

LEAST = -(2**63)

BATCHES = 20
"""So many batches of one database, then it is the next one's turn."""


class Unacknowledged(Failed):
    """The target left readings out, without refusing them; they are delivered again at the next sweep."""


@dataclass(slots=True)
class Round:
    """What all visits share. `marking` is whether `synced` is set; else the place is kept apart."""

    target: Target
    state: State
    leases: Leases
    tally: Tally
    stop: threading.Event
    now: Callable[[], datetime]
    batch_size: int
    marking: bool
    patience_ms: int = 5_000
    """How long to wait for a database that somebody has locked."""

    retry_dead: bool = False
    """Whether readings that were given up are tried once more."""

    handover: Handover = field(init=False)
    places: dict[str, int] = field(default_factory=dict)
    """By source: up to which id everything is settled, as this process has seen."""

    retried: set[str] = field(default_factory=set)
    """The sources whose readings that were given up have been tried once more."""

    def __post_init__(self) -> None:
        self.handover = Handover(self.target)

    @contextmanager
    def door(self, path: Path) -> Iterator[Beside]:
        """A connection that can write, or where nothing is to be marked, one that cannot."""
        if self.marking:
            with beside(path) as opened:
                # A mark that a power failure undoes costs a second delivery, which the target notices.
                opened.connection.execute("PRAGMA synchronous = NORMAL")
                opened.connection.set_busy_timeout(self.patience_ms)
                yield opened
        else:
            with connection(path) as reading:
                yield Beside(path, reading, None)


class Passed(Exception):
    """A database is none of this collector's, now or ever. `str(error)` says why, and is empty where nobody need know."""


def visit(path: Path, name: str, round_: Round) -> bool:
    """Deliver what is new in a database. Returns whether there may be more. Raises Failed for a trouble with the target; one
    with the database is on the tally."""
    more = False
    try:
        with round_.door(path) as opened:
            source = swept(opened.connection, path, name, marking=round_.marking)
            with round_.leases.lease(path, source.key) as had:
                if not had:
                    raise Passed("another collector has it")
                more = Visit(opened, source, round_).run()
        round_.tally.settle(name)
    except Passed as reason:
        round_.tally.settle(name, skipped=str(reason) or None)
    except Unacknowledged as error:
        round_.tally.settle(name, error=str(error), kind="target")
    except Unreadable as error:
        round_.tally.settle(name, error=str(error).removeprefix(f"{path}: "))
    except OSError as error:
        round_.tally.settle(name, error=f"{error.strerror or error}: {error.filename or path}")
    return more


def swept(opened: apsw.Connection, path: Path, name: str, *, marking: bool) -> Source:
    """Raises Passed, or Unreadable for one that ought to be swept but cannot be."""
    found = examine(opened, path, name)
    if isinstance(found, Skipped):
        raise Passed(found.reason if found.worth_telling else "")
    if marking and "synced" not in found.columns:
        raise Unreadable(path, "its readings have no column synced: collect it with --cursor")
    if marking and opened.readonly("main"):
        raise Unreadable(path, "it is read-only, and nothing can be marked: collect it with --cursor and --state")
    return found


class Visit:
    """One database, open and leased."""

    def __init__(self, beside: Beside, source: Source, round_: Round) -> None:
        self._beside, self._opened = beside, beside.connection
        self._source, self._round = source, round_
        self._marks: Marks = round_.state.marks(source.key)
        self._dead = round_.state.dead(source.key)
        self._all_told = False

    def run(self) -> bool:
        place, until = self._place(), last_id(self._opened)
        if self._round.retry_dead and self._source.key not in self._round.retried:
            self._retry_dead()
        for _ in range(BATCHES):
            if self._round.stop.is_set():
                return True
            begun = time.monotonic()
            fresh = self._news()
            ids = self._next_ids(place, until)
            if not ids and not fresh.marks:
                self._move(place, until)
                return False
            try:
                self._deliver(ids, fresh, place)
            finally:
                self._round.tally.worked(self._source.name, time.monotonic() - begun)
            if ids:
                self._move(place, ids[-1])
                place = ids[-1]
        return True

    def _retry_dead(self) -> None:
        again = existing(self._opened, sorted(self._dead))
        self._dead = frozenset()
        for begin in range(0, len(again), self._round.batch_size):
            self._deliver(again[begin : begin + self._round.batch_size], NO_NEWS, None)
        self._round.retried.add(self._source.key)

    def _news(self) -> News:
        """What the target has not got of the history. All that is looked at afterwards is on disk from here on."""
        if self._all_told:
            return NO_NEWS
        fresh = news(self._opened, self._marks)
        harden(self._source.path)
        self._all_told = not fresh.more
        return fresh

    def _place(self) -> int:
        """The id up to which all is settled; of a database of which nothing is, below its first."""
        round_, key = self._round, self._source.key
        if round_.marking:
            kept: int | None = round_.places.get(key, 0)
        else:
            kept = round_.target.cursor(key)
            kept = round_.state.place(key) if kept is None else kept
        return kept or min(0, max(first_id(self._opened) - 1, LEAST))

    def _move(self, before: int, place: int) -> None:
        if place > before:
            if self._round.marking:
                self._round.places[self._source.key] = place
            else:
                self._round.state.move(self._source.key, place)

    def _next_ids(self, place: int, until: int) -> tuple[int, ...]:
        round_ = self._round
        return next_ids(self._opened, place, until, round_.batch_size, unsynced=round_.marking)

    def _deliver(self, ids: tuple[int, ...], fresh: News, place: int | None) -> None:
        """`place` is the id up to which all was settled, None if these are not the next ones after it."""
        round_, source = self._round, self._source
        alive = tuple(number for number in ids if number not in self._dead) if self._dead else ids
        batch = Batch(source, stored(self._opened, source, alive), fresh.episodes, fresh.epochs)
        round_.tally.add(Account(source.name, left=len(batch.ids)))
        receipt = round_.handover.deliver(batch, doubtful=place is None)
        if receipt.rejected:
            round_.state.bury(batch, receipt.rejected, round_.now())
            self._dead |= receipt.rejected.keys()
        if round_.retry_dead:
            round_.state.exhume(source.key, receipt.accepted)
        if round_.marking:
            with self._beside.in_place():
                mark(self._opened, receipt.accepted)
        left = [number for number in batch.ids if number not in receipt.accepted and number not in receipt.rejected]
        account = Account(
            source.name,
            left=len(left),
            delivered=len(receipt.accepted),
            duplicates=receipt.duplicates,
            dead=len(receipt.rejected),
            episodes=len(fresh.episodes.rows) if round_.handover.history_taken else 0,
            last_us=round(round_.now().timestamp() * 1e6) if receipt.accepted else 0,
        )
        round_.tally.add(account)
        if fresh.marks and round_.handover.history_taken:
            round_.state.set_marks(source.key, fresh.marks)
            self._marks |= fresh.marks
        if left:
            if place is not None:
                self._move(place, left[0] - 1)
            raise Unacknowledged(f"{round_.target.name} did not acknowledge {len(left)} of {len(batch.ids)} readings")

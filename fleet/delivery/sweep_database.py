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

from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.datadir.shared_connection import SharedConnection, shared_connection
from fleet.delivery.batch import NO_ROWS, Batch, SourceDatabase
from fleet.delivery.bisecting_delivery import BisectingDelivery
from fleet.delivery.history import NewHistory, Watermarks, new_history
from fleet.delivery.leases import Leases
from fleet.delivery.source_database import (
    existing_ids,
    first_id,
    last_id,
    mark_synced,
    next_ids,
    stored_rows,
    sync_wal,
)
from fleet.delivery.sources import Skipped, identify_source
from fleet.delivery.state import CollectorState
from fleet.delivery.stats import CollectorStats, DatabaseStats
from fleet.delivery.target import DeliveryFailed, Target

NO_NEW_HISTORY = NewHistory(NO_ROWS, NO_ROWS, {}, more=False)

MIN_ROWID = -(2**63)

MAX_BATCHES_PER_TURN = 20
"""So many batches of one database, then it is the next one's turn."""


class PartiallyAcknowledged(DeliveryFailed):
    """The target left readings out, without refusing them; they are delivered again at the next sweep."""


@dataclass(slots=True)
class SweepContext:
    """What all visits share. `marking` is whether `synced` is set; else the settled_id is kept apart."""

    target: Target
    state: CollectorState
    leases: Leases
    stats: CollectorStats
    stop: threading.Event
    now: Callable[[], datetime]
    batch_size: int
    marking: bool
    busy_timeout_ms: int = 5_000
    """How long to wait for a database that somebody has locked."""

    retry_dead: bool = False
    """Whether readings that were given up are tried once more."""

    delivery: BisectingDelivery = field(init=False)
    settled_ids: dict[str, int] = field(default_factory=dict)
    """By source: up to which id everything is settled, as this process has seen."""

    retried: set[str] = field(default_factory=set)
    """The sources whose readings that were given up have been tried once more."""

    def __post_init__(self) -> None:
        self.delivery = BisectingDelivery(self.target)

    @contextmanager
    def open_database(self, path: Path) -> Iterator[SharedConnection]:
        """A connection that can write, or where nothing is to be marked, one that cannot."""
        if self.marking:
            with shared_connection(path) as opened:
                # A mark that a power failure undoes costs a second delivery, which the target notices.
                opened.connection.execute("PRAGMA synchronous = NORMAL")
                opened.connection.set_busy_timeout(self.busy_timeout_ms)
                yield opened
        else:
            with read_only_connection(path) as reading:
                yield SharedConnection(path, reading, None)


class DatabaseSkipped(Exception):
    """A database is none of this collector's, now or ever. `str(error)` says why, and is empty where nobody need know."""


def sweep_database(path: Path, name: str, context: SweepContext) -> bool:
    """Deliver what is new in a database. Returns whether there may be more. Raises DeliveryFailed for a trouble with the target; one
    with the database is on the stats."""
    more = False
    try:
        with context.open_database(path) as opened:
            source = source_to_sweep(opened.connection, path, name, marking=context.marking)
            with context.leases.lease(path, source.key) as had:
                if not had:
                    raise DatabaseSkipped("another collector has it")
                more = DatabaseSweep(opened, source, context).run()
        context.stats.record_outcome(name)
    except DatabaseSkipped as reason:
        context.stats.record_outcome(name, skipped=str(reason) or None)
    except PartiallyAcknowledged as error:
        context.stats.record_outcome(name, error=str(error), kind="target")
    except DatabaseUnreadable as error:
        context.stats.record_outcome(name, error=str(error).removeprefix(f"{path}: "))
    except OSError as error:
        context.stats.record_outcome(name, error=f"{error.strerror or error}: {error.filename or path}")
    return more


def source_to_sweep(opened: apsw.Connection, path: Path, name: str, *, marking: bool) -> SourceDatabase:
    """Raises DatabaseSkipped, or DatabaseUnreadable for one that ought to be swept but cannot be."""
    found = identify_source(opened, path, name)
    if isinstance(found, Skipped):
        raise DatabaseSkipped(found.reason if found.reportable else "")
    if marking and "synced" not in found.columns:
        raise DatabaseUnreadable(path, "its readings have no column synced: collect it with --cursor")
    if marking and opened.readonly("main"):
        raise DatabaseUnreadable(
            path, "it is read-only, and nothing can be marked: collect it with --cursor and --state"
        )
    return found


class DatabaseSweep:
    """One database, open and leased."""

    def __init__(self, shared: SharedConnection, source: SourceDatabase, context: SweepContext) -> None:
        self._shared, self._opened = shared, shared.connection
        self._source, self._context = source, context
        self._watermarks: Watermarks = context.state.watermarks(source.key)
        self._dead = context.state.dead_letter_ids(source.key)
        self._history_complete = False

    def run(self) -> bool:
        settled_id, until = self._settled_id(), last_id(self._opened)
        if self._context.retry_dead and self._source.key not in self._context.retried:
            self._retry_dead()
        for _ in range(MAX_BATCHES_PER_TURN):
            if self._context.stop.is_set():
                return True
            begun = time.monotonic()
            fresh = self._new_history()
            ids = self._next_ids(settled_id, until)
            if not ids and not fresh.watermarks:
                self._advance(settled_id, until)
                return False
            try:
                self._deliver(ids, fresh, settled_id)
            finally:
                self._context.stats.add_seconds(self._source.name, time.monotonic() - begun)
            if ids:
                self._advance(settled_id, ids[-1])
                settled_id = ids[-1]
        return True

    def _retry_dead(self) -> None:
        again = existing_ids(self._opened, sorted(self._dead))
        self._dead = frozenset()
        for begin in range(0, len(again), self._context.batch_size):
            self._deliver(again[begin : begin + self._context.batch_size], NO_NEW_HISTORY, None)
        self._context.retried.add(self._source.key)

    def _new_history(self) -> NewHistory:
        """What the target has not got of the history. All that is looked at afterwards is on disk from here on."""
        if self._history_complete:
            return NO_NEW_HISTORY
        fresh = new_history(self._opened, self._watermarks)
        sync_wal(self._source.path)
        self._history_complete = not fresh.more
        return fresh

    def _settled_id(self) -> int:
        """The id up to which all is settled; of a database of which nothing is, below its first."""
        context, key = self._context, self._source.key
        if context.marking:
            kept: int | None = context.settled_ids.get(key, 0)
        else:
            kept = context.target.cursor(key)
            kept = context.state.cursor(key) if kept is None else kept
        return kept or min(0, max(first_id(self._opened) - 1, MIN_ROWID))

    def _advance(self, before: int, settled_id: int) -> None:
        if settled_id > before:
            if self._context.marking:
                self._context.settled_ids[self._source.key] = settled_id
            else:
                self._context.state.advance_cursor(self._source.key, settled_id)

    def _next_ids(self, settled_id: int, until: int) -> tuple[int, ...]:
        context = self._context
        return next_ids(self._opened, settled_id, until, context.batch_size, unsynced=context.marking)

    def _deliver(self, ids: tuple[int, ...], fresh: NewHistory, settled_id: int | None) -> None:
        """`settled_id` is the id up to which all was settled, None if these are not the next ones after it."""
        context, source = self._context, self._source
        alive = tuple(number for number in ids if number not in self._dead) if self._dead else ids
        batch = Batch(source, stored_rows(self._opened, source, alive), fresh.episodes, fresh.epochs)
        context.stats.add(DatabaseStats(source.name, left=len(batch.ids)))
        receipt = context.delivery.deliver(batch, retrying_dead_letters=settled_id is None)
        if receipt.rejected:
            context.state.add_dead_letters(batch, receipt.rejected, context.now())
            self._dead |= receipt.rejected.keys()
        if context.retry_dead:
            context.state.remove_dead_letters(source.key, receipt.accepted)
        if context.marking:
            with self._shared.hold_in_place():
                mark_synced(self._opened, receipt.accepted)
        left = [number for number in batch.ids if number not in receipt.accepted and number not in receipt.rejected]
        database = DatabaseStats(
            source.name,
            left=len(left),
            delivered=len(receipt.accepted),
            duplicates=receipt.duplicates,
            dead=len(receipt.rejected),
            episodes=len(fresh.episodes.rows) if context.delivery.history_accepted else 0,
            last_us=round(context.now().timestamp() * 1e6) if receipt.accepted else 0,
        )
        context.stats.add(database)
        if fresh.watermarks and context.delivery.history_accepted:
            context.state.set_watermarks(source.key, fresh.watermarks)
            self._watermarks |= fresh.watermarks
        if left:
            if settled_id is not None:
                self._advance(settled_id, left[0] - 1)
            raise PartiallyAcknowledged(
                f"{context.target.name} did not acknowledge {len(left)} of {len(batch.ids)} readings"
            )

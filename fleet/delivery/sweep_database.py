"""The sweep of one database: new readings are delivered batch by batch, and marked once the target has stored them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import apsw

from fleet.datadir.computed_readings import add_computed_readings
from fleet.datadir.readings import DatabaseUnreadable, path_exists, read_only_connection
from fleet.datadir.shared_connection import SharedConnection, shared_connection
from fleet.delivery.batch import NO_ROWS, Batch, Row, SourceDatabase
from fleet.delivery.bisecting_delivery import BisectingDelivery
from fleet.delivery.history import NewHistory, Watermarks, new_history
from fleet.delivery.json_documents import without_readings
from fleet.delivery.leases import Leases
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.selection import Selection
from fleet.delivery.source_database import (
    existing_ids,
    id_bounds,
    mark_synced,
    marked_readings,
    next_ids,
    stored_rows,
    sync_wal,
)
from fleet.delivery.sources import Skipped, identify_source, undeliverable_readings, with_current_columns
from fleet.delivery.state import CollectorState
from fleet.delivery.stats import CollectorStats, DatabaseStats
from fleet.delivery.target import SourceFailed, Target
from fleet.verify.row_scan import MIN_ROW_ID
from worker.storage.rotation import ROTATED_SUFFIX
from worker.storage.schema import stores_readings

NO_NEW_HISTORY = NewHistory(NO_ROWS, NO_ROWS, {}, more=False)

MAX_BATCHES_PER_TURN = 20
"""Batches of one database before the next database has its turn."""

SOURCE_BUSY_TIMEOUT_MS = 5_000
"""The wait for a database that another process has locked."""


class PartiallyAcknowledged(SourceFailed):
    """The target neither accepted nor rejected some readings; they are delivered again at the next sweep."""


@dataclass(slots=True)
class SweepContext:
    """The configuration and state that the sweeps of all databases share.

    With `marking`, delivered readings are marked in the column `synced`; without it, the target or the collector's state
    keeps a cursor. A reading is settled once it is delivered or given up.
    """

    target: Target
    state: CollectorState
    leases: Leases
    stats: CollectorStats
    stop: threading.Event
    now: Callable[[], datetime]
    batch_size: int
    marking: bool
    busy_timeout_ms: int = SOURCE_BUSY_TIMEOUT_MS

    retry_dead: bool = False
    """Deliver readings that were given up once more."""

    record: Record = ROW
    """The shape of the readings in the target. One that cannot have it is given up."""

    selection: Selection | None = None
    """The readings for the target; others are settled without it. None: all."""

    delivery: BisectingDelivery = field(init=False)
    settled_ids: dict[str, int] = field(default_factory=dict)
    """The id by source key up to which all readings are settled, as far as this process has seen."""

    swept_paths: dict[str, Path] = field(default_factory=dict)
    """The paths of the databases in `settled_ids`."""

    passed_over: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Two ids by source key: of the readings above the first, up to the second, the target gets none, so that its cursor stays
    at the first."""

    retried: set[str] = field(default_factory=set)
    """The keys of sources whose dead letters have been retried."""

    def __post_init__(self) -> None:
        self.delivery = BisectingDelivery(self.target)

    @contextmanager
    def open_database(self, path: Path) -> Iterator[SharedConnection]:
        """Open a database for writing, or read-only without `marking`."""
        if self.marking:
            with shared_connection(path) as opened:
                # A power failure may undo a mark. The reading is then delivered twice, which the target recognises.
                opened.connection.execute("PRAGMA synchronous = NORMAL")
                opened.connection.set_busy_timeout(self.busy_timeout_ms)
                yield opened
        else:
            with read_only_connection(path, held=True) as reading:
                yield SharedConnection(path, reading, None, add_computed_readings(reading))


class DatabaseSkipped(Exception):
    """The database is not swept. `str(error)` is the reason, empty if it need not be reported."""


def sweep_database(path: Path, name: str, context: SweepContext) -> bool:
    """Deliver the new readings of a database; returns True if there may be more.

    Raises DeliveryFailed for an error of the target; an error of the database is recorded in the stats.
    """
    more = False
    try:
        with context.open_database(path) as opened:
            source = source_to_sweep(opened.connection, path, name, marking=context.marking)
            with context.leases.lease(path, source.key) as acquired:
                if not acquired:
                    raise DatabaseSkipped("another collector has it")
                more = DatabaseSweep(opened, source, context).run()
            remaining = undeliverable_readings(opened.connection)
        context.stats.record_outcome(name, error=remaining or None)
    except DatabaseSkipped as reason:
        context.stats.record_outcome(name, skipped=str(reason) or None)
    except SourceFailed as error:
        context.stats.add_retry()
        context.stats.record_outcome(name, error=str(error), kind="target")
    except DatabaseUnreadable as error:
        # A rotated database that is old is removed once all targets have it.
        removed = ROTATED_SUFFIX.search(path.stem) and not path_exists(path)
        context.stats.record_outcome(name, error=None if removed else str(error).removeprefix(f"{path}: "))
    except OSError as error:
        context.stats.record_outcome(name, error=f"{error.strerror or error}: {error.filename or path}")
    return more


def source_to_sweep(opened: apsw.Connection, path: Path, name: str, *, marking: bool) -> SourceDatabase:
    """Identify a database. Raises DatabaseSkipped, or DatabaseUnreadable if it should be swept but cannot be."""
    source = identify_source(opened, path, name)
    if isinstance(source, Skipped):
        raise DatabaseSkipped(source.reason if source.reportable else "")
    if marking and not stores_readings(opened):
        raise DatabaseUnreadable(path, "it stores no readings, and none can be marked: collect it with --cursor")
    if marking and "synced" not in source.columns:
        raise DatabaseUnreadable(path, "its readings have no column synced: collect it with --cursor")
    if marking and opened.readonly("main"):
        raise DatabaseUnreadable(
            path, "it is read-only, and nothing can be marked: collect it with --cursor and --state"
        )
    return source


class DatabaseSweep:
    """The sweep of one database that is open and leased."""

    def __init__(self, shared: SharedConnection, source: SourceDatabase, context: SweepContext) -> None:
        self._shared, self._opened = shared, shared.connection
        self._source, self._context = source, context
        self._watermarks: Watermarks = context.state.watermarks(source.key)
        self._dead = context.state.dead_letter_ids(source.key)
        self._history_complete = False
        self._first_sweep = (
            context.marking and source.key not in context.settled_ids and not context.state.is_swept(source.key)
        )

    def run(self) -> bool:
        """Deliver up to MAX_BATCHES_PER_TURN batches; returns True if there may be more."""
        settled_id, (_, until) = self._settled_id(), id_bounds(self._opened)
        if not self._context.marking:
            self._note_settled(settled_id)
        # After the last id: a reading and the columns that its kind needs come in one transaction.
        self._source = with_current_columns(self._opened, self._source)
        if self._first_sweep:
            self._note_marks_of_others()
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

    def _note_marks_of_others(self) -> None:
        """Note the readings that were marked before any sweep to this target: another collector may have them."""
        if count := marked_readings(self._opened):
            self._context.stats.add_note(
                self._source.name,
                f"{count:,} of its readings were marked as delivered before the first sweep to {self._context.target.name}: "
                "they are not delivered to it (--cursor delivers all, whatever is marked)",
            )

    def _retry_dead(self) -> None:
        ids = existing_ids(self._opened, sorted(self._dead))
        self._dead = frozenset()
        for begin in range(0, len(ids), self._context.batch_size):
            self._deliver(ids[begin : begin + self._context.batch_size], NO_NEW_HISTORY, None)
        self._context.retried.add(self._source.key)

    def _new_history(self) -> NewHistory:
        """Read the history that the target lacks, and flush the database to disk, so that all rows read next are on disk."""
        if self._history_complete:
            return NO_NEW_HISTORY
        fresh = new_history(self._opened, self._watermarks)
        sync_wal(self._source.path)
        self._history_complete = not fresh.more
        return fresh

    def _settled_id(self) -> int:
        """The id up to which all readings are settled; below the first id if none are."""
        context, key = self._context, self._source.key
        if context.marking:
            settled_id: int | None = context.settled_ids.get(key, 0)
        else:
            settled_id = context.target.cursor(key)
            settled_id = context.state.cursor(key) if settled_id is None else settled_id
            after, passed = context.passed_over.get(key, (settled_id, settled_id))
            settled_id = passed if after == settled_id else settled_id
        first, _ = id_bounds(self._opened)
        return settled_id or min(0, max(first - 1, MIN_ROW_ID))

    def _advance(self, before: int, settled_id: int) -> None:
        context, key = self._context, self._source.key
        if settled_id > before:
            if not context.marking:
                context.state.advance_cursor(key, settled_id)
            self._note_settled(settled_id)

    def _note_settled(self, settled_id: int) -> None:
        context, key = self._context, self._source.key
        context.settled_ids[key], context.swept_paths[key] = settled_id, self._source.path

    def _next_ids(self, settled_id: int, until: int) -> tuple[int, ...]:
        context = self._context
        return next_ids(self._opened, settled_id, until, context.batch_size, unsynced=context.marking)

    def _rows(self, ids: tuple[int, ...]) -> Sequence[Row]:
        computed = self._shared.computed
        return stored_rows(self._opened, self._source, ids) if computed is None else computed.rows_of(ids)

    def _deliver(self, ids: tuple[int, ...], fresh: NewHistory, settled_id: int | None) -> None:
        """Deliver the readings with these ids. `settled_id` is the id below them up to which all are settled, None for retries."""
        context, source = self._context, self._source
        alive = tuple(number for number in ids if number not in self._dead) if self._dead else ids
        # Where readings are marked, others may have marked some that never arrive here.
        settles = None if context.marking or settled_id is None or not ids else ids[-1]
        batch = Batch(source, self._rows(alive), fresh.episodes, fresh.epochs, settles)
        if context.selection is not None:
            batch = context.selection.part_of(batch)
        context.stats.add(DatabaseStats(source.name, left=len(batch.ids)))
        unfit = context.record.unfit(batch)
        fit = without_readings(batch, unfit) if unfit else batch
        self._note_passed_over(bool(fit.ids), ids, settled_id)
        receipt = context.delivery.deliver(fit, retrying_dead_letters=settled_id is None)
        receipt = replace(receipt, rejected={**unfit, **receipt.rejected})
        if receipt.note:
            context.stats.add_note(source.name, receipt.note)
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
        if self._first_sweep and receipt.accepted:
            context.state.add_sweep(source.key)
            self._first_sweep = False
        if fresh.watermarks and context.delivery.history_accepted:
            context.state.set_watermarks(source.key, fresh.watermarks)
            self._watermarks |= fresh.watermarks
        if left:
            if settled_id is not None:
                self._advance(settled_id, left[0] - 1)
            raise PartiallyAcknowledged(
                f"{context.target.name} did not acknowledge {len(left)} of {len(batch.ids)} readings"
                + (f": {receipt.doubt}" if receipt.doubt else "")
            )

    def _note_passed_over(self, delivered: bool, ids: tuple[int, ...], settled_id: int | None) -> None:
        passed_over, key = self._context.passed_over, self._source.key
        if delivered or settled_id is None:
            passed_over.pop(key, None)
        elif ids:
            passed_over[key] = passed_over.get(key, (settled_id, 0))[0], ids[-1]

"""Delivery while a fleet runs: the body of its delivery process.

Each target has a thread, a collector and cursors of its own, so that one that is down or slow holds up no other. A reading is
marked as delivered (`synced`) once all targets have it.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from fleet.config.delivery import Delivery, DeliveryTarget
from fleet.config.delivery_faults import FAULTY_SCHEMES
from fleet.datadir.delivery_status import DeliveryStatus, TargetStatus
from fleet.datadir.readings import DatabaseUnreadable
from fleet.datadir.shared_connection import shared_connection
from fleet.delivery.collector import Collector
from fleet.delivery.faults.fault_record import FAULT_FILE
from fleet.delivery.faults.faulty_target import FaultyTarget, open_faulty_target
from fleet.delivery.leases import Leases
from fleet.delivery.records.registry import record_for
from fleet.delivery.selection import Selection
from fleet.delivery.source_database import mark_synced, next_ids
from fleet.delivery.state import STATE_FOLDER, CollectorState
from fleet.delivery.stats import CollectorStats
from fleet.delivery.sweep_database import SweepContext
from fleet.delivery.target import DeliveryFailed
from fleet.delivery.targets.registry import TargetOptions, open_target, utc_now
from fleet.errors import UserError

log = logging.getLogger("delivery")

STATUS_INTERVAL_SECONDS = 1.0
THREADS_PER_TARGET = 2
RETRY_SECONDS = 2.0
"""Seconds for which a failed delivery is tried again, before it is reported and left to the next sweep."""

IDS_PER_MARKING = 10_000
STOP_SECONDS = 2.0
"""Seconds in which a batch that is on its way may end after the time for the rest is over."""


@dataclass(frozen=True, slots=True)
class LiveDelivery:
    """The delivery of the readings in the databases below `databases`, as the config says. `status_file` is kept up to date.
    Faults on the way to the targets follow from `seed`."""

    config: Delivery
    databases: Path
    status_file: Path
    seed: int

    def run(self, lifeline: socket.socket) -> int:
        """Deliver until the lifeline closes, which it does when all workers have ended, and then what is left."""
        released, stop = threading.Event(), threading.Event()
        deliveries = [TargetDelivery(target, self, released, stop) for target in self.config.to]
        marks = Marks([delivery.context for delivery in deliveries])
        threads = [threading.Thread(target=delivery.run, daemon=True) for delivery in deliveries]
        for thread in threads:
            thread.start()
        poll = select.poll()
        poll.register(lifeline, select.POLLIN)
        while not poll.poll(STATUS_INTERVAL_SECONDS * 1000):
            marks.update()
            self._write_status(deliveries)
            if not all(thread.is_alive() for thread in threads):
                return 1  # a bug, whose traceback is printed; the supervisor starts another process
        released.set()
        end = time.monotonic() + self.config.drain_seconds
        while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join(max(0.0, end + STOP_SECONDS - time.monotonic()))
        marks.update()
        self._write_status(deliveries)
        return 0

    def _write_status(self, deliveries: Sequence[TargetDelivery]) -> None:
        try:
            DeliveryStatus(tuple(delivery.status() for delivery in deliveries)).write(self.status_file)
        except OSError as error:
            log.error("%s is not written: %s", self.status_file, error)


class TargetDelivery:
    """The delivery to one target. `run` is the body of its thread."""

    def __init__(
        self, target: DeliveryTarget, delivery: LiveDelivery, released: threading.Event, stop: threading.Event
    ) -> None:
        """UserError if the target cannot work."""
        self._released, self._stop = released, stop
        self._interval, faults = target.interval or delivery.config.interval, delivery.config.faults
        folder = delivery.databases / STATE_FOLDER
        options = TargetOptions(
            record=record_for(target.to, target.record, delivery.databases, delivery.config.records),
            stop=stop,
            retry_seconds=RETRY_SECONDS,
            folder=folder,
        )
        # Readings that an earlier process has held back are sent also without faults.
        faulty = faults.any or (target.to.startswith(FAULTY_SCHEMES) and (folder / FAULT_FILE).exists())
        self._faulty = open_faulty_target(target.to, options, faults, delivery.seed, folder) if faulty else None
        self._target = self._faulty or open_target(target.to, options)
        state = CollectorState(folder, self._target.name)
        self._stats = CollectorStats()
        self.context = SweepContext(
            self._target,
            state,
            Leases(folder, self._target.name),
            self._stats,
            stop,
            utc_now,
            target.batch_size or delivery.config.batch_size,
            marking=False,
            record=options.record,
            selection=selection_of(target),
        )
        self._collector = Collector(delivery.databases, self.context, THREADS_PER_TARGET)
        self._errors: frozenset[str] = frozenset()
        self._complete = False

    def run(self) -> None:
        """Sweep until the fleet has ended and nothing is left, or until there is no more time."""
        while not self._stop.is_set():
            last = self._released.is_set()
            try:
                self._collector.sweep()
            except OSError as error:  # the data directory is gone
                log.error("%s: %s", self._target.name, error)
            self._send_held(everything=last and not self._stats.failing())
            self._log_errors()
            if last and not self._stats.failing() and not self._stop.is_set():
                self._collector.finish()
                self._complete = not self._stats.failing()
                if self._complete:
                    break
            self._released.wait(self._interval)
            if self._released.is_set() and self._stats.failing():
                self._stop.wait(self._interval)
        self._target.close()

    def _send_held(self, *, everything: bool) -> None:
        """Send what faults have held back. A failure is one of the target, as in a sweep."""
        if self._faulty is not None:
            error = None
            try:
                self._faulty.send_held(everything=everything)
            except DeliveryFailed as failure:
                error = str(failure)
            self._stats.record_outcome("readings held by faults", error=error, kind="target")

    def status(self) -> TargetStatus:
        totals, failing = self._stats.totals(), self._stats.failing()
        last_at = totals.last_us / 1e6 if totals.last_us else None
        error = failing[0].error if failing else None
        return TargetStatus(
            self._target.name, totals.delivered, totals.duplicates, totals.dead, last_at, error, self._complete
        )

    def _log_errors(self) -> None:
        """Log errors when they begin, and when all is well again."""
        errors = frozenset(database.error or "" for database in self._stats.failing())
        for error in sorted(errors - self._errors):
            log.error("%s: %s", self._target.name, error)
        if self._errors and not errors:
            log.info("%s: well again", self._target.name)
        self._errors = errors


def selection_of(target: DeliveryTarget) -> Selection | None:
    stated = target.select.model_dump(exclude_none=True)
    return Selection(**stated) if stated else None


class Marks:
    """The marks in the databases: readings up to the lowest cursor of all targets, without those that one has refused."""

    def __init__(self, contexts: Sequence[SweepContext]) -> None:
        self._contexts = contexts
        self._marked: dict[str, int] = {}

    def update(self) -> None:
        """Mark what all targets have by now. A database that is busy or has gone is marked the next time."""
        first, *others = self._contexts
        for source, path in list(first.swept_paths.items()):
            settled = min(settled_id(context, source) for context in (first, *others))
            if settled > self._marked.get(source, 0):
                with suppress(DatabaseUnreadable, DeliveryFailed, apsw.Error, OSError):
                    self._mark(source, path, settled)
                    self._marked[source] = settled

    def _mark(self, source: str, path: Path, settled: int) -> None:
        refused = {number for context in self._contexts for number in context.state.dead_letter_ids(source)}
        with shared_connection(path) as shared:
            after = self._marked.get(source, 0)
            while ids := next_ids(shared.connection, after, settled, IDS_PER_MARKING, unsynced=True):
                with shared.hold_in_place():
                    mark_synced(shared.connection, [number for number in ids if number not in refused])
                after = ids[-1]


def settled_id(context: SweepContext, source: str) -> int:
    """Return the id up to which the target has everything: below the first reading that a fault holds back."""
    settled = context.settled_ids.get(source, 0)
    held = context.target.first_held_id(source) if isinstance(context.target, FaultyTarget) else None
    return settled if held is None else min(settled, held - 1)


def check_targets(config: Delivery) -> None:
    """UserError if a target cannot work, or is named twice."""
    names = []
    for each in config.to:
        target = open_target(each.to, TargetOptions(record=record_for(each.to, each.record, own=config.records)))
        names.append(target.name)
        target.close()
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"--to: {twice} is named twice")

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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import numpy as np
import numpy.typing as npt

from fleet.config.delivery import Delivery, DeliveryTarget
from fleet.config.delivery_faults import FAULTY_SCHEMES
from fleet.datadir.delivery_status import DeliveryStatus, TargetStatus, read_delivery_status
from fleet.datadir.interventions import INTERVENTIONS_FILE
from fleet.datadir.readings import DatabaseUnreadable
from fleet.datadir.shared_connection import shared_connection
from fleet.delivery.backlog import Backlog, SourceIds, StoredIds
from fleet.delivery.collector import Collector
from fleet.delivery.faults.faulty_target import FaultyTarget, open_faulty_target
from fleet.delivery.faults.injected import InjectedFaults
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
from fleet.monitoring.observation import RateMeter
from worker.storage.connection import Transaction
from worker.storage.retention import HAS_TABLE, Delivered, write_delivered
from worker.storage.schema import stores_readings

log = logging.getLogger("delivery")

STATUS_INTERVAL_SECONDS = 1.0
THREADS_PER_TARGET = 2
RETRY_SECONDS = 2.0
"""Seconds for which a failed delivery is tried again, before it is reported and left to the next sweep."""

OPENING = "its opening"
"""The name under which an error of opening a target is among those of the databases."""

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
        before = self._earlier_status()
        deliveries = [TargetDelivery(target, self, released, stop, before) for target in self.config.to]
        report = StatusReport(self, deliveries, before)
        marks = Marks(deliveries, self.config.digest)
        threads = [threading.Thread(target=delivery.run, daemon=True) for delivery in deliveries]
        for thread in threads:
            thread.start()
        poll = select.poll()
        poll.register(lifeline, select.POLLIN)
        while not poll.poll(STATUS_INTERVAL_SECONDS * 1000):
            marks.update()
            report.write()
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
        report.write()
        return 0

    def injected_faults(self) -> InjectedFaults:
        """The faults that an operator injects, in the file beside that of the status."""
        return InjectedFaults(self.status_file.with_name(INTERVENTIONS_FILE), self.seed)

    def _earlier_status(self) -> Mapping[str, TargetStatus]:
        """The targets by name, as an earlier process of this run has left them; its counts go on."""
        status = read_delivery_status(self.status_file.parent)
        return {target.name: target for target in status.targets} if status else {}


class TargetDelivery:
    """The delivery to one target. `run` is the body of its thread, and opens the target: one that cannot be opened at present, as
    its folder has gone, holds up no other."""

    context: SweepContext
    """That of the sweeps, once the target `is_open`."""

    def __init__(
        self,
        target: DeliveryTarget,
        delivery: LiveDelivery,
        released: threading.Event,
        stop: threading.Event,
        before: Mapping[str, TargetStatus],
    ) -> None:
        self._options, self._delivery, self._earlier = target, delivery, before
        self._released, self._stop = released, stop
        self._interval = target.interval or delivery.config.interval
        self._stats = CollectorStats()
        self._errors: frozenset[str] = frozenset()
        self._error = LastError(TargetStatus(target.to))
        self._complete = False
        self._backlog = Backlog()
        self._records: CollectorState | None = None
        self.is_open = False

    def run(self) -> None:
        """Sweep until the fleet has ended and nothing is left, or until there is no more time."""
        while not self.is_open and not self._stop.is_set():
            try:
                self._open()
            except UserError as error:
                if str(error) not in self._errors:
                    log.error("%s: %s", self._options.to, error)
                self._errors = frozenset((str(error),))
                self._stats.record_outcome(OPENING, error=str(error), kind="target")
                self._stop.wait(RETRY_SECONDS)
        if self.is_open:
            self._sweep_until_the_end()

    def _open(self) -> None:
        """UserError if the target cannot work."""
        target, delivery, stop = self._options, self._delivery, self._stop
        folder, faults = delivery.databases / STATE_FOLDER, delivery.config.faults
        options = TargetOptions(
            record=record_for(target.to, target.record, delivery.databases, delivery.config.records),
            stop=stop,
            retry_seconds=RETRY_SECONDS,
            folder=folder,
            on_retry=self._stats.add_retry,
        )
        # Faults may be injected at any time, and readings that an earlier process has held back are sent.
        self._target = (
            open_faulty_target(target.to, options, faults, delivery.seed, folder, delivery.injected_faults())
            if target.to.startswith(FAULTY_SCHEMES)
            else open_target(target.to, options)
        )
        self._before = self._earlier.get(self._target.name) or TargetStatus(self._target.name)
        self._backlog = Backlog(self._before.backlog_since)
        self.context = SweepContext(
            self._target,
            CollectorState(folder, self._target.name),
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
        if self._errors:
            log.info("%s: well again", self._target.name)
            self._stats.record_outcome(OPENING)
        self._errors, self._error = frozenset(), LastError(self._before)
        self.is_open = True

    def _sweep_until_the_end(self) -> None:
        while not self._stop.is_set():
            last = self._released.is_set()
            try:
                self._collector.sweep()
            except OSError as error:  # the data directory is gone
                log.error("%s: %s", self._target.name, error)
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

    @property
    def delivered(self) -> int:
        """The readings that this process has delivered."""
        return self._stats.totals().delivered

    def status(self, sources: list[SourceIds], rate: float, now: float) -> TargetStatus:
        failing = self._stats.failing()
        self._error.update(failing[0].error if failing else None, now)
        if not self.is_open:
            error = self._error
            before = self._earlier.get(self._options.to) or TargetStatus(self._options.to)
            self._backlog.update(sources, self._recorded_id, now)
            return replace(
                before,
                rate=0.0,
                backlog=self._backlog.readings,
                backlog_since=self._backlog.since,
                error=error.error,
                failing_since=error.since,
                last_error=error.last,
                last_error_at=error.last_at,
            )
        totals, before = self._stats.totals(), self._before
        self._backlog.update(sources, self._settled_id, now)
        return TargetStatus(
            self._target.name,
            delivered=before.delivered + totals.delivered,
            duplicates=before.duplicates + totals.duplicates,
            refused=before.refused + totals.dead,
            last_at=totals.last_us / 1e6 if totals.last_us else before.last_at,
            rate=round(rate, 3),
            retries=before.retries + self._stats.retries,
            backlog=self._backlog.readings,
            backlog_since=self._backlog.since,
            error=self._error.error,
            failing_since=self._error.since,
            last_error=self._error.last,
            last_error_at=self._error.last_at,
            complete=self._complete,
        )

    def _settled_id(self, source: str) -> int:
        """The id up to which the readings of a source are settled, 0 if it is unknown: no sweep has come to it yet."""
        if source not in self.context.settled_ids:
            with suppress(DeliveryFailed):
                return self.context.state.cursor(source)
        return self.context.settled_ids.get(source, 0)

    def _recorded_id(self, source: str) -> int:
        """The id up to which a target that is not open yet has the readings of a source, as far as the records know it by its URL."""
        with suppress(DeliveryFailed, UserError):
            if self._records is None:
                self._records = CollectorState(self._delivery.databases / STATE_FOLDER, self._options.to)
            return self._records.cursor(source)
        return 0

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


class LastError:
    """The present error of a target with the time since when it has one, and the last one with its time."""

    def __init__(self, before: TargetStatus) -> None:
        self.error, self.since = before.error, before.failing_since
        self.last, self.last_at = before.last_error, before.last_error_at

    def update(self, error: str | None, now: float) -> None:
        self.since = None if error is None else self.since or now
        if error is not None:
            self.last, self.last_at = error, now
        self.error = error


class StatusReport:
    """Writes the status file, with the rate and the backlog of each target."""

    def __init__(
        self, delivery: LiveDelivery, deliveries: Sequence[TargetDelivery], before: Mapping[str, TargetStatus]
    ) -> None:
        """`before` has the targets as an earlier process has left them."""
        self._delivery, self._deliveries, self._before = delivery, deliveries, before
        self._stored = StoredIds(delivery.databases)
        self._rates = RateMeter(time.monotonic_ns(), len(deliveries))

    def write(self) -> None:
        self._stored.update()
        self._rates.record(time.monotonic_ns(), self._delivered())
        sources, rates, now = self._stored.sources(), self._rates.per_second().tolist(), time.time()
        targets = tuple(each.status(sources, rate, now) for each, rate in zip(self._deliveries, rates, strict=True))
        if not all(each.is_open for each in self._deliveries):  # what is known of those that are not goes on
            names = {target.name for target in targets}
            targets += tuple(target for name, target in self._before.items() if name not in names)
        try:
            DeliveryStatus(targets, now, self._delivery.config.interval).write(self._delivery.status_file)
        except OSError as error:
            log.error("%s is not written: %s", self._delivery.status_file, error)

    def _delivered(self) -> npt.NDArray[np.int64]:
        return np.array([each.delivered for each in self._deliveries], dtype=np.int64)


class Marks:
    """The marks in the databases: readings up to the lowest cursor of all targets, without those that one has refused. Each
    database also notes that cursor: its worker may remove readings up to it."""

    def __init__(self, deliveries: Sequence[TargetDelivery], targets: str) -> None:
        """`targets` is the digest of the targets."""
        self._deliveries, self._targets = deliveries, targets
        self._marked: dict[str, int] = {}

    def update(self) -> None:
        """Mark what all targets have by now. A database that is busy or has gone is marked the next time."""
        if not all(delivery.is_open for delivery in self._deliveries):
            return
        first, *others = (delivery.context for delivery in self._deliveries)
        for source, path in list(first.swept_paths.items()):
            settled = min(settled_id(context, source) for context in (first, *others))
            if settled > self._marked.get(source, 0):
                with suppress(DatabaseUnreadable, DeliveryFailed, apsw.Error, OSError):
                    self._mark(source, path, settled)
                    self._marked[source] = settled

    def _mark(self, source: str, path: Path, settled: int) -> None:
        refused = {number for each in self._deliveries for number in each.context.state.dead_letter_ids(source)}
        with shared_connection(path) as shared:
            connection, after = shared.connection, self._marked.get(source, 0)
            own = stores_readings(connection) and bool(connection.execute(HAS_TABLE, ("database_info",)).get)
            if own and connection.execute("SELECT generation FROM database_info").get != source:
                raise DatabaseUnreadable(path, "it was rotated")  # it is swept under its new name next
            while ids := next_ids(connection, after, settled, IDS_PER_MARKING, unsynced=True):
                with shared.hold_in_place():
                    mark_synced(connection, [number for number in ids if number not in refused])
                after = ids[-1]
            if not own:  # of another program, or without readings
                return
            with shared.hold_in_place(), Transaction(connection):
                write_delivered(connection, self._targets, Delivered(settled, len(refused)))


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

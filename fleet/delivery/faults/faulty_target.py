"""A target on whose way readings get faults: they are dropped, damaged, doubled, delayed, or have a wrong time.

Each fault is on record before its reading is sent. A reading that is sent later waits in the record; one that waits is sent
with the first batch of its source that has a reading of its time, the copy of a doubled one by `write_held`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from fleet.config.delivery_faults import DeliveryFaults
from fleet.delivery.batch import Batch, Row
from fleet.delivery.bisecting_delivery import NO_RECEIPT, BisectingDelivery
from fleet.delivery.compare.delivered import unix_microseconds
from fleet.delivery.faults.damaged_record import DamagedRecord, planned_faults
from fleet.delivery.faults.fault_record import FaultRecord, FaultyReading
from fleet.delivery.faults.injected import InjectedFaults
from fleet.delivery.faults.plan import DAMAGES, DELAYS, Fault, FaultPlan
from fleet.delivery.faults.send_order import SendOrder, row_values
from fleet.delivery.json_documents import unserializable
from fleet.delivery.target import BatchRejected, DeliveryFailed, HoldingTarget, Receipt, Target
from fleet.delivery.targets.registry import TargetOptions, open_target

NO_FAULTS = FaultPlan(DeliveryFaults(), 0)
READINGS_PER_BATCH = 1000
"""Readings in a batch of those that were held."""


@dataclass(slots=True)
class SentBatch:
    """What is sent of a batch: rows in their order, with the ids of those from earlier batches, of those that need not be accepted,
    and of those whose record is damaged."""

    rows: list[Row] = field(default_factory=list)
    faulty: list[FaultyReading] = field(default_factory=list)
    released: dict[int, FaultyReading] = field(default_factory=dict)
    wrong: set[int] = field(default_factory=set)
    damages: dict[int, Fault] = field(default_factory=dict)


def open_faulty_target(
    url: str,
    options: TargetOptions,
    faults: DeliveryFaults,
    seed: int,
    folder: Path,
    injected: InjectedFaults | None = None,
) -> FaultyTarget:
    """Open the target of a URL, with faults on the way there and their record in `folder`. UserError if it cannot work."""
    plan = FaultPlan(faults, seed)
    record = DamagedRecord(options.record, whole=url.startswith("http"))
    target = open_target(url, replace(options, record=record))
    return FaultyTarget(target, plan, record, FaultRecord(folder, target.name, create=faults.any), injected)


class FaultyTarget:
    """A target with faults on the way there."""

    def __init__(
        self,
        target: Target,
        plan: FaultPlan,
        damaged: DamagedRecord,
        record: FaultRecord,
        injected: InjectedFaults | None = None,
    ) -> None:
        self.name, self._injected = target.name, injected
        self._target, self._plan, self._damaged, self._record = target, plan, damaged, record
        self._delivery = BisectingDelivery(target)
        self._held = record.held()
        self._sources = record.sources()
        self._begun: set[str] = set()

    def deliver(self, batch: Batch) -> Receipt:
        """Deliver a batch, and what is due with it. Readings that are dropped or held count as accepted."""
        source = batch.source
        self._forget_plans(batch)
        plan = self._plan_of(batch)
        if not plan.any and not self._held_of(source.key):
            return self._target.deliver(batch)
        self._send_copies(source.key)
        order = SendOrder(self._delayed(source.key))
        sent = self._arrange(batch, plan, order)
        waiting = {each.id for each in sent.faulty if each.id in order.waiting or each.fault.kind == "duplicate"}
        faulty = [replace(each, held=each.id in waiting) for each in sent.faulty]
        if faulty:
            self._record.add(source, faulty)
        receipt = self._deliver_rows(batch, sent, frozenset(waiting & order.waiting.keys()))
        self._sources[source.key] = source
        self._held_of(source.key).update((each.id, each) for each in faulty if each.held)
        self._settle(source.key, sent.released, receipt)
        return self._own_receipt(batch, sent, receipt)

    def _plan_of(self, batch: Batch) -> FaultPlan:
        """Return the plan for a batch, with what is injected by now. Readings of other simulators have no faults."""
        if batch.source.foreign or not batch.rows:
            return NO_FAULTS
        if self._injected is None or not (injected := self._injected.current()):
            return self._plan
        time = batch.source.columns.index("timestamp")
        times = [str(row[time]) for row in batch.rows]  # the order of the texts is that of the times
        return replace(self._plan, injected=injected).within(
            unix_microseconds(min(times)), unix_microseconds(max(times))
        )

    def _own_receipt(self, batch: Batch, sent: SentBatch, receipt: Receipt) -> Receipt:
        """Return the receipt for the readings of the batch itself."""
        own, index = frozenset(batch.ids), batch.source.columns.index("id")
        unsent = own - {row[index] for row in sent.rows}
        refused = {number: why for number, why in receipt.rejected.items() if number in own - sent.wrong}
        accepted = (receipt.accepted & own) | unsent | (receipt.rejected.keys() & sent.wrong)
        if batch.ids and batch.ids[-1] in unsent and len(accepted) + len(refused) == len(own):
            self._record.set_settled_id(batch.source.key, batch.ids[-1])
        return replace(receipt, accepted=accepted, rejected=refused)

    def write_held(self, *, everything: bool) -> None:
        """Send the copies that are due, and with `everything` all that waits for later readings; then have the target write what
        it holds itself, such as a file that is due to be rotated. Raises DeliveryFailed."""
        for key in list(self._held):
            self._send_copies(key)
            if everything:
                self._send(key, SendOrder(self._delayed(key)).rest())
        if isinstance(self._target, HoldingTarget):
            self._target.write_held(everything=everything)

    def first_held_id(self, source: str) -> int | None:
        """Return the lowest id of a source that waits to be sent, None if none does."""
        return min((each.id for each in self._delayed(source)), default=None)

    def cursor(self, source: str) -> int | None:
        cursor = self._target.cursor(source)
        return cursor if cursor is None else max(cursor, self._record.settled_id(source))

    def close(self) -> None:
        self._target.close()
        self._record.close()

    def _forget_plans(self, batch: Batch) -> None:
        """Before the first batch of a source, forget what a killed process has planned and not delivered."""
        key = batch.source.key
        if batch.ids and key not in self._begun:
            first = batch.ids[0]
            self._record.forget(key, first)
            self._held[key] = {number: each for number, each in self._held_of(key).items() if number < first}
            self._begun.add(key)

    def _held_of(self, source: str) -> dict[int, FaultyReading]:
        return self._held.setdefault(source, {})

    def _delayed(self, source: str) -> list[FaultyReading]:
        """Return the readings of a source that wait for later ones."""
        return [each for each in self._held_of(source).copy().values() if each.fault.kind in DELAYS]

    def _arrange(self, batch: Batch, plan: FaultPlan, order: SendOrder) -> SentBatch:
        """Arrange the readings of a batch; what is not due by its end waits in `order`."""
        sent, columns = SentBatch(), batch.source.columns
        if not batch.rows:
            return sent
        sensor, time = columns.index("sensor_id"), columns.index("timestamp")
        faults = planned_faults(plan, batch)
        fields = self._damaged.damaged_fields(batch, faults)
        intact, own = unserializable(batch), set(batch.ids)
        for row, number, seq, fault, name in zip(batch.rows, batch.ids, batch.key_numbers, faults, fields, strict=True):
            if fault is None or number in intact:
                sent.rows.append(row)
            else:
                values = row_values(columns, row)
                reading = FaultyReading(number, str(row[sensor]), seq or 0, str(row[time]), fault, values, field=name)
                sent.faulty.append(reading)
                self._place(reading, row, time, sent, order)
            if not order.waiting:
                continue
            for due in order.due_after(str(row[sensor]), seq or 0, unix_microseconds(row[time])):
                sent.rows.append(due.row(columns))
                if due.id not in own:
                    sent.released[due.id] = due
        return sent

    def _place(self, reading: FaultyReading, row: Row, time: int, sent: SentBatch, order: SendOrder) -> None:
        """Put a reading with a fault where it belongs."""
        kind = reading.fault.kind
        if kind in DELAYS:
            order.hold(reading)
        elif kind == "clock_skew":
            sent.rows.append((*row[:time], shifted(reading.timestamp, reading.fault.size), *row[time + 1 :]))
            sent.wrong.add(reading.id)
        elif kind != "drop":
            sent.rows.append(row)
            if kind in DAMAGES:
                sent.wrong.add(reading.id)
                sent.damages[reading.id] = reading.fault

    def _deliver_rows(self, batch: Batch, sent: SentBatch, held: frozenset[int]) -> Receipt:
        """Deliver what is sent of a batch. Raises DeliveryFailed."""
        if not sent.rows and not held and not batch.episodes.rows and not batch.epochs.rows:
            return NO_RECEIPT
        whole = Batch(batch.source, tuple(sent.rows), batch.episodes, batch.epochs, held=held, damages=sent.damages)
        try:
            return self._target.deliver(whole)
        except BatchRejected as error:
            if sent.released:  # only readings of the batch may be found by bisection
                late = {number: sent.released.pop(number) for number in list(sent.released)}
                index = batch.source.columns.index("id")
                sent.rows = [row for row in sent.rows if row[index] not in late]
                return self._deliver_rows(batch, sent, held)
            if len(batch.rows) == 1 and sent.wrong:
                return Receipt(frozenset(), rejected={batch.ids[0]: str(error)})
            raise

    def _settle(self, source: str, ids: Mapping[int, FaultyReading], receipt: Receipt) -> None:
        """Record held readings that were sent. Those that the target neither accepts nor refuses stay."""
        gone = [number for number in ids if number in receipt.accepted or number in receipt.rejected]
        if gone:
            self._record.settle(source, gone, dict(receipt.rejected))
            for number in gone:
                self._held_of(source).pop(number, None)

    def _send_copies(self, source: str) -> None:
        """Send the copies of doubled readings. Raises DeliveryFailed."""
        copies = [each for each in self._held_of(source).values() if each.fault.kind == "duplicate"]
        for turn in range(1, max((int(each.fault.size) for each in copies), default=0)):
            self._send(source, [each for each in copies if each.fault.size > turn], again=True, settle=False)
        self._send(source, copies, again=True)

    def _send(self, key: str, readings: Sequence[FaultyReading], *, again: bool = False, settle: bool = True) -> None:
        """Send held readings. Raises DeliveryFailed if some have to be sent again later."""
        for begin in range(0, len(readings), READINGS_PER_BATCH):
            source, some = self._sources[key], {each.id: each for each in readings[begin : begin + READINGS_PER_BATCH]}
            batch = Batch(source, tuple(each.row(source.columns) for each in some.values()), again=again)
            receipt = self._delivery.deliver(batch, retrying_dead_letters=True)
            if settle:
                self._settle(key, some, receipt)
            if left := some.keys() - receipt.accepted - receipt.rejected.keys():
                raise DeliveryFailed(f"{self.name} did not acknowledge {len(left)} of {len(some)} readings")


def shifted(timestamp: str, seconds: float) -> str:
    """Return a time as the fleet writes it, moved by some seconds."""
    return (datetime.fromisoformat(timestamp) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")

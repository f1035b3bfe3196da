"""A stream to a target of a delivery. A target that takes nothing holds the stream up: its readings are a function of their number,
so nothing is lost, and afterwards it goes on in the same order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from fleet.delivery.batch import Batch
from fleet.delivery.bisecting_delivery import NO_RECEIPT, BisectingDelivery
from fleet.delivery.json_documents import without_readings
from fleet.delivery.records.record import Record
from fleet.delivery.target import DeliveryFailed, HoldingTarget, Target
from fleet.streaming.rows import StreamRows
from fleet.streaming.stream import PacedStream, StreamStats

READINGS_PER_BATCH = 1000
RETRY_SECONDS = 1.0
"""The pause after a delivery that has failed."""


class Destination(NamedTuple):
    """A target, and the shape of the readings there. `warn` is called with the reason when it begins to fail, and when that is
    over."""

    target: Target
    record: Record
    warn: Callable[[str], object]


class StreamSender(PacedStream):
    """A stream that is sent to a target."""

    write_interval = 0.1

    def __init__(
        self,
        rows: StreamRows,
        destination: Destination,
        total: int | None,
        stop: threading.Event,
        report: Callable[[StreamStats], None],
        report_seconds: float,
    ) -> None:
        super().__init__(total, stop, report, report_seconds)
        self._rows, (self._target, self._record, self._warn) = rows, destination
        self._delivery = BisectingDelivery(self._target)
        self._errors: dict[str, str] = {}

    @property
    def complete(self) -> bool:
        """False if the target has not taken what was sent, or has not written what it holds back."""
        return not self._errors

    def write(self, end: int) -> None:
        while self.position < end and not self.stop.is_set():
            part = self._rows.take(min(end - self.position, READINGS_PER_BATCH))
            refused = self._record.unfit(part.batch)
            batch = without_readings(part.batch, refused) if refused else part.batch
            for reason in refused.values():
                self._refuse(reason)
            if not self._send(batch):
                return
            self.position = part.end
            self.stats.records += len(part.batch.rows)
            self.stats.anomalies += part.anomalies
            self.report_when_due()
        self._write_held(everything=False)

    def finish(self) -> None:
        """Have the target write what it holds back."""
        while not self._write_held(everything=True) and not self.stop.is_set():
            self.wait(RETRY_SECONDS)

    def _send(self, batch: Batch) -> bool:
        """Send a batch again and again until all of it is taken or refused; False if it is not, because the stream is to stop."""
        while batch.rows:
            receipt, error = NO_RECEIPT, None
            try:
                receipt = self._delivery.deliver(batch)
                error = receipt.doubt
            except DeliveryFailed as failure:
                error = str(failure)
            for reason in receipt.rejected.values():
                self._refuse(reason)
            settled = dict.fromkeys((*receipt.accepted, *receipt.rejected), "")
            batch = without_readings(batch, settled) if settled else batch
            self._note(
                "send", (error or f"{self._target.name} did not acknowledge all records") if batch.rows else None
            )
            if batch.rows:
                self.wait(RETRY_SECONDS)
                if self.stop.is_set():
                    return False
        return True

    def _write_held(self, *, everything: bool) -> bool:
        error = None
        if isinstance(self._target, HoldingTarget):
            try:
                self._target.write_held(everything=everything)
            except DeliveryFailed as failure:
                error = str(failure)
        self._note("held", error)
        return error is None

    def _refuse(self, reason: str) -> None:
        if not self.stats.refused:
            self._warn(f"{self._target.name} refuses a record: {reason}")
        self.stats.refused += 1
        self.stats.records -= 1

    def _note(self, what: str, error: str | None) -> None:
        """Warn if the target begins to fail at something, and if that is over."""
        if error is not None and what not in self._errors:
            self._warn(f"{error}; the stream waits")
            self._errors[what] = error
        elif error is None and self._errors.pop(what, None) is not None:
            self._warn(f"{self._target.name}: well again")

"""Delivery by bisection: a batch that a target rejects for its content is halved until the bad reading is isolated.

A reading is given up only if the target accepts others: a target that rejects everything is misconfigured.
"""

from __future__ import annotations

from fleet.delivery.batch import Batch, SourceDatabase, TableRows
from fleet.delivery.target import BatchRejected, Receipt, Target, TargetMisconfigured

NO_RECEIPT = Receipt(frozenset())

MAX_CONSECUTIVE_REJECTIONS = 10
"""The number of consecutive readings, or rows of the history, that are given up without one that is accepted."""


class BisectingDelivery:
    """Delivers batches to one target and remembers what it accepts. Thread-safe."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._rejections_in_a_row = 0
        self._has_accepted = False
        self._history_rejections_in_a_row = 0
        self._has_accepted_history = False
        self.history_supported = True
        """False once the target has rejected many episodes and epochs: some servers know only readings."""

        self.rejected_history: dict[str, str] = {}
        """The reasons for the episodes and epochs that were rejected on their own, by their name."""

    @property
    def history_accepted(self) -> bool:
        """True if the target stores episodes and epochs, so that those delivered are not delivered again."""
        return self.history_supported and self._has_accepted_history

    def deliver(self, batch: Batch, *, retrying_dead_letters: bool = False) -> Receipt:
        """Deliver a batch, in parts if need be. Raises DeliveryFailed; then parts that arrived are delivered again later.

        With `retrying_dead_letters`, rejections do not count against the target: the readings were given up before.
        """
        if not self.history_supported:
            batch = batch.without_history()
        if not batch.rows:
            self._deliver_history(batch.source, batch.episodes, batch.epochs)
            return NO_RECEIPT
        suspects: dict[int, str] = {}
        receipt = self._deliver(batch, suspects)
        if not retrying_dead_letters:
            self._check_target(receipt, suspects)
        return Receipt(receipt.accepted, receipt.duplicates, {**receipt.rejected, **suspects})

    def _check_target(self, receipt: Receipt, suspects: dict[int, str]) -> None:
        """Raises TargetMisconfigured if the target rather than the readings is at fault."""
        if receipt.accepted:
            self._has_accepted, self._rejections_in_a_row = True, 0
        elif suspects:
            self._rejections_in_a_row += len(suspects)
            if not self._has_accepted or self._rejections_in_a_row > MAX_CONSECUTIVE_REJECTIONS:
                reason = next(iter(suspects.values()))
                raise TargetMisconfigured(f"{self._target.name} refuses every reading: {reason}")

    def _deliver(self, batch: Batch, suspects: dict[int, str]) -> Receipt:
        """Deliver a batch by bisection. Adds the readings that are rejected on their own to `suspects`, with the reason."""
        try:
            receipt = self._target.deliver(batch)
            self._has_accepted_history |= bool(batch.episodes.rows or batch.epochs.rows)
            return receipt
        except BatchRejected as error:
            if batch.episodes.rows or batch.epochs.rows:
                receipt = self._deliver(batch.without_history(), suspects)
                self._deliver_history(batch.source, batch.episodes, batch.epochs)
                return receipt
            if len(batch.rows) == 1:
                suspects[batch.ids[0]] = str(error)
                return NO_RECEIPT
        half = len(batch.rows) // 2
        parts = (batch.part(0, half), batch.part(half, len(batch.rows)))
        return merge_receipts(*(self._deliver(part, suspects) for part in parts))

    def _deliver_history(self, source: SourceDatabase, episodes: TableRows, epochs: TableRows) -> None:
        """Deliver the history by bisection. A row rejected on its own is left out; after many in a row, all are."""
        count = len(episodes.rows) + len(epochs.rows)
        if not count or not self.history_supported:
            return
        try:
            self._target.deliver(Batch(source, (), episodes, epochs))
            self._history_rejections_in_a_row, self._has_accepted_history = 0, True
        except BatchRejected as error:
            if count == 1:
                self._reject_history(source, episodes, epochs, str(error))
                return
            half = count // 2
            first = len(episodes.rows[:half])
            self._deliver_history(source, episodes.part(0, first), epochs.part(0, half - first))
            self._deliver_history(source, episodes.part(first, count), epochs.part(half - first, count))

    def _reject_history(self, source: SourceDatabase, episodes: TableRows, epochs: TableRows, reason: str) -> None:
        kind, table = ("episode", episodes) if episodes.rows else ("epoch", epochs)
        (document,) = table.documents()
        self.rejected_history[f"{kind} {source.name}/{document['sensor_id']!s}/{document['first_seq']!s}"] = reason
        self._history_rejections_in_a_row += 1
        self.history_supported = self._history_rejections_in_a_row < MAX_CONSECUTIVE_REJECTIONS


def merge_receipts(one: Receipt, other: Receipt) -> Receipt:
    return Receipt(one.accepted | other.accepted, one.duplicates + other.duplicates, {**one.rejected, **other.rejected})

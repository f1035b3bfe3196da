"""Handing a batch over to a target that may not like all of it.

A batch that is refused for its content is halved until the reading that is refused is found. That one is given up only if
the target takes others: one that refuses everything is broken itself.
"""

from __future__ import annotations

from fleet.delivery.batch import Batch, SourceDatabase, TableRows
from fleet.delivery.target import BatchRejected, Receipt, Target, TargetMisconfigured

NO_RECEIPT = Receipt(frozenset())

MAX_CONSECUTIVE_REJECTIONS = 10
"""Readings, or rows of the history, that are given up one after the other without any that is taken."""


class BisectingDelivery:
    """One target's taste, as it shows itself. For several threads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._refused_in_a_row = 0
        self._has_accepted = False
        self._refused_history = 0
        self._has_accepted_history = False
        self.history_supported = True
        """Whether episodes and epochs are worth trying; some servers know only readings."""

        self.rejected_history: dict[str, str] = {}
        """The episodes and epochs that were refused by themselves, with the reason."""

    @property
    def history_accepted(self) -> bool:
        """Whether episodes and epochs that were handed over need not be again."""
        return self.history_supported and self._has_accepted_history

    def deliver(self, batch: Batch, *, retrying_dead_letters: bool = False) -> Receipt:
        """What became of the batch, all its parts together. Raises DeliveryFailed; then what did arrive will arrive again. That
        `retrying_dead_letters` readings, given up once, are refused says nothing of the target."""
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
        """Raises TargetMisconfigured if it is rather the target that is bad than the readings."""
        if receipt.accepted:
            self._has_accepted, self._refused_in_a_row = True, 0
        elif suspects:
            self._refused_in_a_row += len(suspects)
            if not self._has_accepted or self._refused_in_a_row > MAX_CONSECUTIVE_REJECTIONS:
                reason = next(iter(suspects.values()))
                raise TargetMisconfigured(f"{self._target.name} refuses every reading: {reason}")

    def _deliver(self, batch: Batch, suspects: dict[int, str]) -> Receipt:
        """`suspects` is told of the readings that no batch may have in it."""
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
        """Halved likewise; a row that is refused by itself is left out, and after many in a row all of them are."""
        count = len(episodes.rows) + len(epochs.rows)
        if not count or not self.history_supported:
            return
        try:
            self._target.deliver(Batch(source, (), episodes, epochs))
            self._refused_history, self._has_accepted_history = 0, True
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
        self._refused_history += 1
        self.history_supported = self._refused_history < MAX_CONSECUTIVE_REJECTIONS


def merge_receipts(one: Receipt, other: Receipt) -> Receipt:
    return Receipt(one.accepted | other.accepted, one.duplicates + other.duplicates, {**one.rejected, **other.rejected})

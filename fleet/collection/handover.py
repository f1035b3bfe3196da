"""Handing a batch over to a target that may not like all of it.

A batch that is refused for its content is halved until the reading that is refused is found. That one is given up only if
the target takes others: one that refuses everything is broken itself.
"""

from __future__ import annotations

from fleet.collection.batch import Batch
from fleet.collection.target import Indigestible, Receipt, Target, Unusable

MOST_IN_A_ROW = 10
"""Readings that are given up one after the other without any that is taken."""


class Handover:
    """One target's taste, as it shows itself. For several threads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._refused_in_a_row = 0
        self._tasted = False
        self.takes_history = True
        """Whether episodes and epochs are taken; some servers know only readings."""

    def deliver(self, batch: Batch) -> Receipt:
        """What became of the batch, all its parts together. Raises Failed; then what did arrive will arrive again."""
        if not self.takes_history:
            batch = batch.readings_alone()
        receipt = self._deliver(batch) if batch.rows else self._deliver_history(batch)
        self._judge(receipt)
        return receipt

    def _judge(self, receipt: Receipt) -> None:
        if receipt.accepted:
            self._tasted, self._refused_in_a_row = True, 0
        elif receipt.rejected:
            self._refused_in_a_row += len(receipt.rejected)
            if not self._tasted or self._refused_in_a_row > MOST_IN_A_ROW:
                reason = next(iter(receipt.rejected.values()))
                raise Unusable(f"{self._target.name} refuses every reading: {reason}")

    def _deliver(self, batch: Batch) -> Receipt:
        try:
            return self._target.deliver(batch)
        except Indigestible as error:
            if batch.episodes.rows or batch.epochs.rows:
                receipt = self._deliver(batch.readings_alone())
                self._deliver_history(batch)
                return receipt
            if len(batch.rows) == 1:
                return Receipt(frozenset(), 0, {batch.ids[0]: str(error)})
        half = len(batch.rows) // 2
        return together(self._deliver(batch.part(0, half)), self._deliver(batch.part(half, len(batch.rows))))

    def _deliver_history(self, batch: Batch) -> Receipt:
        if batch.episodes.rows or batch.epochs.rows:
            try:
                return self._target.deliver(Batch(batch.source, (), batch.episodes, batch.epochs))
            except Indigestible:
                self.takes_history = False
        return Receipt(frozenset())


def together(one: Receipt, other: Receipt) -> Receipt:
    return Receipt(one.accepted | other.accepted, one.duplicates + other.duplicates, {**one.rejected, **other.rejected})

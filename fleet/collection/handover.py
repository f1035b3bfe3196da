"""Handing a batch over to a target that may not like all of it.

A batch that is refused for its content is halved until the reading that is refused is found. That one is given up only if
the target takes others: one that refuses everything is broken itself.
"""

from __future__ import annotations

from fleet.collection.batch import Batch, Source, Table
from fleet.collection.target import Indigestible, Receipt, Target, Unusable

NONE = Receipt(frozenset())

MOST_IN_A_ROW = 10
"""Readings, or rows of the history, that are given up one after the other without any that is taken."""


class Handover:
    """One target's taste, as it shows itself. For several threads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._refused_in_a_row = 0
        self._tasted = False
        self._refused_history = 0
        self._tasted_history = False
        self.takes_history = True
        """Whether episodes and epochs are worth trying; some servers know only readings."""

        self.left_out: dict[str, str] = {}
        """The episodes and epochs that were refused by themselves, with the reason."""

    @property
    def history_taken(self) -> bool:
        """Whether episodes and epochs that were handed over need not be again."""
        return self.takes_history and self._tasted_history

    def deliver(self, batch: Batch, *, doubtful: bool = False) -> Receipt:
        """What became of the batch, all its parts together. Raises Failed; then what did arrive will arrive again. That
        `doubtful` readings, given up once, are refused says nothing of the target."""
        if not self.takes_history:
            batch = batch.readings_alone()
        if not batch.rows:
            self._deliver_history(batch.source, batch.episodes, batch.epochs)
            return NONE
        suspects: dict[int, str] = {}
        receipt = self._deliver(batch, suspects)
        if not doubtful:
            self._judge(receipt, suspects)
        return Receipt(receipt.accepted, receipt.duplicates, {**receipt.rejected, **suspects})

    def _judge(self, receipt: Receipt, suspects: dict[int, str]) -> None:
        """Raises Unusable if it is rather the target that is bad than the readings."""
        if receipt.accepted:
            self._tasted, self._refused_in_a_row = True, 0
        elif suspects:
            self._refused_in_a_row += len(suspects)
            if not self._tasted or self._refused_in_a_row > MOST_IN_A_ROW:
                reason = next(iter(suspects.values()))
                raise Unusable(f"{self._target.name} refuses every reading: {reason}")

    def _deliver(self, batch: Batch, suspects: dict[int, str]) -> Receipt:
        """`suspects` is told of the readings that no batch may have in it."""
        try:
            receipt = self._target.deliver(batch)
            self._tasted_history |= bool(batch.episodes.rows or batch.epochs.rows)
            return receipt
        except Indigestible as error:
            if batch.episodes.rows or batch.epochs.rows:
                receipt = self._deliver(batch.readings_alone(), suspects)
                self._deliver_history(batch.source, batch.episodes, batch.epochs)
                return receipt
            if len(batch.rows) == 1:
                suspects[batch.ids[0]] = str(error)
                return NONE
        half = len(batch.rows) // 2
        parts = (batch.part(0, half), batch.part(half, len(batch.rows)))
        return together(*(self._deliver(part, suspects) for part in parts))

    def _deliver_history(self, source: Source, episodes: Table, epochs: Table) -> None:
        """Halved likewise; a row that is refused by itself is left out, and after many in a row all of them are."""
        count = len(episodes.rows) + len(epochs.rows)
        if not count or not self.takes_history:
            return
        try:
            self._target.deliver(Batch(source, (), episodes, epochs))
            self._refused_history, self._tasted_history = 0, True
        except Indigestible as error:
            if count == 1:
                self._leave_out(source, episodes, epochs, str(error))
                return
            half = count // 2
            first = len(episodes.rows[:half])
            self._deliver_history(source, episodes.part(0, first), epochs.part(0, half - first))
            self._deliver_history(source, episodes.part(first, count), epochs.part(half - first, count))

    def _leave_out(self, source: Source, episodes: Table, epochs: Table, reason: str) -> None:
        kind, table = ("episode", episodes) if episodes.rows else ("epoch", epochs)
        (document,) = table.documents()
        self.left_out[f"{kind} {source.name}/{document['sensor_id']!s}/{document['first_seq']!s}"] = reason
        self._refused_history += 1
        self.takes_history = self._refused_history < MOST_IN_A_ROW


def together(one: Receipt, other: Receipt) -> Receipt:
    return Receipt(one.accepted | other.accepted, one.duplicates + other.duplicates, {**one.rejected, **other.rejected})

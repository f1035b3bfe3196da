"""Delivery by bisection: a batch that a target rejects for its content is halved until the bad reading is isolated.

A reading is given up only if the target accepts others: a target that rejects everything is misconfigured.
"""

from __future__ import annotations

from dataclasses import replace

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
        receipt, suspects = self._deliver(batch)
        if not retrying_dead_letters:
            self._check_target(receipt, suspects)
        return replace(receipt, rejected={**receipt.rejected, **suspects})

    def _check_target(self, receipt: Receipt, suspects: dict[int, str]) -> None:
        """Raises TargetMisconfigured if the target rather than the readings is at fault."""
        if receipt.accepted:
            self._has_accepted, self._rejections_in_a_row = True, 0
        elif suspects:
            self._rejections_in_a_row += len(suspects)
            if not self._has_accepted or self._rejections_in_a_row > MAX_CONSECUTIVE_REJECTIONS:
                reason = next(iter(suspects.values()))
                raise TargetMisconfigured(f"{self._target.name} refuses every reading: {reason}")

    def _deliver(self, batch: Batch) -> tuple[Receipt, dict[int, str]]:
        """Deliver a batch by bisection. Returns the receipt, and the readings that were rejected on their own, with the reason."""
        has_history = bool(batch.episodes.rows or batch.epochs.rows)
        try:
            receipt = self._target.deliver(batch)
            self._has_accepted_history |= has_history
            return receipt, {}
        except BatchRejected as error:
            if len(batch.rows) == 1 and not has_history:
                return NO_RECEIPT, {batch.ids[0]: str(error)}
            bisection = Bisection(self._target, batch.without_history(), str(error), whole=has_history)
        result = bisection.run()
        if has_history:
            self._deliver_history(batch.source, batch.episodes, batch.epochs)
        return result

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


class Bisection:
    """The bisection of the readings of a batch that was rejected with `reason`. With `whole`, they are tried together first.

    Parts are delivered in their order. If MAX_CONSECUTIVE_REJECTIONS readings were tried and none was accepted, the last
    reading of each part that is left is tried next. So a target that accepts nothing is recognised after some thirty
    requests.
    """

    def __init__(self, target: Target, batch: Batch, reason: str, *, whole: bool) -> None:
        self._target, self._reason = target, reason
        self._pending = [batch] if whole else halves(batch)
        self._receipt, self._suspects = NO_RECEIPT, dict[int, str]()
        self._refused = 0
        self._probes: int | None = None

    def run(self) -> tuple[Receipt, dict[int, str]]:
        """Deliver all parts. Raises DeliveryFailed; TargetMisconfigured if none of the tried readings is accepted."""
        while self._pending:
            part = self._pending.pop()
            try:
                receipt = self._target.deliver(part)
            except BatchRejected as error:
                self._reason = str(error)
                if len(part.rows) > 1:
                    self._pending += halves(part)
                    continue
                self._suspects[part.ids[0]] = self._reason
                receipt = NO_RECEIPT
            self._receipt = merge_receipts(self._receipt, receipt)
            if not self._receipt.accepted:
                self._refused += 1
                self._check_target()
        return self._receipt, self._suspects

    def _check_target(self) -> None:
        if self._refused < MAX_CONSECUTIVE_REJECTIONS or not self._pending:
            return
        if self._probes is None:
            lasts = [part.part(len(part.rows) - 1, len(part.rows)) for part in self._pending]
            rests = [part.part(0, len(part.rows) - 1) for part in self._pending if len(part.rows) > 1]
            self._pending, self._probes = [*rests, *lasts], len(lasts)
        elif self._refused >= MAX_CONSECUTIVE_REJECTIONS + self._probes:
            raise TargetMisconfigured(
                f"{self._target.name} refuses every reading: {self._receipt.doubt or self._reason}"
            )


def halves(batch: Batch) -> list[Batch]:
    """The halves of a batch, the first one last; the batch itself if it has one reading."""
    half = len(batch.rows) // 2
    parts = [batch.part(half, len(batch.rows)), batch.part(0, half)]
    return [part for part in parts if part.rows]


def merge_receipts(one: Receipt, other: Receipt) -> Receipt:
    rejected = {**one.rejected, **other.rejected}
    doubt, note = one.doubt or other.doubt, one.note or other.note
    return Receipt(one.accepted | other.accepted, one.duplicates + other.duplicates, rejected, doubt, note)

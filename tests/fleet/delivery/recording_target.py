"""Targets that behave in ways a test wants."""

from __future__ import annotations

from collections.abc import Callable

from fleet.delivery.batch import Batch
from fleet.delivery.target import BatchRejected, Receipt


class RecordingTarget:
    """Takes everything and remembers it, unless `answer` says otherwise. Knows nothing of what it has taken before."""

    name = "listening"

    def __init__(self, answer: Callable[[Batch], Receipt] | None = None) -> None:
        self.batches: list[Batch] = []
        self.readings: list[str] = []
        self._answer = answer or (lambda batch: Receipt(frozenset(batch.ids)))

    def deliver(self, batch: Batch) -> Receipt:
        receipt = self._answer(batch)
        self.batches.append(batch)
        self.readings += batch.keys()
        return receipt

    def cursor(self, source: str) -> None:
        return None

    def close(self) -> None:
        pass

    @property
    def ids(self) -> list[int]:
        return [number for batch in self.batches for number in batch.ids]


def rejecting(*bad: int) -> Callable[[Batch], Receipt]:
    """Refuses a batch as a whole if one of these is in it, as an HTTP server does with 422."""

    def answer(batch: Batch) -> Receipt:
        if found := set(batch.ids) & set(bad):
            raise BatchRejected(f"422: {min(found)} is poison")
        return Receipt(frozenset(batch.ids))

    return answer

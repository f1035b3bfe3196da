"""A target for tests that records batches."""

from __future__ import annotations

from collections.abc import Callable

from fleet.delivery.batch import Batch
from fleet.delivery.target import BatchRejected, Receipt


class RecordingTarget:
    """A target that records each batch and returns the receipt of `answer`, by default accepting everything."""

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
    """A function that rejects a batch as a whole if it has one of these ids, as an HTTP server does with 422."""

    def answer(batch: Batch) -> Receipt:
        if found := set(batch.ids) & set(bad):
            raise BatchRejected(f"422: {min(found)} is poison")
        return Receipt(frozenset(batch.ids))

    return answer

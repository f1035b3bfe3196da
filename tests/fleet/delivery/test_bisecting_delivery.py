"""Bisection: the requests that it costs, and the readings that are given up."""

from __future__ import annotations

import pytest

from fleet.delivery.batch import Batch
from fleet.delivery.bisecting_delivery import BisectingDelivery
from fleet.delivery.target import BatchRejected, Receipt, TargetMisconfigured
from tests.fleet.delivery.samples import batch, episodes, epochs


class CountingTarget:
    """A target that rejects batches with a reading of `bad`, leaves those of `doubtful` unacknowledged, and counts."""

    name = "counting"

    def __init__(self, bad: frozenset[int], doubtful: frozenset[int] = frozenset()) -> None:
        self.bad, self.doubtful, self.requests, self.stored = bad, doubtful, 0, list[int]()

    def deliver(self, message: Batch) -> Receipt:
        self.requests += 1
        refused = self.bad & set(message.ids)
        unsure = self.doubtful & set(message.ids)
        if refused or (unsure and len(message.ids) > 1):
            raise BatchRejected(f"422: {min(refused | unsure)}")
        if unsure:
            return Receipt(frozenset(), doubt="no count")
        self.stored += message.ids
        return Receipt(frozenset(message.ids))

    def cursor(self, source: str) -> None:
        return None

    def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", ["bad", "doubtful"])
def test_a_target_that_refuses_everything_is_recognised_soon(kind: str) -> None:
    """It would take 1999 requests for each of three databases to try every reading; and no reading is given up."""
    everything = frozenset(range(1, 1001))
    target = CountingTarget(everything if kind == "bad" else frozenset(), everything)

    with pytest.raises(TargetMisconfigured, match=r"counting refuses every reading: (422: \d+|no count)"):
        BisectingDelivery(target).deliver(batch(1, 1001, episodes=episodes((0, 9)), epochs=epochs(0)))

    assert target.requests < 50


@pytest.mark.parametrize(
    "bad",
    [range(1, 31), range(970, 1001), range(200, 900), range(1, 1000), (7,), range(1, 1001, 40)],
    ids=["first", "last", "middle", "all but the last", "one", "many"],
)
def test_bad_readings_are_given_up_and_all_others_arrive_once(bad: range) -> None:
    target = CountingTarget(frozenset(bad))

    receipt = BisectingDelivery(target).deliver(batch(1, 1001))

    good = set(range(1, 1001)) - set(bad)
    assert (good, set(bad)) == (set(receipt.accepted), set(receipt.rejected))
    assert sorted(good) == sorted(target.stored)


def test_readings_in_doubt_are_left_for_later() -> None:
    """They are neither accepted nor given up."""
    receipt = BisectingDelivery(CountingTarget(frozenset({5}), frozenset({7, 8}))).deliver(batch(1, 101))

    assert {7, 8} == set(range(1, 101)) - receipt.accepted - receipt.rejected.keys()
    assert "no count" == receipt.doubt


def test_one_reading_is_tried_once() -> None:
    target = CountingTarget(frozenset({1}))
    with pytest.raises(TargetMisconfigured):
        BisectingDelivery(target).deliver(batch(1, 2))

    assert 1 == target.requests

"""Which reading has which fault: by seed, sensor, number and time alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fleet.config.delivery_faults import DeliveryFaults
from fleet.delivery.faults.plan import Fault, FaultPlan

SECOND_US = 1_000_000
START_US = 1_767_225_600 * SECOND_US


def plan(faults: dict[str, dict[str, Any]], seed: int = 1) -> FaultPlan:
    return FaultPlan(DeliveryFaults.model_validate(faults), seed)


def faults_of(one: FaultPlan, sensor: str = "KIN_1", count: int = 10_000) -> list[Fault | None]:
    """Of one reading a second."""
    return [one.fault(sensor, seq, START_US + seq * SECOND_US) for seq in range(count)]


def test_each_kind_has_its_share() -> None:
    kinds = {"drop": 0.01, "corrupt": 0.02, "truncate": 0.03, "duplicate": 0.04, "late": 0.05, "out_of_order": 0.06}
    found = Counter(
        fault.kind
        for fault in faults_of(plan({kind: {"probability": share} for kind, share in kinds.items()}))
        if fault
    )

    assert kinds.keys() == found.keys()
    for kind, share in kinds.items():
        assert share * 10_000 == pytest.approx(found[kind], rel=0.2)


def test_a_reading_has_its_fault_from_nothing_else() -> None:
    """Not from those before it, nor from other sensors."""
    one = plan({"late": {"probability": 0.5}, "drop": {"probability": 0.2}})
    some = faults_of(one, count=50)

    assert some == [one.fault("KIN_1", seq, START_US + seq * SECOND_US) for seq in reversed(range(50))][::-1]
    assert some != faults_of(one, "KIN_2", 50)
    assert some != faults_of(plan({"late": {"probability": 0.5}, "drop": {"probability": 0.2}}, 2), count=50)


@pytest.mark.parametrize(
    ("distribution", "longest", "mean"), [("exponential", 100, 10), ("uniform", 20, 10), ("constant", 10, 10)]
)
def test_delays_have_their_distribution(distribution: str, longest: float, mean: float) -> None:
    found = faults_of(plan({"late": {"probability": 1.0, "mean": 10.0, "distribution": distribution}}))

    delays = [fault.size for fault in found if fault]
    assert mean == pytest.approx(sum(delays) / len(delays), rel=0.05)
    assert 0 <= min(delays) <= max(delays) <= longest
    assert all(
        START_US + seq * SECOND_US + round(fault.size * SECOND_US) == fault.due
        for seq, fault in enumerate(found)
        if fault
    )


def test_readings_out_of_order_stay_in_the_window() -> None:
    found = faults_of(plan({"out_of_order": {"probability": 1.0, "window": 4}}))

    assert {1, 2, 3, 4} == {fault.due - seq for seq, fault in enumerate(found) if fault}


@pytest.mark.parametrize("kind", ["newest_first", "burst"])
def test_outages_are_whole(kind: str) -> None:
    """All readings of an outage are sent at its end."""
    found = faults_of(plan({kind: {"probability": 0.2, "duration": 30.0}}))

    assert 2000 == pytest.approx(sum(fault is not None for fault in found), rel=0.3)
    ends = Counter(fault.due for fault in found if fault)
    assert {30} == set(list(ends.values())[1:-1])
    assert all(fault.due > START_US + seq * SECOND_US for seq, fault in enumerate(found) if fault)


def test_a_wrong_clock_is_that_of_a_sensor() -> None:
    """With every reading, and never so little that it could be jitter."""
    one = plan({"clock_skew": {"probability": 0.3, "size": 100.0}, "drop": {"probability": 0.5}})
    skews = {
        n: {fault.size for fault in faults_of(one, f"S_{n}", 20) if fault and fault.kind == "clock_skew"}
        for n in range(200)
    }

    wrong = {n: sizes for n, sizes in skews.items() if sizes}
    assert 60 == pytest.approx(len(wrong), rel=0.3)
    assert all(len(sizes) == 1 and 10 <= abs(min(sizes)) <= 100 for sizes in wrong.values())
    assert {True, False} == {min(sizes) > 0 for sizes in wrong.values()}
    assert all(len(faults_of(one, f"S_{n}", 20)) == 20 for n in wrong)

"""Faults on the way to a target: each reading that is not dropped arrives, whatever is interrupted in between."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fleet.config.delivery_faults import DeliveryFaults
from fleet.delivery.batch import Batch
from fleet.delivery.bisecting_delivery import BisectingDelivery
from fleet.delivery.faults.damaged_record import DamagedRecord
from fleet.delivery.faults.fault_record import FaultRecord
from fleet.delivery.faults.faulty_target import FaultyTarget, open_faulty_target
from fleet.delivery.faults.plan import FaultPlan
from fleet.delivery.records.record import ROW
from fleet.delivery.target import DeliveryFailed, HoldingTarget, Receipt, TargetUnavailable
from fleet.delivery.targets.jsonl.rotation import Rotation
from fleet.delivery.targets.jsonl.target import JsonLinesTarget
from fleet.delivery.targets.registry import TargetOptions
from tests.fleet.delivery.recording_target import RecordingTarget, rejecting
from tests.fleet.delivery.samples import batch
from tests.fleet.delivery.targets.test_batches import Clock
from tests.fleet.verify.damage import select

LATE = {"late": {"probability": 0.3, "mean": 4.0}}
OUT_OF_ORDER = {"out_of_order": {"probability": 0.3, "window": 5}}
NEWEST_FIRST = {"newest_first": {"probability": 0.4, "duration": 6.0}}
BURST = {"burst": {"probability": 0.4, "duration": 6.0}}
DUPLICATE = {"duplicate": {"probability": 0.3}}
ALL = {
    **LATE,
    **OUT_OF_ORDER,
    "duplicate": {"probability": 0.2},
    "drop": {"probability": 0.1},
    "newest_first": NEWEST_FIRST["newest_first"],
}
COUNT = 120


def faulty(target: RecordingTarget, folder: Path, faults: dict[str, Any]) -> FaultyTarget:
    plan = FaultPlan(DeliveryFaults.model_validate(faults), 1)
    return FaultyTarget(target, plan, DamagedRecord(ROW, whole=True), FaultRecord(folder, target.name))


def deliver_all(target: FaultyTarget, size: int = 7) -> None:
    for first in range(1, COUNT + 1, size):
        some = batch(first, min(first + size, COUNT + 1))
        assert set(some.ids) == target.deliver(some).accepted
    target.write_held(everything=True)


def on_record(folder: Path, columns: str = "id", condition: str = "1") -> Sequence[Any]:
    return select(folder / "faults.sqlite", f"SELECT {columns} FROM faults WHERE {condition} ORDER BY id")


def kinds_on_record(folder: Path) -> dict[int, str]:
    return dict(on_record(folder, "id, kind"))


@pytest.mark.parametrize("size", [2, 7])
@pytest.mark.parametrize("faults", [LATE, OUT_OF_ORDER, NEWEST_FIRST, BURST])
def test_what_is_delayed_arrives_once(faults: dict[str, Any], size: int, tmp_path: Path) -> None:
    """In the same order whatever the batches are: behind a reading of its time, or behind a number of readings of its sensor."""
    target = RecordingTarget()
    deliver_all(faulty(target, tmp_path, faults), size)
    in_one_batch = RecordingTarget()
    deliver_all(faulty(in_one_batch, tmp_path / "other", faults), COUNT)

    assert list(range(1, COUNT + 1)) == sorted(target.ids) != target.ids
    assert in_one_batch.ids == target.ids
    places = {number: place for place, number in enumerate(target.ids)}
    delayed = kinds_on_record(tmp_path)
    assert len(delayed) > 15
    in_time = [number for number in target.ids if number not in delayed]
    assert in_time == sorted(in_time)
    for number, size_of_delay in on_record(tmp_path, "id, size"):
        after = number + int(size_of_delay)  # one reading a second
        later = [each for each in range(number + 1, min(after, COUNT) + 1) if each not in delayed]
        assert all(places[each] < places[number] for each in later), number


def test_an_outage_ends_with_its_newest_reading(tmp_path: Path) -> None:
    target = RecordingTarget()
    deliver_all(faulty(target, tmp_path, NEWEST_FIRST))

    delayed = kinds_on_record(tmp_path)
    runs = [
        (one, other)
        for one, other in zip(target.ids, target.ids[1:], strict=False)
        if one in delayed and other in delayed
    ]
    assert len(runs) > 15
    assert 0.8 < sum(one - other == 1 for one, other in runs) / len(runs)


def test_copies_are_sent_and_dropped_readings_are_not(tmp_path: Path) -> None:
    target = RecordingTarget()
    deliver_all(
        faulty(target, tmp_path, {"duplicate": {"probability": 0.2, "copies": 3}, "drop": {"probability": 0.1}})
    )

    kinds = kinds_on_record(tmp_path)
    assert {"drop", "duplicate"} == set(kinds.values())
    times = Counter(target.ids)
    expected = {"drop": 0, "duplicate": 4}
    assert [expected.get(kinds.get(number, ""), 1) for number in range(1, COUNT + 1)] == [
        times[number] for number in range(1, COUNT + 1)
    ]


@pytest.mark.parametrize("broken_call", range(1, 16, 3))
def test_nothing_is_lost_by_a_process_that_dies(broken_call: int, tmp_path: Path) -> None:
    """In any delivery, before or after the target has stored it; another process goes on from the cursor."""
    target = RecordingTarget()
    calls = 0

    def dying(some: Batch) -> Receipt:
        nonlocal calls
        calls += 1
        if calls == broken_call:
            raise TargetUnavailable("killed before it was stored")
        if calls == broken_call + 2:
            target.readings += some.keys()
            target.batches.append(some)
            raise TargetUnavailable("killed after it was stored")
        return Receipt(frozenset(some.ids))

    target._answer = dying
    settled, running = 0, faulty(target, tmp_path, ALL)
    while settled < COUNT:
        some = batch(settled + 1, min(settled + 8, COUNT + 1))
        try:
            running.deliver(some)
            settled = some.ids[-1]
        except TargetUnavailable:
            running.close()
            running = faulty(target, tmp_path, ALL)
    running.write_held(everything=True)

    kinds, times = kinds_on_record(tmp_path), Counter(target.ids)
    assert {number for number, kind in kinds.items() if kind == "drop"} == set(range(1, COUNT + 1)) - times.keys()
    assert all(times[number] >= 2 for number, kind in kinds.items() if kind == "duplicate")
    assert [] == on_record(tmp_path, condition="held")


def test_a_fault_is_on_record_before_its_reading_is_sent(tmp_path: Path) -> None:
    seen: list[set[int]] = []

    def look(some: Batch) -> Receipt:
        seen.append({number for (number,) in on_record(tmp_path)})
        return Receipt(frozenset(some.ids))

    target = RecordingTarget(look)
    faulty(target, tmp_path, DUPLICATE).deliver(batch(1, 31))

    assert seen[0] == set(kinds_on_record(tmp_path)) != set()


def test_what_waits_is_not_settled(tmp_path: Path) -> None:
    running = faulty(RecordingTarget(), tmp_path, LATE)
    running.deliver(batch(1, 30))

    ((first,),) = on_record(tmp_path, "min(id)", "held")
    assert first == running.first_held_id("generation-1")
    running.write_held(everything=True)
    assert running.first_held_id("generation-1") is None


def test_what_was_planned_and_not_delivered_is_forgotten(tmp_path: Path) -> None:
    """A process dies before its batch arrives; no copy comes before its reading, and other faults may hold by now."""
    path, url = tmp_path / "out.jsonl", f"jsonl:{tmp_path / 'out.jsonl'}"
    faults = {**LATE, **DUPLICATE, "drop": {"probability": 0.2}}

    def dying(_: Batch) -> Receipt:
        raise TargetUnavailable("killed")

    target = RecordingTarget(dying)
    target.name = f"jsonl:{path}"
    with pytest.raises(TargetUnavailable):
        faulty(target, tmp_path, faults).deliver(batch(1, 30))
    assert {"late", "duplicate", "drop"} == set(kinds_on_record(tmp_path).values())
    with closing(open_faulty_target(url, TargetOptions(), DeliveryFaults(), 1, tmp_path)) as opened:
        opened.write_held(everything=False)  # by a sweep that fails
        opened.deliver(batch(1, 30))
        opened.write_held(everything=True)

    assert {} == kinds_on_record(tmp_path)
    assert set(range(1, 30)) == {json.loads(line)["id"] for line in path.read_text().splitlines()}


def test_what_waits_is_sent_also_when_there_are_no_faults_any_more(tmp_path: Path) -> None:
    target = RecordingTarget()
    faulty(target, tmp_path, {**LATE, **DUPLICATE}).deliver(batch(1, 30))
    waiting = [number for (number,) in on_record(tmp_path, condition="held")]
    running = faulty(target, tmp_path, {})
    before = len(target.ids)
    running.deliver(batch(30, 34))
    running.write_held(everything=True)

    assert sorted([*waiting, 30, 31, 32, 33]) == sorted(target.ids[before:])
    assert set(range(1, 34)) == set(target.ids)


def test_a_file_has_each_reading_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the process dies after it was written, and before that is on record."""
    path, url = tmp_path / "out.jsonl", f"jsonl:{tmp_path / 'out.jsonl'}"
    faults = DeliveryFaults.model_validate({**LATE, **OUT_OF_ORDER, "drop": {"probability": 0.2}, **BURST})
    deaths, settle = itertools.cycle([True, False]), FaultRecord.settle

    def dying_settle(record: FaultRecord, *arguments: Any) -> None:
        if next(deaths):
            raise DeliveryFailed("killed")
        settle(record, *arguments)

    monkeypatch.setattr(FaultRecord, "settle", dying_settle)
    settled, died = 0, 0
    for _ in range(COUNT // 5):
        with closing(open_faulty_target(url, TargetOptions(), faults, 1, tmp_path)) as opened:
            try:
                opened.deliver(batch(settled + 1, min(settled + 10, COUNT + 1)))
            except DeliveryFailed:
                died += 1
            settled = opened.cursor("generation-1") or 0
        if settled == COUNT:
            break
    assert died > 3
    monkeypatch.undo()
    with closing(open_faulty_target(url, TargetOptions(), faults, 1, tmp_path)) as opened:
        opened.write_held(everything=True)

    times = Counter(json.loads(line)["id"] for line in path.read_text().splitlines())
    dropped = {number for number, kind in kinds_on_record(tmp_path).items() if kind == "drop"}
    assert {number: 1 for number in range(1, COUNT + 1) if number not in dropped} == times


def test_the_cursor_is_moved_by_what_is_dropped(tmp_path: Path) -> None:
    faults = DeliveryFaults.model_validate({"drop": {"probability": 1.0}})
    with closing(open_faulty_target(f"jsonl:{tmp_path}/out.jsonl", TargetOptions(), faults, 1, tmp_path)) as opened:
        assert {1, 2, 3} == opened.deliver(batch(1, 4)).accepted
        assert 3 == opened.cursor("generation-1")
    assert b"" == (tmp_path / "out.jsonl").read_bytes()


def test_damaged_readings_that_are_refused_are_settled(tmp_path: Path) -> None:
    """With an answer that names them, and with one that refuses the whole batch; others are given up as always."""
    faults = {"corrupt": {"probability": 0.2}, "truncate": {"probability": 0.1}}
    deliver_all(faulty(RecordingTarget(), tmp_path / "first", faults))
    damaged = set(kinds_on_record(tmp_path / "first"))
    good = min(set(range(1, COUNT + 1)) - damaged)

    def naming(some: Batch) -> Receipt:
        bad = {number: "a text" for number in some.ids if number in {*damaged, good}}
        return Receipt(frozenset(some.ids) - bad.keys(), rejected=bad)

    for name, answer in {"naming": naming, "whole": rejecting(*damaged, good)}.items():
        delivery = BisectingDelivery(faulty(RecordingTarget(answer), tmp_path / name, faults))
        receipt = delivery.deliver(batch(1, COUNT + 1))
        assert {good} == receipt.rejected.keys()
        assert set(range(1, COUNT + 1)) - {good} == receipt.accepted


def test_a_late_reading_that_is_refused_is_no_other(tmp_path: Path) -> None:
    """The batch that it came with arrives; the refusal is on record."""
    deliver_all(faulty(RecordingTarget(), tmp_path / "first", LATE))
    bad = on_record(tmp_path / "first", condition="apart")[3][0]
    target = RecordingTarget(rejecting(bad))
    running = faulty(target, tmp_path / "second", LATE)
    for first in range(1, COUNT + 1, 7):
        receipt = BisectingDelivery(running).deliver(batch(first, min(first + 7, COUNT + 1)))
        assert {} == receipt.rejected
    running.write_held(everything=True)

    assert set(range(1, COUNT + 1)) - {bad} == set(target.ids)
    ((number, reason),) = on_record(tmp_path / "second", "id, refused", "refused NOT NULL")
    assert (bad, f"422: {bad} is poison") == (number, reason)


def test_a_wrong_clock_changes_the_time_only(tmp_path: Path) -> None:
    target = RecordingTarget()
    faulty(target, tmp_path, {"clock_skew": {"probability": 1.0}}).deliver(batch(1, 4))

    right, wrong = batch(1, 4).documents(), target.batches[0].documents()
    assert [{**document, "timestamp": None} for document in right] == [
        {**document, "timestamp": None} for document in wrong
    ]
    assert all(one["timestamp"] != other["timestamp"] for one, other in zip(right, wrong, strict=True))
    assert [number["timestamp"] for number in right] == [time for (time,) in on_record(tmp_path, "timestamp")]


def test_a_file_is_rotated_also_while_no_reading_arrives(tmp_path: Path) -> None:
    clock, plan = Clock(), FaultPlan(DeliveryFaults.model_validate(DUPLICATE), 1)
    file = JsonLinesTarget(tmp_path / "out.jsonl", rotation=Rotation(age=60.0), now=clock)
    with closing(FaultyTarget(file, plan, DamagedRecord(ROW, whole=False), FaultRecord(tmp_path, "t"))) as target:
        target.deliver(batch(1, 3))
        assert isinstance(target, HoldingTarget)
        clock.time += timedelta(minutes=1)
        target.write_held(everything=False)

    assert (tmp_path / "out.000001.jsonl").exists()

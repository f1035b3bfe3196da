"""Settings that change while a sensor runs: by an order at the next reading, by a stage at an exact one."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.worker.samples import (
    ANOMALIES,
    IDENTITY,
    NEW_YEAR,
    SECOND_US,
    SPIKE,
    commit_due,
    live_worker,
    run,
    sensor,
    settings,
    with_catch_up,
)
from worker import messages
from worker.readings.random_streams import FloatArray
from worker.sensor import Sensor
from worker.spec import RunSpec, SensorSpec, Settings, Stage, WorkerSpec
from worker.storage.sinks import Epoch, Portion, Position

NEW = Position(0, None)
SETTINGS = settings(*ANOMALIES, rate="3")
WORSE = settings(replace(SPIKE, share=0.5), rate="3")
FASTER_SETTINGS = settings(rate="7")
STAGED = SensorSpec(
    IDENTITY,
    SETTINGS,
    0,
    (Stage(NEW_YEAR + 100 * SECOND_US + 1, WORSE), Stage(NEW_YEAR + 200 * SECOND_US, FASTER_SETTINGS)),
)
FIRST, NEXT = 301, 600
"""The first readings that are due at the times of the stages or after."""


def placed(spec: SensorSpec, during: RunSpec, position: Position = NEW) -> Sensor:
    return Sensor(spec, during, position)


def lived(subject: Sensor, until_us: int, most: int = 10_000) -> list[Portion]:
    """All that is due, as a worker asks for it."""
    portions: list[Portion] = []
    while some := commit_due(subject, until_us, most):
        portions.extend(some)
    return portions


def epochs(portions: list[Portion]) -> list[Epoch]:
    return [portion.epoch for portion in portions if portion.epoch]


def values(portions: list[Portion]) -> bytes:
    blocks = [portion.block for portion in portions if portion.block]
    times = np.concatenate([block.times for block in blocks])
    measured: FloatArray = np.concatenate([block.values for block in blocks], axis=1)
    return times.tobytes() + measured.tobytes()


def test_a_stage_begins_an_epoch_at_the_reading_of_its_time() -> None:
    """The first that is due then or later; the schedule goes on from it, and the portion names the schedule before."""
    portions = lived(placed(STAGED, run()), NEW_YEAR + 250 * SECOND_US)
    start, worse, faster = epochs(portions)

    assert ("start", 0, SETTINGS) == (start.reason, start.schedule.first_seq, start.settings)
    assert ("scenario", FIRST, WORSE) == (worse.reason, worse.schedule.first_seq, worse.settings)
    assert ("scenario", NEXT, FASTER_SETTINGS) == (faster.reason, faster.schedule.first_seq, faster.settings)
    assert start.schedule.time(FIRST) == worse.schedule.start_us
    assert worse.schedule.time(NEXT) == faster.schedule.start_us
    assert [FIRST, NEXT] == [p.next_seq for p in portions if p.previous]
    assert all(before.end == after.next_seq for before, after in pairwise(portions))
    assert NEXT + 350 <= portions[-1].end <= NEXT + 351


@pytest.mark.parametrize("most", [1, 7, 299, 10_000])
def test_a_stage_is_the_same_for_every_block_size(most: int) -> None:
    whole = lived(placed(STAGED, run()), NEW_YEAR + 210 * SECOND_US)
    parts = lived(placed(STAGED, run()), NEW_YEAR + 210 * SECOND_US, most)

    assert epochs(whole) == epochs(parts)
    assert values(whole) == values(parts)


@pytest.mark.parametrize("stand", [1, FIRST - 1, FIRST, FIRST + 1, NEXT])
def test_who_catches_up_across_a_stage_gets_the_same(stand: int) -> None:
    """Killed at whatever reading, also right between two stages: the epochs, their reasons and all values."""
    whole = lived(placed(STAGED, run()), NEW_YEAR + 300 * SECOND_US)
    killed = placed(STAGED, run())
    before: list[Portion] = []
    while killed.next_seq < stand:
        before += commit_due(killed, NEW_YEAR + 300 * SECOND_US, most=1)
    again = placed(STAGED, run(), Position(stand, epochs(before)[-1]))
    after = lived(again, NEW_YEAR + 300 * SECOND_US)
    later = lived(
        placed(STAGED, with_catch_up(run(2, NEW_YEAR + 290 * SECOND_US)), Position(stand, epochs(before)[-1])),
        NEW_YEAR + 300 * SECOND_US,
    )

    assert values(whole) == values(before + after) == values(before + later)
    assert epochs(whole) == epochs(before + after)
    assert epochs(whole) == [replace(epoch, run=1) for epoch in epochs(before + later)]


def test_a_stage_without_an_effect_begins_no_epoch() -> None:
    same = replace(
        STAGED, stages=(Stage(NEW_YEAR + 100 * SECOND_US, SETTINGS), Stage(NEW_YEAR + 200 * SECOND_US, WORSE))
    )
    begun = epochs(lived(placed(same, run()), NEW_YEAR + 210 * SECOND_US))

    assert [0, 600] == [epoch.schedule.first_seq for epoch in begun]


def test_stages_between_two_readings_count_once() -> None:
    """A slow sensor: the last of them is in force at its next reading."""
    slow = replace(SETTINGS, rate="0.001"), replace(WORSE, rate="0.001"), replace(FASTER_SETTINGS, rate="0.001")
    spec = SensorSpec(
        IDENTITY, slow[0], 0, (Stage(NEW_YEAR + SECOND_US, slow[1]), Stage(NEW_YEAR + 2 * SECOND_US, slow[2]))
    )
    begun = epochs(lived(placed(spec, run()), NEW_YEAR + 1500 * SECOND_US))

    assert [(0, slow[0]), (1, slow[2])] == [(epoch.schedule.first_seq, epoch.settings) for epoch in begun]


def test_a_run_ends_when_it_should_after_stages() -> None:
    """The timestamps of a rate of 3/s are rounded; no reading at the very end slips in."""
    same_rate = replace(STAGED, stages=STAGED.stages[:1])
    for seconds in (101, 110, 200, 333):
        subject = placed(same_rate, run(seconds=seconds))
        lived(subject, NEW_YEAR + 1000 * SECOND_US)

        assert subject.done
        assert 3 * seconds == subject.next_seq


def test_a_drain_right_before_a_stage_cuts_what_runs() -> None:
    """The epoch that waits for its first reading is not written, and the episode before it is cut all the same."""
    subject = placed(STAGED, run())
    lived(subject, NEW_YEAR + 100 * SECOND_US)
    (last,) = subject.portions(NEW_YEAR + 100 * SECOND_US, 10, final=True)

    assert (FIRST, None, True, None) == (last.next_seq, last.block, last.truncate, last.epoch)
    assert (SETTINGS, 0) == (last.settings, last.schedule.first_seq)
    assert FIRST == subject.next_seq


def changed(sensor_settings: Settings) -> Sensor:
    """Return a sensor that has committed ten seconds of readings and then changed to other settings."""
    subject = sensor(SETTINGS, run())
    lived(subject, NEW_YEAR + 10 * SECOND_US)
    subject.change(SensorSpec(IDENTITY, sensor_settings, 0))
    return subject


def test_a_change_begins_an_epoch_at_the_next_reading() -> None:
    subject = changed(FASTER_SETTINGS)
    (epoch,) = epochs(lived(subject, NEW_YEAR + 20 * SECOND_US))

    assert ("settings", FASTER_SETTINGS, 31) == (epoch.reason, epoch.settings, epoch.schedule.first_seq)
    assert NEW_YEAR + 10_333_333 == epoch.schedule.start_us


def test_a_change_of_nothing_begins_no_epoch() -> None:
    assert [] == epochs(lived(changed(SETTINGS), NEW_YEAR + 20 * SECOND_US))


def test_a_change_that_is_taken_back_in_time_leaves_no_trace() -> None:
    subject = changed(FASTER_SETTINGS)
    subject.change(SensorSpec(IDENTITY, SETTINGS, 0))
    portions = lived(subject, NEW_YEAR + 20 * SECOND_US)

    assert ([], 61) == (epochs(portions), portions[-1].end)


def test_a_change_before_the_first_reading_is_where_it_starts() -> None:
    subject = sensor(SETTINGS, run())
    subject.change(SensorSpec(IDENTITY, FASTER_SETTINGS, 0))
    (epoch,) = epochs(lived(subject, NEW_YEAR + SECOND_US))

    assert ("start", FASTER_SETTINGS, NEW_YEAR) == (epoch.reason, epoch.settings, epoch.schedule.start_us)


def test_a_change_of_stages_moves_the_turn() -> None:
    """What lies ahead is replaced, what is in force stays."""
    subject = placed(STAGED, run())
    lived(subject, NEW_YEAR + 10 * SECOND_US)
    subject.change(replace(STAGED, stages=(Stage(NEW_YEAR + 20 * SECOND_US, WORSE),)))
    (epoch,) = epochs(lived(subject, NEW_YEAR + 300 * SECOND_US))

    assert ("scenario", 60, WORSE) == (epoch.reason, epoch.schedule.first_seq, epoch.settings)


def sent(spec: WorkerSpec, before: WorkerSpec) -> WorkerSpec:
    """Return the spec of a worker after it has received a change."""
    return messages.apply_change(before, json.loads(json.dumps(messages.change_message(spec, before))))


@pytest.mark.claim("001.dynamic-configuration.3")
def test_an_order_says_all_that_a_spec_does() -> None:
    """Through JSON: identity, settings and stages to the last bit, for all sensors of a pack; store and run stay."""
    worker = live_worker(Path("x.db"), SETTINGS)
    pack = replace(worker, sensors=tuple(replace(worker.sensors[0], row=row) for row in range(3)))
    moved = replace(IDENTITY, location="Zürich", latitude=0.1 + 0.2)
    changed_pack = replace(
        pack,
        sensors=(replace(STAGED, identity=moved), replace(STAGED, row=1), replace(STAGED, row=2)),
        log_level="DEBUG",
    )

    assert changed_pack == sent(changed_pack, pack)


def test_stages_that_stay_are_not_sent() -> None:
    """A scenario may have thousands; an injection changes those of its time. It took seconds for each sensor."""
    worker = live_worker(Path("x.db"), SETTINGS)
    stages = tuple(Stage(NEW_YEAR + n, settings(replace(SPIKE, share=(n + 1) / 1_000))) for n in range(300))
    of = {
        name: replace(worker, sensors=(replace(worker.sensors[0], stages=each),))
        for name, each in {
            "none": (),
            "all": stages,
            "middle": (*stages[:200], Stage(NEW_YEAR + 200, WORSE), *stages[201:]),
            "one more": (*stages[:200], stages[200], Stage(NEW_YEAR + 200, WORSE), *stages[201:]),
            "twice": (*stages[:10], *stages[:10]),
            "once": stages[:10],
            "end": stages[:-1],
            "beginning": stages[1:],
        }.items()
    }

    for before in of.values():
        for after in of.values():
            assert after == sent(after, before)
    for name in ("all", "middle", "one more", "end", "beginning"):
        assert len(json.dumps(messages.change_message(of[name], of["all"]))) < 5_000

"""Anomalies by order: every reading of a stretch of time, and no other; the same whoever computes it and when."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.worker.samples import (
    ANOMALIES,
    IDENTITY,
    MISSING,
    NEW_YEAR,
    SECOND_US,
    commit_due,
    live_worker,
    run,
    settings,
)
from worker import messages
from worker.readings.generator import SignalGenerator
from worker.sensor import Sensor
from worker.spec import AnomalySpec, Injection, Pause, SensorSpec, Settings, Stage
from worker.storage.schema import settings_from_json, settings_text, settings_to_json
from worker.storage.sinks import Epoch, Portion, Position

SETTINGS = settings(*ANOMALIES, rate="4")
FROM, UNTIL = NEW_YEAR + 100 * SECOND_US + 7, NEW_YEAR + 130 * SECOND_US
FIRST, NEXT = 401, 520
"""The first readings that are due at those times or after."""
NEW = Position(0, None)


def injection(kind: str, *parameters: tuple[str, float], **details: object) -> Injection:
    anomaly = AnomalySpec(kind, 1.0, (UNTIL - FROM) / SECOND_US, "seconds", parameters)
    return replace(Injection("x", anomaly, FROM, UNTIL), **details)  # type: ignore[arg-type]


def under(order: Injection, base: Settings = SETTINGS) -> Settings:
    return replace(base, injection=order)


def spec(order: Injection, base: Settings = SETTINGS) -> SensorSpec:
    return SensorSpec(IDENTITY, base, 0, (Stage(FROM, under(order, base)), Stage(UNTIL, base)))


def lived(subject: Sensor, until_us: int, most: int = 10_000) -> list[Portion]:
    portions: list[Portion] = []
    while some := commit_due(subject, until_us, most):
        portions.extend(some)
    return portions


def live(sensor_spec: SensorSpec, most: int = 10_000, seconds: int = 200) -> list[Portion]:
    subject = Sensor(sensor_spec, run(), NEW)
    return lived(subject, NEW_YEAR + seconds * SECOND_US, most)


def epochs(portions: list[Portion]) -> list[Epoch]:
    return [portion.epoch for portion in portions if portion.epoch]


def kinds(portions: list[Portion]) -> list[int]:
    return [kind for portion in portions if portion.block for kind in portion.block.kinds.tolist()]


def everything(portions: list[Portion]) -> bytes:
    blocks = [portion.block for portion in portions if portion.block]
    columns = (
        [b.times.tobytes() for b in blocks],
        [b.kinds.tobytes() for b in blocks],
        [b.values.T.tobytes() for b in blocks],
    )
    return b"".join(part for column in columns for part in column)


@pytest.mark.parametrize("kind", ["spike", "trend", "pattern", "missing_data", "noise"])
def test_all_of_its_time_and_nothing_else(kind: str) -> None:
    """One episode on record, from the first reading of its time to the last; each reading in it is labelled; around it
    the natural ones come."""
    portions = live(spec(injection(kind)))
    start, forced, after = epochs(portions)
    number = ["spike", "trend", "pattern", "missing_data", "noise"].index(kind)
    episodes = [
        episode for p in portions if p.block for episode in p.block.episodes if FIRST <= episode.first_seq < NEXT
    ]

    assert [("start", 0), ("injection x", FIRST), ("injection x ends", NEXT)] == [
        (epoch.reason, epoch.schedule.first_seq) for epoch in (start, forced, after)
    ]
    assert [number] * (NEXT - FIRST) == kinds(portions)[FIRST:NEXT]
    assert [(kind, FIRST, NEXT - 1)] == [(e.kind, e.first_seq, e.last_seq) for e in episodes]
    assert any(found >= 0 for found in kinds(portions)[NEXT:])
    assert (SETTINGS, SETTINGS) == (start.settings, after.settings)


def test_bits_do_not_depend_on_portions_or_on_crashes() -> None:
    """One at a time, all at once, or by somebody who takes over in the middle of it."""
    sensor_spec = spec(injection("trend"))
    whole = live(sensor_spec)
    half = live(sensor_spec, seconds=115)
    last = epochs(half)[-1]
    heir = Sensor(sensor_spec, run(), Position(half[-1].end, last))

    assert everything(whole) == everything(live(sensor_spec, most=1))
    assert everything(whole) == everything([*half, *lived(heir, NEW_YEAR + 200 * SECOND_US)])


def test_an_order_that_comes_late_begins_in_the_middle() -> None:
    """With the same draws: from then on all readings are as if it had come in time."""
    sensor_spec = spec(injection("trend"))
    subject = Sensor(SensorSpec(IDENTITY, SETTINGS, 0), run(), NEW)
    before = lived(subject, NEW_YEAR + 110 * SECOND_US)
    subject.change(sensor_spec)
    after = lived(subject, NEW_YEAR + 128 * SECOND_US)
    seq = before[-1].end
    in_time = [p for p in live(sensor_spec, most=1) if seq <= p.next_seq < after[-1].end]

    assert [("injection x", seq)] == [(epoch.reason, epoch.schedule.first_seq) for epoch in epochs(after)]
    assert everything(in_time) == everything(after)


def test_one_that_is_taken_back_ends_there() -> None:
    """What was written of it stays as it was, and the record of its episode is cut."""
    order = injection("noise")
    subject = Sensor(spec(order), run(), NEW)
    lived(subject, NEW_YEAR + 110 * SECOND_US)
    cut = NEW_YEAR + 112 * SECOND_US
    subject.change(SensorSpec(IDENTITY, SETTINGS, 0, (Stage(FROM, under(order)), Stage(cut, SETTINGS))))
    after = lived(subject, NEW_YEAR + 120 * SECOND_US)

    (end,) = epochs(after)
    assert ("injection x ends", cut) == (end.reason, end.schedule.start_us)
    assert [end.schedule.first_seq] == [portion.next_seq for portion in after if portion.previous]


def test_its_size_is_what_was_asked_for() -> None:
    """And on the one channel that was, whatever the kind."""
    sizes = {
        "spike": ((("multiplier_min", 5.0), ("multiplier_max", 5.0)), {"factor": 5.0}),
        "trend": ((("max_change", -0.5),), {"change": -0.5}),
        "noise": ((("factor", 0.2),), {"noise_factor": 0.2}),
        "pattern": ((("amplitude", 4.0),), {"amplitude": 4.0}),
    }
    for kind, (parameters, record) in sizes.items():
        injected = under(injection(kind, *parameters, channel="pressure", sized=True))
        generator = SignalGenerator(42, IDENTITY, injected, FIRST, FROM)
        (episode,) = generator.episodes(FIRST, FIRST + 10)
        (usual,) = SignalGenerator(42, IDENTITY, under(injection("missing_data")), FIRST, FROM).episodes(
            FIRST, FIRST + 1
        )
        other = SignalGenerator(42, IDENTITY, settings(rate="4"), FIRST, FROM).block(FIRST, 100).values
        changed = (generator.block(FIRST, 100).values != other).any(axis=1)

        assert (("pressure",), record) == (episode.channels, {name: episode.parameters[name] for name in record})
        assert [False, False, True, False, False] == changed.tolist()
        assert () == usual.channels


def test_a_factor_is_a_factor() -> None:
    injected = under(
        injection("spike", ("multiplier_min", 5.0), ("multiplier_max", 5.0), channel="pressure", sized=True)
    )
    spiked, healthy = (
        SignalGenerator(42, IDENTITY, each, 0, FROM).block(0, 50).values[2] for each in (injected, settings(rate="4"))
    )

    np.testing.assert_allclose(spiked, 5 * healthy, atol=5)


def test_the_first_reading_of_a_missing_stretch_is_missing() -> None:
    """Where a natural one would leave it, so that a sensor that starts is seen to start."""
    natural = settings(replace(MISSING, share=0.9), rate="4")

    assert [3] * 10 == SignalGenerator(42, IDENTITY, under(injection("missing_data"), natural), FIRST, FROM).block(
        FIRST, 10
    ).kinds.tolist()


def test_what_is_stored_says_it_all() -> None:
    """There and back, in a database and in an order; settings without one are stored as they ever were."""
    injected = under(injection("spike", ("multiplier_min", 2.0), channel="voltage", sized=True))

    assert injected == settings_from_json(json.loads(settings_text(injected)))
    assert "injection" not in settings_to_json(SETTINGS)
    assert SETTINGS == settings_from_json(json.loads(settings_text(SETTINGS)))


def test_an_order_carries_it(tmp_path: Path) -> None:
    """With its stages and pauses, as the worker is to know them."""
    worker = live_worker(tmp_path / "x.db", SETTINGS)
    changed = replace(worker, sensors=(replace(spec(injection("noise")), pauses=(Pause(1, 2), Pause(3))),))

    assert changed == messages.apply_change(worker, json.loads(json.dumps(messages.change_message(changed, worker))))


def test_what_changes_nothing_now_costs_nothing() -> None:
    """Stages and pauses that are over, or are to come, leave the epoch as it is, compiled."""
    subject = Sensor(SensorSpec(IDENTITY, SETTINGS, 0), run(), NEW)
    lived(subject, NEW_YEAR + 90 * SECOND_US)
    generator = subject.generator
    subject.change(spec(injection("noise")))
    subject.change(replace(spec(injection("spike")), pauses=(Pause(UNTIL + SECOND_US, UNTIL + 2 * SECOND_US),)))

    assert generator is subject.generator
    assert ["injection x", "injection x ends", "skip"] == [
        e.reason for e in epochs(lived(subject, NEW_YEAR + 200 * SECOND_US))
    ]

"""The sensors of a config and what they read in a time, computed without a process: what their workers would have written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fleet.config.config import Config
from fleet.datadir.directory import DataDirectory
from fleet.runtime.planner import Plan, Planner
from worker.readings.generator import HEALTHY_INDEX, Block, Episode
from worker.schedule import Schedule
from worker.sensor import Sensor
from worker.spec import RunSpec, SensorSpec
from worker.storage.sinks import Epoch, Portion, Position

FIRST_RUN = 1
"""The number of the run of a history. The runs of `fleet up` have larger ones."""

READINGS_PER_PORTION = 16_384

END_OF_TIME_US = 1 << 61
"""A time at which every reading of a history is due."""


class Span(NamedTuple):
    """A time from `start_us` until `end_us`, the end excluded, in microseconds since 1970."""

    start_us: int
    end_us: int


def plan_history(config: Config, directory: DataDirectory, identities: Path | None, span: Span, wall_us: int) -> Plan:
    """Return the plan of the run that lasts for a span, on a data directory that is new or was planned like this before.

    The clock of the fleet stands at the end of the span at `wall_us`, microseconds since 1970: `fleet up` goes on from there.
    Writes the missing identity files. Raises UserError.
    """
    plan = Planner(config, directory, identities).initial_plan()
    run = replace(
        plan.run, number=FIRST_RUN, start_us=span.start_us, origin_ns=0, duration_us=span.end_us - span.start_us
    )
    record = replace(
        plan.record,
        runs=FIRST_RUN,
        start_us=span.start_us,
        wall_us=max(wall_us - (span.end_us - span.start_us), 0),
        boot_id="",  # the wall clock alone says how much time has passed since
        origin_ns=0,
    )
    return replace(plan, record=record, run=run, workers=tuple(replace(each, run=run) for each in plan.workers))


def portions_until(sensor: Sensor, until_us: int = END_OF_TIME_US, end: int | None = None) -> Iterator[Portion]:
    """Yield the readings of a sensor that are due before a time, or all of a run that has an end; at most up to the sequence
    number `end`."""
    while True:
        most = READINGS_PER_PORTION if end is None else min(READINGS_PER_PORTION, end - sensor.next_seq)
        found = sensor.portions(until_us - 1, most)
        if not found:
            return
        for portion in found:
            yield portion
            sensor.commit(portion)


def scheduled_readings(spec: SensorSpec, run: RunSpec) -> int:
    """Return how many readings of a sensor are due in a run that has an end, but for the rounding at each stage and pauses."""
    assert run.end_us is not None
    stages = [stage for stage in spec.stages if run.start_us < stage.at_us < run.end_us]
    bounds = [run.start_us, *(stage.at_us for stage in stages), run.end_us]
    settings = [spec.settings_at(run.start_us), *(stage.settings for stage in stages)]
    return sum(
        Schedule(0, begin, each.exact_rate).count(end - begin)
        for begin, end, each in zip(bounds, bounds[1:], settings, strict=False)
    )


class UncomputedSensor(Sensor):
    """A sensor whose portions have epochs and episodes but no values."""

    def _readings_from(self, first: int, end: int) -> Block:
        count = end - first
        begun = tuple(each for each in self.episodes(first, end) if each.first_seq >= first)
        return Block(
            first,
            np.broadcast_to(np.int64(0), count),
            np.broadcast_to(np.int8(HEALTHY_INDEX), count),
            np.empty((0, count)),
            begun,
        )

    def episodes(self, first: int, end: int) -> Sequence[Episode]:
        return self.generator.episodes(first, end)


class EpochsOfSensor(UncomputedSensor):
    """A sensor whose portions have epochs alone: those of a year take milliseconds."""

    def episodes(self, first: int, end: int) -> Sequence[Episode]:
        return ()


class EpochOfSensor(NamedTuple):
    """An epoch, and the sequence number after its last reading."""

    epoch: Epoch
    end: int


def epochs_of(spec: SensorSpec, run: RunSpec) -> Sequence[EpochOfSensor]:
    """Return the epochs of a sensor in a run that has an end. No reading is computed."""
    epochs: list[EpochOfSensor] = []
    for portion in portions_until(EpochsOfSensor(spec, run, Position(0, None))):
        if portion.epoch is not None:
            epochs.append(EpochOfSensor(portion.epoch, portion.end))
        else:
            epochs[-1] = epochs[-1]._replace(end=portion.end)
    return epochs

"""The readings of one sensor in a range of time as points, each with the lowest and the highest value of its readings, so that
a spike of one reading is in it; beside them the values without anomalies, computed again, and the recorded episodes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fleet.datadir.computed_readings import MALFORMED_EPOCH_ERRORS
from fleet.datadir.series import point_size, point_starts, rows_of_channels, without_anomalies
from fleet.errors import UserError
from fleet.history.source import EpochPart, epoch_parts
from fleet.history.stored import StoredHistory, current_path, opened
from worker.readings.attributes import AttributeColumn
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US, IntArray, Schedule
from worker.spec import Identity
from worker.storage.sinks import Epoch

MAX_READINGS_AT_ONCE = 1 << 17
"""Readings that are held at once while they become points."""

SELECT_EPISODES = """
    SELECT first_seq, last_seq, type, channel FROM anomaly_episodes
    WHERE sensor_id = ?1 AND last_seq >= ?2 AND first_seq < ?3 ORDER BY first_seq
"""


@dataclass(frozen=True, slots=True)
class PlottedEpisode:
    """An episode in microseconds since 1970, from half an interval before its first reading to half of one after its last.
    `channels` are those that it changes, none for whole readings."""

    type: str
    channels: tuple[str, ...]
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class SensorPoints:
    """Points of `step` scheduled readings of a sensor. `times_us` are those of the first reading of each; the arrays have shape
    (channels, points), NaN where there is no value. `breaks` are the points that follow a time without scheduled readings.
    """

    identity: Identity
    channels: tuple[tuple[str, str], ...]
    step: int
    readings: int
    times_us: IntArray
    breaks: tuple[int, ...]
    lowest: FloatArray
    highest: FloatArray
    healthy: FloatArray
    episodes: tuple[PlottedEpisode, ...]

    @property
    def sensor_id(self) -> str:
        return self.identity.sensor_id


def read_points(history: StoredHistory, first: int, end: int, points: int, only: Collection[str] = ()) -> SensorPoints:
    """Return the readings `first` .. `end - 1` as at most `points` points (one more where they do not begin with a multiple of
    their size). The channels are those of the last epoch, or `only` those named. UserError if they cannot be read."""
    step = point_size(end - first, points)
    parts = list(epoch_parts(history.epochs, first, end))
    last = parts[-1].epoch
    channels = tuple((each.name, each.unit) for each in last.settings.channels if not only or each.name in only)
    names = [name for name, _ in channels]
    recorded = recorded_extremes(history, first, end, step, names)
    times, healthy = healthy_points(history, parts, step, names)
    breaks = tuple(part.first // step - first // step for part in parts[1:] if follows_gap(history.epochs, part.epoch))
    episodes = tuple(read_episodes(history, first, end))
    return SensorPoints(last.identity, channels, step, end - first, times, breaks, *recorded, healthy, episodes)


def recorded_extremes(
    history: StoredHistory, first: int, end: int, step: int, names: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and the highest recorded value of each point."""
    shape = len(names), (end - 1) // step - first // step + 1
    lowest, highest = np.full(shape, np.nan), np.full(shape, np.nan)
    for table in history.tables(first, end, names, keep_missing=False):
        if not len(table):
            continue
        numbers = table.seqs // step - first // step
        starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1])
        places = numbers[starts]
        for row, name in enumerate(names):
            values = table.columns.get(name)
            if values is not None and not isinstance(values, AttributeColumn):
                finite = np.where(np.isfinite(values), values, np.nan)
                lowest[row, places] = np.fmin(lowest[row, places], np.fmin.reduceat(finite, starts))
                highest[row, places] = np.fmax(highest[row, places], np.fmax.reduceat(finite, starts))
    return lowest, highest


def healthy_points(
    history: StoredHistory, parts: Sequence[EpochPart], step: int, names: Sequence[str]
) -> tuple[IntArray, FloatArray]:
    """Return the time of the first reading of each point, and the mean of its values without anomalies."""
    first, end = parts[0].first, parts[-1].end
    count = (end - 1) // step - first // step + 1
    times = np.zeros(count, dtype=np.int64)
    sums, counts = np.zeros((len(names), count)), np.zeros(count)
    try:
        for epoch, begin, until in pieces(parts):
            with np.errstate(all="ignore"):
                block = without_anomalies(epoch, begin, until - begin)
            starts = point_starts(begin, until, step)
            places = (starts + begin) // step - first // step
            values = rows_of_channels(block.values, epoch, names)
            times[places] = np.where(counts[places] == 0, block.times[starts], times[places])
            sums[:, places] += np.add.reduceat(values, starts, axis=1)
            counts[places] += np.diff(np.append(starts, until - begin))
    except MALFORMED_EPOCH_ERRORS as error:
        raise UserError(
            f"{history.sensor_id}: its epochs cannot be computed: {type(error).__name__}: {error}; fleet verify says more"
        ) from error
    return times, sums / counts


def pieces(parts: Sequence[EpochPart]) -> Iterator[EpochPart]:
    """Cut parts of epochs into pieces of MAX_READINGS_AT_ONCE."""
    for epoch, first, end in parts:
        for begin in range(first, end, MAX_READINGS_AT_ONCE):
            yield EpochPart(epoch, begin, min(end, begin + MAX_READINGS_AT_ONCE))


def follows_gap(epochs: Sequence[Epoch], epoch: Epoch) -> bool:
    """Return whether time was left out before an epoch: its first reading is due later than the one before lets expect."""
    number = epochs.index(epoch)
    before = epochs[number - 1].schedule
    late = epoch.schedule.start_us - before.time(epoch.schedule.first_seq)
    return number > 0 and late > interval_us(before) / 2


def interval_us(schedule: Schedule) -> int:
    """Return the time between two readings."""
    return round(SECOND_US / schedule.rate)


class EpisodeRow(NamedTuple):
    """A recorded episode: its first and last reading, its type, and its channels joined by commas, None for whole readings."""

    first_seq: int
    last_seq: int
    type: str
    channel: str | None


def read_episode_rows(history: StoredHistory, first: int, end: int) -> list[EpisodeRow]:
    """Return the recorded episodes with a reading in `first` .. `end - 1`, in order. UserError if they cannot be read."""
    found: dict[int, EpisodeRow] = {}
    for part in history.parts:
        if part.first < end and part.end > first:
            with opened(current_path(part)) as connection:
                rows: list[Any] = connection.execute(SELECT_EPISODES, (history.sensor_id, first, end)).fetchall()
            # One that runs on is in the next database as well, where it may be cut.
            found |= {row[0]: EpisodeRow(*row) for row in rows}
    return [found[number] for number in sorted(found)]


def read_episodes(history: StoredHistory, first: int, end: int) -> Iterator[PlottedEpisode]:
    """Yield the episodes of `read_episode_rows` as they are plotted."""
    firsts = [epoch.schedule.first_seq for epoch in history.epochs]
    for begin, last, kind, channel in read_episode_rows(history, first, end):
        schedule = history.epochs[max(bisect_right(firsts, begin) - 1, 0)].schedule
        half = interval_us(schedule) // 2
        channels = tuple(channel.split(",")) if channel else ()
        yield PlottedEpisode(kind, channels, schedule.time(begin) - half, schedule.time(last) + half)

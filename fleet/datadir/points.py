"""The readings of one sensor in any range of time, several of them to a point, with the lowest and the highest value of each.

Recorded values are read from rows, or computed where no row is stored. Points of a wide range are read piece by piece, for as
long as a caller grants, and kept in a cache: a reading never changes, so neither does a point whose readings are all there.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from fleet.datadir.readings import DatabaseUnreadable
from fleet.datadir.series import (
    MALFORMED_EPOCH_ERRORS,
    SELECT_COLUMN_NAMES,
    point_size,
    point_starts,
    rows_of_channels,
    without_anomalies,
)
from fleet.datadir.timeline import EpochPart, SensorFile, Timeline, opened_file, read_epoch_parts
from worker.readings.anomaly_type import MAX_EPISODE_READINGS
from worker.readings.generator import MISSING_DATA_INDEX, SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray
from worker.storage.schema import quote_identifier, stores_readings

PIECE_READINGS = 32_768
"""Readings that are read at once, and whose points are cached together."""

LEVELS = ((1 << 21, 32), (1 << 25, 512), (1 << 63, 8192))
"""Up to how many readings a range has points of which size in the cache, so that those of a range take some megabytes."""

MAX_CACHE_BYTES = 48_000_000
MARK_BYTES = 200
MAX_MARKS = 4000

SELECT_RANGES = """
    SELECT seq / ?4{ranges} FROM sensor_readings WHERE sensor_id = ?1 AND seq >= ?2 AND seq < ?3 GROUP BY seq / ?4
"""

SELECT_MARKS = """
    SELECT type, channel, min(first_seq), max(last_seq), count(*) FROM anomaly_episodes
    WHERE sensor_id = ?1 AND first_seq >= ?2 AND first_seq < ?3 GROUP BY type, channel, first_seq / ?4
"""

SELECT_RUNNING = f"""
    SELECT type, channel, first_seq, last_seq, 1 FROM anomaly_episodes
    WHERE sensor_id = ?1 AND first_seq < ?2 AND last_seq >= ?2 AND first_seq >= min(?2 - {MAX_EPISODE_READINGS}, coalesce(
        (SELECT max(first_seq) FROM anomaly_episodes WHERE sensor_id = ?1 AND first_seq <= ?2), 0))
"""


class Mark(NamedTuple):
    """One episode, or several `episodes` of one type on the same channels that lie close together. The numbers are inclusive;
    `channel` is as in the table of episodes."""

    type: str
    channel: str | None
    first_seq: int
    last_seq: int
    episodes: int


@dataclass(frozen=True, slots=True)
class Points:
    """Points by column: the first reading of each and when it was measured, how many scheduled readings it has; by channel
    the lowest and the highest value, NaN without a row, and the sum of the values without anomalies, NaN for an epoch
    without that channel. `marks` are the episodes that begin with one of the readings."""

    seqs: IntArray
    times_us: IntArray
    counts: IntArray
    lowest: FloatArray
    highest: FloatArray
    healthy: FloatArray
    marks: tuple[Mark, ...]

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        arrays = (self.seqs, self.times_us, self.counts, self.lowest, self.highest, self.healthy)
        return sum(array.nbytes for array in arrays) + MARK_BYTES * len(self.marks)


class PointCache:
    """Points that stay as they are, at most MAX_CACHE_BYTES; the ones that were not used for the longest time are dropped."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._points: OrderedDict[tuple[Any, ...], Points] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[Any, ...]) -> Points | None:
        with self._lock:
            if key in self._points:
                self._points.move_to_end(key)
            return self._points.get(key)

    def put(self, key: tuple[Any, ...], points: Points) -> None:
        with self._lock:
            if key in self._points:
                return
            self._points[key] = points
            self._bytes += points.size
            while self._bytes > MAX_CACHE_BYTES:
                self._bytes -= self._points.popitem(last=False)[1].size


@dataclass(frozen=True, slots=True)
class SensorRange:
    """The readings `first_seq` .. `end_seq - 1` of a sensor as points of `step` readings. `channels` are (name, unit) of the
    last epoch in the range. `read` is the share of the readings that the points have; below 1 there was no time for more."""

    first_seq: int
    end_seq: int
    step: int
    channels: tuple[tuple[str, str], ...]
    points: Points
    read: float


def read_range(
    timeline: Timeline, first: int, end: int, points: int, cache: PointCache, seconds: float
) -> SensorRange | None:
    """Return the readings `first` .. `end - 1` as at most `points` points, None if there are none. What is not in the cache
    is read for about `seconds`, from the first reading on, at least one piece. Raises DatabaseUnreadable."""
    first, end = max(first, timeline.first_seq), min(end, timeline.next_seq)
    if first >= end:
        return None
    live = timeline.files[-1].path
    parts = read_epoch_parts(live, timeline.sensor_id, end - 1, end)
    if not parts:
        raise DatabaseUnreadable(live, f"it has no epoch of reading {end - 1}")
    channels = tuple((channel.name, channel.unit) for channel in parts[0][0].settings.channels)
    reader = PointReader(timeline, tuple(name for name, _ in channels))
    step = point_size(end - first, points)
    level = next(size for most, size in LEVELS if end - first <= most)
    if step < level:
        pieces, until = [reader.read(first, end, step)], end
    else:
        pieces, until = read_pieces(reader, first, end, level, cache, time.monotonic() + seconds)
    running = reader.running(first)
    joined = coarser(join_points(pieces), step, first, until)
    marks = merge_marks([*running, *(mark for piece in pieces for mark in piece.marks)], first, end, step)
    read = (until - first) / (end - first)
    return SensorRange(first, end, step, channels, with_marks(joined, marks), read)


def read_pieces(
    reader: PointReader, first: int, end: int, level: int, cache: PointCache, deadline: float
) -> tuple[list[Points], int]:
    """Return the pieces of a range, from the cache where they are in it, and the end of the last one: others are not read
    after `deadline`."""
    timeline = reader.timeline
    pieces: list[Points] = []
    was_read, until = False, first
    for number in range(first // PIECE_READINGS, (end - 1) // PIECE_READINGS + 1):
        begin = max(number * PIECE_READINGS, timeline.first_seq)
        until = min((number + 1) * PIECE_READINGS, timeline.next_seq)
        generations = tuple(file.generation for file, _, _ in timeline.files_between(begin, until))
        key = (timeline.sensor_id, reader.names, generations, level, begin)
        piece = cache.get(key)
        if piece is None:
            if was_read and time.monotonic() > deadline:
                return pieces, begin
            piece, was_read = reader.read(begin, until, level), True
            ended = all(mark.last_seq < timeline.next_seq for mark in piece.marks)  # a running one may be cut
            if until == (number + 1) * PIECE_READINGS and ended:
                cache.put(key, piece)
        pieces.append(piece)
    return pieces, min(until, end)


class PointReader:
    """Reads points of the channels `names` of one sensor from its databases."""

    def __init__(self, timeline: Timeline, names: tuple[str, ...]) -> None:
        self.timeline, self.names = timeline, names

    def read(self, first: int, end: int, step: int) -> Points:
        """Return the points of the readings `first` .. `end - 1`; points begin at multiples of `step`."""
        live = self.timeline.files[-1].path
        parts = read_epoch_parts(live, self.timeline.sensor_id, first, end)
        starts = point_starts(first, end, step)
        shape = len(self.names), len(starts)
        lowest, highest = np.full(shape, np.nan), np.full(shape, np.nan)
        marks: list[Mark] = []
        try:
            with np.errstate(all="ignore"):
                blocks = [without_anomalies(epoch, start, stop - start) for epoch, start, stop in parts]
                clean = [
                    rows_of_channels(block.values, epoch, self.names)
                    for block, (epoch, _, _) in zip(blocks, parts, strict=True)
                ]
                healthy = np.add.reduceat(np.concatenate(clean, axis=1), starts, axis=1)
                times = np.concatenate([block.times for block in blocks])[starts]
                for file, begin, until in self.timeline.files_between(first, end):
                    numbers, low, high, some = self._read_file(file, begin, until, step, parts)
                    places = numbers - first // step
                    lowest[:, places] = np.fmin(lowest[:, places], low)
                    highest[:, places] = np.fmax(highest[:, places], high)
                    marks += some
        except MALFORMED_EPOCH_ERRORS as error:
            raise DatabaseUnreadable(
                live, f"its readings cannot be computed: {type(error).__name__}: {error}"
            ) from None
        counts = np.diff(np.append(starts, end - first))
        return Points(starts + first, times, counts, lowest, highest, healthy, tuple(marks))

    def _read_file(
        self, file: SensorFile, first: int, end: int, step: int, parts: Sequence[EpochPart]
    ) -> tuple[IntArray, FloatArray, FloatArray, list[Mark]]:
        """Return the numbers of the points, the lowest and the highest values, and the marks, of the readings in a file."""
        bound = (self.timeline.sensor_id, first, end, step)
        with opened_file(file) as opened:
            rows: list[Any] = opened.execute(SELECT_MARKS, bound).fetchall()
            marks = [Mark(*row) for row in rows]
            if not stores_readings(opened):
                return *self._compute(first, end, step, parts), marks
            present = {name for (name,) in opened.execute(SELECT_COLUMN_NAMES)}
            columns = [quote_identifier(name) if name in present else "NULL" for name in self.names]
            ranges = "".join(f", min({column}), max({column})" for column in columns)
            rows = opened.execute(SELECT_RANGES.format(ranges=ranges), bound).fetchall()
        numbers = np.array([row[0] for row in rows], dtype=np.int64)
        values = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), 2 * len(self.names)).T
        values[~np.isfinite(values)] = np.nan
        return numbers, values[::2], values[1::2], marks

    def _compute(
        self, first: int, end: int, step: int, parts: Sequence[EpochPart]
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the same for readings that are not stored."""
        computed: list[FloatArray] = []
        for epoch, start, stop in parts:
            begin, until = max(start, first), min(stop, end)
            if begin < until:
                schedule = epoch.schedule
                known = epoch.seed, epoch.identity, epoch.settings, schedule.first_seq, schedule.start_us
                block = SignalGenerator(*known).block(begin, until - begin)
                values = rows_of_channels(block.values, epoch, self.names).copy()
                values[:, block.kinds == MISSING_DATA_INDEX] = np.nan
                computed.append(values)
        recorded = np.concatenate(computed, axis=1)
        starts = point_starts(first, end, step)
        low, high = np.fmin.reduceat(recorded, starts, axis=1), np.fmax.reduceat(recorded, starts, axis=1)
        return (starts + first) // step, low, high

    def running(self, seq: int) -> list[Mark]:
        """Return the episodes that began before a reading and reach it."""
        for file, _, _ in self.timeline.files_between(seq, seq + 1):
            with opened_file(file) as opened:
                rows: list[Any] = opened.execute(SELECT_RUNNING, (self.timeline.sensor_id, seq)).fetchall()
            return [Mark(*row) for row in rows]
        return []


def join_points(pieces: Sequence[Points]) -> Points:
    if len(pieces) == 1:
        return pieces[0]
    return Points(
        np.concatenate([piece.seqs for piece in pieces]),
        np.concatenate([piece.times_us for piece in pieces]),
        np.concatenate([piece.counts for piece in pieces]),
        np.concatenate([piece.lowest for piece in pieces], axis=1),
        np.concatenate([piece.highest for piece in pieces], axis=1),
        np.concatenate([piece.healthy for piece in pieces], axis=1),
        (),
    )


def coarser(points: Points, step: int, first: int, end: int) -> Points:
    """Return points of `step` readings, a multiple of the present size, without those before `first` and from `end` on. The
    first point may have readings before `first`: those that share the smallest point with it."""
    inside = (points.seqs + points.counts > first) & (points.seqs < end)
    numbers = points.seqs[inside] // step
    starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1])
    return Points(
        points.seqs[inside][starts],
        points.times_us[inside][starts],
        np.add.reduceat(points.counts[inside], starts),
        np.fmin.reduceat(points.lowest[:, inside], starts, axis=1),
        np.fmax.reduceat(points.highest[:, inside], starts, axis=1),
        np.add.reduceat(points.healthy[:, inside], starts, axis=1),
        points.marks,
    )


def with_marks(points: Points, marks: tuple[Mark, ...]) -> Points:
    arrays = points.seqs, points.times_us, points.counts, points.lowest, points.highest, points.healthy
    return Points(*arrays, marks)


def merge_marks(marks: Sequence[Mark], first: int, end: int, step: int) -> tuple[Mark, ...]:
    """Return the marks that reach into `first` .. `end - 1` by their first number. Those of one type and channel that are not
    further apart than a point become one; if there are more than MAX_MARKS, those that are further apart as well."""
    wanted = [mark for mark in marks if mark.last_seq >= first and mark.first_seq < end]
    gap = step if step > 1 else 0
    merged = list(merged_by_type(wanted, gap))
    while len(merged) > MAX_MARKS:
        gap = 2 * gap + 1
        merged = list(merged_by_type(merged, gap))
    return tuple(sorted(merged, key=lambda mark: mark.first_seq))


def merged_by_type(marks: Sequence[Mark], gap: int) -> Iterator[Mark]:
    ordered = sorted(marks, key=lambda mark: (mark.type, mark.channel or "", mark.first_seq))
    last: Mark | None = None
    for mark in ordered:
        together = last is not None and (last.type, last.channel) == (mark.type, mark.channel)
        if gap and last is not None and together and mark.first_seq - last.last_seq <= gap:
            last = last._replace(last_seq=max(last.last_seq, mark.last_seq), episodes=last.episodes + mark.episodes)
            continue
        if last is not None:
            yield last
        last = mark
    if last is not None:
        yield last

"""The time series of one sensor: recent readings from its database, and their values as they would be without anomalies.

The recorded values are read from rows. All else is computed from the epochs, which determine every reading.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fleet.datadir.computed_readings import add_computed_readings
from fleet.datadir.readings import MAX_SCANNED_ROWS, DatabaseUnreadable, read_only_connection
from worker.readings.generator import Block, SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US, IntArray
from worker.storage.schema import epoch_from_row, quote_identifier
from worker.storage.sinks import Epoch

MAX_SERIES_READINGS = 5000
MAX_DECIMATED_READINGS = 100_000
"""Readings that one answer covers if several of them become one point."""

MAX_SERIES_EPOCHS = 200

SELECT_NEXT_SEQ = "SELECT next_seq FROM checkpoints WHERE sensor_id = ?1"

SELECT_EPOCHS = f"""
    SELECT first_seq, start_us, reason, run, seed, identity, settings FROM epochs
    WHERE sensor_id = ?1 ORDER BY first_seq DESC LIMIT {MAX_SERIES_EPOCHS}
"""

# One row for `step` readings, whose numbers begin at a multiple of `step`: the same readings always share a row.
SELECT_VALUES = """
    SELECT seq / ?5, min(seq){ranges} FROM sensor_readings
    WHERE id > (SELECT max(id) FROM sensor_readings) - ?2 AND sensor_id = ?1 AND seq >= ?3 AND seq < ?4
    GROUP BY seq / ?5
"""
SELECT_COLUMN_NAMES = "SELECT name FROM pragma_table_info('sensor_readings')"

SELECT_ID_SPAN = "SELECT (SELECT max(id) FROM sensor_readings) - (SELECT min(id) FROM sensor_readings)"

MALFORMED_EPOCH_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors of a computation with the settings of an epoch that no worker has written."""


@dataclass(frozen=True, slots=True)
class Series:
    """The scheduled readings `first_seq` to `next_seq - 1` of a sensor, `step` of them to a point; points begin at
    multiples of `step`. `times_ms`, of the first reading of each point, are since 1970. The other lists have a list for each
    of `channels`: the lowest and the highest value of each point, None where no row has one, and the mean of what the
    values would be without anomalies, None where the epoch has no such channel."""

    first_seq: int
    next_seq: int
    step: int
    times_ms: list[int]
    channels: tuple[tuple[str, str], ...]
    lowest: list[list[float | None]]
    highest: list[list[float | None]]
    healthy: list[list[float | None]]


def read_series(
    path: Path, sensor_id: str, seconds: float, after: int, neighbours: int = 1, points: int | None = None
) -> Series:
    """Return the readings of the last `seconds` after number `after`; with `points` as at most that many points, otherwise one
    by one, at most MAX_SERIES_READINGS. `neighbours`, the number of sensors in the database, bounds the search: readings
    before the part that is searched are left out. Raises DatabaseUnreadable."""
    with read_only_connection(path) as opened, opened:
        add_computed_readings(opened)
        next_seq = opened.execute(SELECT_NEXT_SEQ, (sensor_id,)).get
        if not isinstance(next_seq, int):
            return Series(0, 0, 1, [], (), [], [], [])
        rows = opened.execute(SELECT_EPOCHS, (sensor_id,)).fetchall()
        try:
            epochs = [epoch for epoch in parse_epochs(rows) if epoch.schedule.first_seq < next_seq]
            parts = split_by_epoch(epochs, next_seq, seconds)
            step = point_size(sum(end - first for _, first, end in parts), points)
            most = MAX_SERIES_READINGS if step == 1 else MAX_DECIMATED_READINGS
            parts = parts_from(parts, max((after + 1) // step * step, next_seq - most))
        except MALFORMED_EPOCH_ERRORS as error:
            raise DatabaseUnreadable(path, f"its epochs cannot be computed: {type(error).__name__}: {error}") from None
        if not parts or after + 1 >= next_seq:
            return Series(next_seq, next_seq, step, [], (), [], [], [])
        first = parts[0][1]
        scan = min(MAX_SCANNED_ROWS, (next_seq - first) * max(neighbours, 1) * 2 + 1000)
        columns = {name for (name,) in opened.execute(SELECT_COLUMN_NAMES)}
        statement = select_values_sql([channel.name for channel in parts[-1][0].settings.channels], columns)
        ranges: list[Any] = opened.execute(statement, (sensor_id, scan, first, next_seq, step)).fetchall()
        span = opened.execute(SELECT_ID_SPAN).get
    if ranges and isinstance(span, int) and span >= scan:
        parts = parts_from(parts, ranges[0][1])
    return join_parts(parts, step, {row[0]: row[2:] for row in ranges})


def select_values_sql(channels: Sequence[str], columns: Collection[object]) -> str:
    """Return the query of the lowest and the highest value of each channel; NULL for one that has no column."""
    names = [quote_identifier(name) if name in columns else "NULL" for name in channels]
    return SELECT_VALUES.format(ranges="".join(f", min({name}), max({name})" for name in names))


def point_size(count: int, points: int | None) -> int:
    """Return how many of `count` readings become one point so that there are at most `points`: a power of two, which
    seldom changes while readings are added."""
    return 1 if points is None else 1 << max(0, math.ceil(count / points) - 1).bit_length()


def parts_from(parts: Sequence[tuple[Epoch, int, int]], least: int) -> list[tuple[Epoch, int, int]]:
    """Return the parts without the readings before number `least`."""
    return [(epoch, max(first, least), end) for epoch, first, end in parts if end > least]


def read_epochs(path: Path, sensor_id: str) -> list[Epoch]:
    """Return the last epochs of a sensor, oldest first. Raises DatabaseUnreadable."""
    with read_only_connection(path) as opened:
        rows = opened.execute(SELECT_EPOCHS, (sensor_id,)).fetchall()
    try:
        return parse_epochs(rows)
    except MALFORMED_EPOCH_ERRORS as error:
        raise DatabaseUnreadable(path, f"its epochs cannot be read: {type(error).__name__}: {error}") from None


def parse_epochs(rows: Sequence[tuple[Any, ...]]) -> list[Epoch]:
    return [epoch_from_row(*row) for row in reversed(rows)]


def split_by_epoch(epochs: Sequence[Epoch], next_seq: int, seconds: float) -> list[tuple[Epoch, int, int]]:
    """Return (epoch, first, end) of each epoch's part of the last `seconds` before `next_seq`, oldest first."""
    if not epochs:
        return []
    begin_us = epochs[-1].schedule.time(next_seq - 1) - round(seconds * SECOND_US)
    parts = []
    for number, epoch in enumerate(epochs):
        end = epochs[number + 1].schedule.first_seq if number + 1 < len(epochs) else next_seq
        first = max(epoch.schedule.first_seq, epoch.schedule.seq_after(begin_us))
        if first < end:
            parts.append((epoch, first, end))
    return parts


def without_anomalies(epoch: Epoch, first: int, count: int) -> Block:
    """Return an epoch's readings without their anomalies, with the times at which they were really measured."""
    settings = replace(epoch.settings, anomalies=(), injection=None)
    schedule = epoch.schedule
    generator = SignalGenerator(epoch.seed, epoch.identity, settings, schedule.first_seq, schedule.start_us)
    return generator.block(first, count)


def join_parts(parts: Sequence[tuple[Epoch, int, int]], step: int, ranges: dict[int, tuple[Any, ...]]) -> Series:
    """Concatenate the parts; the channels are those of the last one. `ranges` has the lowest and highest value of each
    channel by the number of the point."""
    channels = tuple((channel.name, channel.unit) for channel in parts[-1][0].settings.channels)
    first, end = parts[0][1], parts[-1][2]
    blocks = [without_anomalies(epoch, start, stop - start) for epoch, start, stop in parts]
    times = np.concatenate([block.times for block in blocks])
    names = [name for name, _ in channels]
    clean = np.concatenate(
        [rows_of_channels(block.values, epoch, names) for block, (epoch, _, _) in zip(blocks, parts, strict=True)],
        axis=1,
    )
    starts = point_starts(first, end, step)
    counts = np.diff(np.append(starts, end - first))
    numbers = ((starts + first) // step).tolist()
    return Series(
        first_seq=first,
        next_seq=end,
        step=step,
        times_ms=(times[starts] // 1000).tolist(),
        channels=channels,
        lowest=[[finite_value(ranges, number, index, 0) for number in numbers] for index in range(len(channels))],
        highest=[[finite_value(ranges, number, index, 1) for number in numbers] for index in range(len(channels))],
        healthy=without_nan((np.add.reduceat(clean, starts, axis=1) / counts) if step > 1 else clean),
    )


def rows_of_channels(values: FloatArray, epoch: Epoch, names: Sequence[str]) -> FloatArray:
    """Return the rows of the named channels, NaN for a channel that the epoch does not have."""
    own = [channel.name for channel in epoch.settings.channels]
    if own == names:
        return values
    absent = np.full(values.shape[1], np.nan)
    return np.array([values[own.index(name)] if name in own else absent for name in names]).reshape(len(names), -1)


def without_nan(values: FloatArray) -> list[list[float | None]]:
    """Return the rows as lists, None instead of NaN."""
    if not np.isnan(values).any():
        return list(values.tolist())
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]


def point_starts(first: int, end: int, step: int) -> IntArray:
    """Return where the points begin among the readings `first` to `end - 1`, counted from `first`."""
    boundaries = np.arange((first // step + 1) * step, end, step, dtype=np.int64) - first
    return np.concatenate([np.zeros(1, dtype=np.int64), boundaries])


def finite_value(ranges: dict[int, tuple[Any, ...]], number: int, index: int, end: int) -> float | None:
    value = ranges[number][2 * index + end] if number in ranges else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None

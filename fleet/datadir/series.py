"""The time series of one sensor: recent readings from its database, and their values as they would be without anomalies.

The recorded values are read from rows. All else is computed from the epochs, which determine every reading.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fleet.datadir.readings import MAX_SCANNED_ROWS, DatabaseUnreadable, read_only_connection
from worker.readings.generator import SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US
from worker.storage.schema import CHANNEL_COLUMNS, epoch_from_row
from worker.storage.sinks import Epoch

MAX_SERIES_READINGS = 5000
MAX_SERIES_EPOCHS = 200

SELECT_NEXT_SEQ = "SELECT next_seq FROM checkpoints WHERE sensor_id = ?1"

SELECT_EPOCHS = f"""
    SELECT first_seq, start_us, reason, run, seed, identity, settings FROM epochs
    WHERE sensor_id = ?1 ORDER BY first_seq DESC LIMIT {MAX_SERIES_EPOCHS}
"""

SELECT_VALUES = f"""
    SELECT seq, {", ".join(CHANNEL_COLUMNS)} FROM sensor_readings
    WHERE id > (SELECT max(id) FROM sensor_readings) - ?2 AND sensor_id = ?1 AND seq >= ?3 AND seq < ?4
"""

MALFORMED_EPOCH_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors of a computation with the settings of an epoch that no worker has written."""


@dataclass(frozen=True, slots=True)
class Series:
    """The scheduled readings `first_seq` to `next_seq - 1` of a sensor. `times_ms` are since 1970. `values` and `healthy`
    have a list for each of `channels`; a value that is in no row is None."""

    first_seq: int
    next_seq: int
    times_ms: list[int]
    channels: tuple[tuple[str, str], ...]
    values: list[list[float | None]]
    healthy: list[list[float]]


def read_series(path: Path, sensor_id: str, seconds: float, after: int, neighbours: int = 1) -> Series:
    """Return the readings of the last `seconds` after number `after`, at most MAX_SERIES_READINGS. `neighbours`, the number
    of sensors in the database, bounds the search. Raises DatabaseUnreadable."""
    with read_only_connection(path) as opened, opened:
        next_seq = opened.execute(SELECT_NEXT_SEQ, (sensor_id,)).get
        if not isinstance(next_seq, int):
            return Series(0, 0, [], (), [], [])
        rows = opened.execute(SELECT_EPOCHS, (sensor_id,)).fetchall()
        try:
            parts = split_by_epoch(parse_epochs(rows), next_seq, seconds, after)
        except MALFORMED_EPOCH_ERRORS as error:
            raise DatabaseUnreadable(path, f"its epochs cannot be computed: {type(error).__name__}: {error}") from None
        if not parts:
            return Series(next_seq, next_seq, [], (), [], [])
        first = parts[0][1]
        scan = min(MAX_SCANNED_ROWS, (next_seq - first) * max(neighbours, 1) * 2 + 1000)
        values = {row[0]: row[1:] for row in opened.execute(SELECT_VALUES, (sensor_id, scan, first, next_seq))}
    return join_parts(parts, values)


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


def split_by_epoch(epochs: Sequence[Epoch], next_seq: int, seconds: float, after: int) -> list[tuple[Epoch, int, int]]:
    """Return (epoch, first, end) of each epoch's part of the last `seconds` before `next_seq`, oldest first."""
    epochs = [epoch for epoch in epochs if epoch.schedule.first_seq < next_seq]
    if not epochs:
        return []
    begin_us = epochs[-1].schedule.time(next_seq - 1) - round(seconds * SECOND_US)
    least = max(after + 1, next_seq - MAX_SERIES_READINGS)
    parts = []
    for number, epoch in enumerate(epochs):
        end = epochs[number + 1].schedule.first_seq if number + 1 < len(epochs) else next_seq
        first = max(epoch.schedule.first_seq, epoch.schedule.seq_after(begin_us), least)
        if first < end:
            parts.append((epoch, first, end))
    return parts


def values_without_anomalies(epoch: Epoch, first: int, count: int) -> FloatArray:
    """Return the values of an epoch's readings without their anomalies, shape (channels, count)."""
    settings = replace(epoch.settings, anomalies=(), injection=None)
    schedule = epoch.schedule
    generator = SignalGenerator(epoch.seed, epoch.identity, settings, schedule.first_seq, schedule.start_us)
    return generator.block(first, count).values


def join_parts(parts: Sequence[tuple[Epoch, int, int]], rows: dict[int, tuple[Any, ...]]) -> Series:
    """Concatenate the parts; the channels are those of the last one."""
    channels = tuple((channel.name, channel.unit) for channel in parts[-1][0].settings.channels)
    times: list[int] = []
    clean: list[list[float]] = [[] for _ in channels]
    for epoch, first, end in parts:
        times += (epoch.schedule.times(first, end - first) // 1000).tolist()
        block = values_without_anomalies(epoch, first, end - first)
        for number, values in enumerate(block[: len(channels)].tolist()):
            clean[number] += values
    first, end = parts[0][1], parts[-1][2]
    columns = [CHANNEL_COLUMNS.index(name) if name in CHANNEL_COLUMNS else None for name, _ in channels]
    values = [[finite_value(rows, seq, column) for seq in range(first, end)] for column in columns]
    return Series(first, end, times, channels, values, clean)


def finite_value(rows: dict[int, tuple[Any, ...]], seq: int, column: int | None) -> float | None:
    value = rows[seq][column] if column is not None and seq in rows else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None

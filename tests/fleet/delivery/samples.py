"""Batches for the tests of targets: readings of a sensor as its database has them, and as other simulators' have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fleet.delivery.batch import NO_ROWS, Batch, Row, SourceDatabase, TableRows, Value
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS

SAMPLE_COLUMNS = (
    "id",
    "timestamp",
    "sensor_id",
    "temperature",
    "humidity",
    "status_code",
    "anomaly_flag",
    "anomaly_type",
    "synced",
    "location",
    "latitude",
    "seq",
)

FOREIGN_COLUMNS = ("id", "timestamp", "sensor_id", "temperature", "battery", "synced")

FIRST_TIME = datetime(2026, 1, 1, 9, 59, 50, tzinfo=UTC)
"""Ten readings, one a second, before an hour ends."""


def source(key: str = "generation-1", columns: tuple[str, ...] = SAMPLE_COLUMNS) -> SourceDatabase:
    return SourceDatabase(Path(f"{key}.db"), f"{key}.db", key, columns)


def reading(number: int, sensor: str = "KIN_1") -> Row:
    """The one with this id, whose seq is one less."""
    time = (FIRST_TIME + timedelta(seconds=number - 1)).isoformat(timespec="microseconds")
    return number, time, sensor, 20 + number / 7, None, 0, 1, "spike", 0, "Kinshasa, 🌍", -4.32459, number - 1


def batch(first: int, end: int, of: SourceDatabase | None = None, **along: Any) -> Batch:
    """The readings with the ids from `first` up to `end`."""
    return Batch(of or source(), tuple(reading(number) for number in range(first, end)), **along, settles=end - 1)


def foreign_batch(first: int, end: int, key: str = "foreign-1") -> Batch:
    """Of a simulator that knows no seq, but a battery."""
    rows = tuple((*reading(number)[:4], number / 10, 0) for number in range(first, end))
    return Batch(source(key, FOREIGN_COLUMNS), rows)


def with_values(message: Batch, number: int, **values: Value) -> Batch:
    """The same with other values in the reading of that id."""
    rows = []
    for row in message.rows:
        document = dict(zip(message.source.columns, row, strict=True))
        rows.append(tuple((document | values if document["id"] == number else document).values()))
    return replace(message, rows=tuple(rows))


def episodes(*ends: tuple[int, int], sensor: str = "KIN_1") -> TableRows:
    """One for each (first_seq, last_seq)."""
    rows = [(sensor, "trend", "temperature", first, last, f"t{first}", f"t{last}", "{}") for first, last in ends]
    return TableRows(EPISODE_COLUMNS, tuple(rows))


def epochs(*firsts: int, reason: str = "begin", sensor: str = "KIN_1") -> TableRows:
    rows: Sequence[Row] = [(sensor, first, f"t{first}", first, reason, 1, str(2**63), "{}", "{}") for first in firsts]
    return TableRows(EPOCH_COLUMNS, tuple(rows))


__all__ = ["NO_ROWS", "batch", "episodes", "epochs", "foreign_batch", "reading", "source", "with_values"]

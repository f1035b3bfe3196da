"""The readings in a target, as a stream in their order of arrival.

To add a target, see `fleet.delivery.targets.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from fleet.delivery.batch import Row
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.errors import UserError

CHUNK_ROWS = 10_000
"""Rows in a chunk: some ten megabytes."""

MAX_INTERLEAVED_SOURCES = 100
"""With more sources, the rows are read source by source, so that no database is opened twice."""

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNKNOWN_TIME_US = -(1 << 62)
"""An unknown time."""

CENTRAL_ID_INDEX, SOURCE_INDEX, BATCH_INDEX = -3, -2, -1
"""The last columns of a row of a central database: its id there, its source and its batch."""


@dataclass(frozen=True, slots=True)
class DeliveredChunk:
    """Readings that arrived from one source, in their order of arrival.

    `source` is the key of the source, None if it is unknown, and `name` its name. A row has its id in the source,
    KEY_COLUMNS and the columns that were selected; the latter are absent if the rows are `known_equal` to those of
    the source. `received_us` has the time of arrival of each row in microseconds since 1970, and is empty if unknown.
    """

    source: str | None
    name: str
    rows: Sequence[Row]
    received_us: Sequence[int] = ()
    known_equal: bool = False


class DeliveredReadings(Protocol):
    """The readings that had arrived in a target when this was made. Reading them blocks no writer."""

    @property
    def name(self) -> str:
        """The name in messages, without credentials."""
        ...

    def select_columns(self, further: tuple[str, ...]) -> tuple[str, ...]:
        """Select the columns to compare, which follow KEY_COLUMNS in the rows from now on, and return them: readings'
        columns, IDENTITY_COLUMN, EXTRA_COLUMN. `further` are the columns of the kinds of sensor of the generated readings; a
        target that should have one but does not has NULL there."""
        ...

    @property
    def has_reading_keys(self) -> bool:
        """True if rows have the key of their reading. If not, they are matched by sensor and timestamp."""
        ...

    @property
    def ordered(self) -> bool:
        """True if the order of arrival is known."""
        ...

    def read_chunks(self, generated: GeneratedReadings) -> Iterator[DeliveredChunk]:
        """Read the rows. `generated` is for matching rows without keys. UserError if the target cannot be read."""
        ...

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        """The episodes or epochs of a sensor from a source; None if the target keeps none."""
        ...

    def alarms(self) -> int:
        """The number of recorded conflicts: readings that came again with other content and were rejected."""
        ...

    def close(self) -> None: ...


def group_by_source(rows: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Group rows by source; they keep their order."""
    rows.sort(key=itemgetter(SOURCE_INDEX))
    for source, some in groupby(rows, itemgetter(SOURCE_INDEX)):
        yield source, list(some)


def chunked(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while some := list(islice(rows, CHUNK_ROWS)):
        yield some


def unix_microseconds(value: object) -> int:
    """A time in microseconds since 1970, UNKNOWN_TIME_US if the value is not a time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return UNKNOWN_TIME_US
    if not isinstance(value, datetime):
        return UNKNOWN_TIME_US
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - UNIX_EPOCH) // timedelta.resolution


def unreadable_error(path: Path, error: Exception) -> UserError:
    reason = str(error).removeprefix(f"{path}: ")
    return UserError(f"--against: {path} cannot be read: {reason}")

"""What a target holds, as a stream: the readings that arrived, in the order in which they did.

To add a kind of target: a class with the methods of `DeliveredReadings`, and its scheme in `fleet.delivery.compare.against`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Protocol

from fleet.delivery.batch import Row
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.errors import UserError

CHUNK_ROWS = 10_000
"""Readings that are held at once: some ten megabytes."""

MAX_INTERLEAVED_SOURCES = 100
"""Of more sources, each is read for itself, so that none of their databases is opened twice."""

BUSY_TIMEOUT_MS = 10_000
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNKNOWN_TIME_US = -(1 << 62)
"""A time that nobody knows."""

CENTRAL_ID_INDEX, SOURCE_INDEX, BATCH_INDEX = -3, -2, -1
"""What stands behind the columns of a row of a central database: its id there, its source and its batch."""


@dataclass(frozen=True, slots=True)
class DeliveredChunk:
    """Readings that arrived from one source, in the order of their arrival. `source` is its key, None if that cannot be
    told, and `name` what it is called.

    A row begins with its id in the source and KEY_COLUMNS, the columns of the arrivals follow; or nothing follows, because they
    have been compared and `known_equal` with the source. `received_us` has for each row when it arrived, in microseconds since
    1970; nothing at all where nobody knows.
    """

    source: str | None
    name: str
    rows: Sequence[Row]
    received_us: Sequence[int] = ()
    known_equal: bool = False


class DeliveredReadings(Protocol):
    """Everything that arrived up to the moment this was made. Nobody who writes there ever waits for it."""

    @property
    def name(self) -> str:
        """As it is told; without credentials."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What there is to compare, after KEY_COLUMNS: columns, IDENTITY_COLUMN, EXTRA_COLUMN."""
        ...

    @property
    def has_reading_keys(self) -> bool:
        """Whether rows say themselves which reading they are. If not, they have been matched by sensor and timestamp."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether the order of arrival is known."""
        ...

    def read_chunks(self, generated: GeneratedReadings) -> Iterator[DeliveredChunk]:
        """`generated` are for those that have to be matched. UserError if it cannot be read."""
        ...

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        """The episodes or epochs of a sensor in a database; None where the target keeps none."""
        ...

    def alarms(self) -> int:
        """Readings on record that came again with other content, and were refused."""
        ...

    def close(self) -> None: ...


def group_by_source(rows: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The rows of each source, in their order."""
    rows.sort(key=itemgetter(SOURCE_INDEX))
    for source, some in groupby(rows, itemgetter(SOURCE_INDEX)):
        yield source, list(some)


def chunked(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while some := list(islice(rows, CHUNK_ROWS)):
        yield some


def unix_microseconds(value: object) -> int:
    """Since 1970, UNKNOWN_TIME_US where that is no time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return UNKNOWN_TIME_US
    if not isinstance(value, datetime):
        return UNKNOWN_TIME_US
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - UNIX_EPOCH) // timedelta.resolution


def unreadable_error(place: object, error: Exception) -> UserError:
    reason = str(error).removeprefix(f"{place}: ")
    return UserError(f"--against: {place} cannot be read: {reason}")

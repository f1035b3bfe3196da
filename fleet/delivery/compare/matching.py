"""A table of the user, at the end of a pipeline: its rows are matched with readings by sensor and timestamp.

To support tables in another target: a class with the methods of `UserTable`, wrapped in MatchedReadings by the target's
`read_back` (`fleet.delivery.targets.registry`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

import apsw

from fleet.delivery.batch import Row
from fleet.delivery.columns import DELIVERED_COLUMNS
from fleet.delivery.compare.delivered import UNKNOWN_TIME_US, DeliveredChunk, unix_microseconds
from fleet.delivery.compare.generated import GeneratedDatabase, GeneratedReadings
from fleet.errors import UserError

MATCH_COLUMNS = ("sensor_id", "timestamp")
RECEIVED_COLUMN = "received_at"

DEFAULT_TABLE = "sensor_readings"
"""The table that is read if the user names none."""

CREATE_INDEX = """
CREATE TABLE locations (sensor, timestamp, source, id, PRIMARY KEY (sensor, timestamp, source, id)) WITHOUT ROWID
"""
INSERT_LOCATION = "INSERT OR IGNORE INTO locations VALUES (?, ?, ?, ?)"
SELECT_LOCATIONS = "SELECT ?3, source, id FROM locations WHERE sensor = ?1 AND timestamp = ?2 ORDER BY source, id"

RowLocation = tuple[int, int]
"""The number of a source and the id of a row in it."""


class UserTable(Protocol):
    """A table of the user, as it was when this was made."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        ...

    @property
    def ordered(self) -> bool:
        """True if the rows come in their order of arrival."""
        ...

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        """The rows with these columns, in chunks."""
        ...

    def close(self) -> None: ...


class MatchedReadings:
    """The rows of a table of the user, as DeliveredReadings."""

    has_reading_keys = False

    def __init__(self, table: UserTable) -> None:
        """UserError if the table lacks a column of MATCH_COLUMNS."""
        self._table = table
        for name in MATCH_COLUMNS:
            if name not in table.columns:
                table.close()
                raise UserError(f"--against: {table.name} has no column {name}, by which its rows could be matched")
        self.name, self.ordered = table.name, table.ordered
        self.columns = tuple(name for name in DELIVERED_COLUMNS if name in table.columns and name not in MATCH_COLUMNS)
        self._has_received_at = RECEIVED_COLUMN in table.columns

    def read_chunks(self, generated: GeneratedReadings) -> Iterator[DeliveredChunk]:
        names = (*MATCH_COLUMNS, *([RECEIVED_COLUMN] if self._has_received_at else []), *self.columns)
        with closing(LocationIndex()) as locations:
            sources = generated.current()
            for number, database in enumerate(sources):
                locations.add(number, generated.reading_locations(database))
            for rows in self._table.rows(names):
                yield from self._matched(locations, sources, [tuple(map(sqlite_value, row)) for row in rows])

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> None:
        """None: a table of readings has no history."""

    def alarms(self) -> int:
        return 0

    def close(self) -> None:
        self._table.close()

    def _matched(
        self, locations: LocationIndex, sources: Sequence[GeneratedDatabase], rows: Sequence[Row]
    ) -> Iterator[DeliveredChunk]:
        keys: list[tuple[Any, Any]] = [(row[0], canonical_timestamp(row[1])) for row in rows]
        begin = len(MATCH_COLUMNS) + self._has_received_at
        by_source: dict[int | None, list[tuple[Row, int]]] = {}
        for row, (sensor, timestamp), location in zip(rows, keys, locations.find(keys), strict=True):
            number, row_id = location or (None, None)
            arranged: Row = (row_id, sensor, None, timestamp, *row[begin:])
            received = unix_microseconds(row[begin - 1]) if self._has_received_at else UNKNOWN_TIME_US
            by_source.setdefault(number, []).append((arranged, received))
        for number, some in by_source.items():
            key = None if number is None else sources[number].source.key
            received_us = [us for _, us in some]
            known = received_us if UNKNOWN_TIME_US not in received_us else ()
            yield DeliveredChunk(key, self.name, [row for row, _ in some], known)


class LocationIndex:
    """An index of all readings by sensor and timestamp, in a temporary database on disk."""

    def __init__(self) -> None:
        self._index = apsw.Connection("")
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):
            self._index.execute(f"PRAGMA {pragma}").fetchall()
        self._index.execute(CREATE_INDEX)
        self._taken: Counter[tuple[object, object]] = Counter()

    def add(self, source: int, readings: Iterable[tuple[object, object, int]]) -> None:
        rows = ((sensor, canonical_timestamp(timestamp), source, row_id) for timestamp, sensor, row_id in readings)
        with self._index:
            self._index.executemany(INSERT_LOCATION, rows)

    def find(self, keys: Sequence[tuple[Any, Any]]) -> list[RowLocation | None]:
        """The location of a reading for each sensor and timestamp.

        If several databases have one, as after a second start at the same simulated time, they are returned in turn.
        """
        keyed = ((sensor, timestamp, number) for number, (sensor, timestamp) in enumerate(keys))
        found: list[list[RowLocation]] = [[] for _ in keys]
        for number, source, row_id in self._index.executemany(SELECT_LOCATIONS, keyed):
            found[number].append((source, row_id))
        return [self._next(key, locations) for key, locations in zip(keys, found, strict=True)]

    def _next(self, key: tuple[object, object], locations: list[RowLocation]) -> RowLocation | None:
        if len(locations) < 2:
            return locations[0] if locations else None
        self._taken[key] += 1
        return locations[min(self._taken[key], len(locations)) - 1]

    def close(self) -> None:
        self._index.close()


def canonical_timestamp(timestamp: object) -> object:
    """A time in the format of the fleet; any other value unchanged."""
    if isinstance(timestamp, str):
        if len(timestamp) == 32 and timestamp.endswith("+00:00") and timestamp[10] == "T":
            return timestamp
        try:
            timestamp = datetime.fromisoformat(timestamp)
        except ValueError:
            return timestamp
    if not isinstance(timestamp, datetime):
        return timestamp
    moment = timestamp.astimezone(UTC) if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    return moment.isoformat(timespec="microseconds")


def sqlite_value(value: Any) -> Any:
    """The value in a type of SQLite, for values of databases with more types."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return canonical_timestamp(value)
    return value.isoformat() if isinstance(value, date) else value

"""A table of the user, at the end of a pipeline: its rows are matched with readings by sensor and `seq`, or by sensor and
timestamp.

To support tables in another target: a class with the methods of `UserTable`, wrapped in MatchedReadings by the target's
`read_back` (`fleet.delivery.targets.registry`).
"""

from __future__ import annotations

import re
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
SEQ_COLUMN = "seq"
RECEIVED_COLUMN = "received_at"

DEFAULT_TABLE = "sensor_readings"
"""The table that is read if the user names none."""

CREATE_INDEX = """
CREATE TABLE locations (sensor, time, source, id, PRIMARY KEY (sensor, time, source, id)) WITHOUT ROWID
"""
INSERT_LOCATION = "INSERT OR IGNORE INTO locations VALUES (?, ?, ?, ?)"
CREATE_NUMBERS = """
CREATE TABLE numbers (sensor, seq, source, id, timestamp, PRIMARY KEY (sensor, seq, source, id)) WITHOUT ROWID
"""
INSERT_NUMBER = "INSERT OR IGNORE INTO numbers VALUES (?, ?, ?, ?, ?)"
SELECT_NUMBERS = "SELECT ?3, source, id, timestamp FROM numbers WHERE sensor = ?1 AND seq = ?2 ORDER BY source, id"
SELECT_LOCATIONS = "SELECT ?3, source, id FROM locations WHERE sensor = ?1 AND time = ?2 ORDER BY source, id"
SELECT_BETWEEN = "SELECT source, id FROM locations WHERE sensor = ? AND time BETWEEN ? AND ? ORDER BY source, id"

EXISTS_CLOSER = """
SELECT EXISTS (
    SELECT 1 FROM (SELECT time - lag(time) OVER (PARTITION BY sensor ORDER BY time) AS gap FROM locations)
    WHERE gap > 0 AND gap < ?
)
"""

RESOLUTIONS_US = (1_000_000, 1_000)
MAX_RESOLUTION_US = RESOLUTIONS_US[0]
"""The resolutions in which pipelines keep times: seconds and milliseconds."""

EPOCH_UNITS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1), (1e20, 0.001))
"""The unit in microseconds of a number of seconds, milliseconds, microseconds or nanoseconds since 1970, by its size."""

MAX_EPOCH_NUMBER = EPOCH_UNITS[-1][0]
NUMERIC_TIME = re.compile(r"\d{9,19}(\.\d{1,9})?", re.ASCII)

RowLocation = tuple[Any, ...]
"""The number of a source and the id of a row in it; and, if it was found by its number, the timestamp with which that of the
row in the table agrees."""


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
        """UserError if the table lacks the columns by which its rows could be matched."""
        self._table = table
        self._has_seq, self._has_time = (name in table.columns for name in (SEQ_COLUMN, MATCH_COLUMNS[1]))
        for name in MATCH_COLUMNS[: 1 if self._has_seq else 2]:
            if name not in table.columns:
                table.close()
                raise UserError(f"--against: {table.name} has no column {name}, by which its rows could be matched")
        self.name, self.ordered = table.name, table.ordered
        self._columns: tuple[str, ...] = ()
        self._has_received_at = RECEIVED_COLUMN in table.columns

    def select_columns(self, further: tuple[str, ...]) -> tuple[str, ...]:
        """Those that the user's table has, and the timestamp where rows are matched by `seq`."""
        names = (*further, *DELIVERED_COLUMNS)
        self._columns = tuple(name for name in names if name in self._table.columns and name not in MATCH_COLUMNS)
        return (*self._columns, MATCH_COLUMNS[1]) if self._has_seq and self._has_time else self._columns

    def read_chunks(self, generated: GeneratedReadings) -> Iterator[DeliveredChunk]:
        received = [RECEIVED_COLUMN] if self._has_received_at else []
        names = (
            *MATCH_COLUMNS[: 1 + self._has_time],
            *([SEQ_COLUMN] if self._has_seq else []),
            *received,
            *self._columns,
        )
        with closing(LocationIndex()) as locations:
            sources = generated.current()
            for number, database in enumerate(sources):
                locations.add(number, generated.reading_locations(database))
                if self._has_seq:
                    locations.add_numbers(number, generated.reading_numbers(database))
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
        times = [row[1] if self._has_time else None for row in rows]
        keys: list[tuple[Any, Any]] = [(row[0], to_time(time)) for row, time in zip(rows, times, strict=True)]
        place = 1 + self._has_time
        numbers = [row[place] for row in rows] if self._has_seq else []
        begin = place + self._has_seq + self._has_received_at
        by_source: dict[int | None, list[tuple[Row, int]]] = {}
        found = locations.find_numbers(keys, numbers) if self._has_seq else locations.find(keys)
        for row, time, location in zip(rows, times, found, strict=True):
            number, row_id, *timestamp = location or (None, None)
            seq = row[place] if self._has_seq else None
            compared = [timestamp[0] if timestamp else time] if self._has_seq and self._has_time else []
            arranged: Row = (row_id, row[0], seq, time, *row[begin:], *compared)
            received = unix_microseconds(row[begin - 1]) if self._has_received_at else UNKNOWN_TIME_US
            by_source.setdefault(number, []).append((arranged, received))
        for number, some in by_source.items():
            key = None if number is None else sources[number].source.key
            received_us = [us for _, us in some]
            known = received_us if UNKNOWN_TIME_US not in received_us else ()
            yield DeliveredChunk(key, self.name, [row for row, _ in some], known)


class LocationIndex:
    """An index of all readings by sensor and time, in a temporary database on disk."""

    def __init__(self) -> None:
        self._index = apsw.Connection("")
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):
            self._index.execute(f"PRAGMA {pragma}").fetchall()
        self._index.execute(CREATE_INDEX)
        self._index.execute(CREATE_NUMBERS)
        self._taken: Counter[tuple[object, ...]] = Counter()
        self._dense: dict[int, bool] = {}
        self._resolution_us = MAX_RESOLUTION_US

    def add(self, source: int, readings: Iterable[tuple[object, object, int]]) -> None:
        rows = ((sensor, to_time(timestamp), source, row_id) for timestamp, sensor, row_id in readings)
        with self._index:
            self._index.executemany(INSERT_LOCATION, rows)

    def add_numbers(self, source: int, readings: Iterable[tuple[object, object, int, object]]) -> None:
        rows = ((sensor, seq, source, row_id, timestamp) for sensor, seq, row_id, timestamp in readings)
        with self._index:
            self._index.executemany(INSERT_NUMBER, rows)

    def find_numbers(self, keys: Sequence[tuple[Any, Any]], numbers: Sequence[Any]) -> list[RowLocation | None]:
        """The location of a reading for each sensor, time and seq. A time of None agrees with any.

        If no reading of that seq has the time, the reading of the time is returned; without one, that of the seq.
        """
        keyed = ((sensor, seq, at) for at, ((sensor, _), seq) in enumerate(zip(keys, numbers, strict=True)))
        candidates: list[list[RowLocation]] = [[] for _ in keys]
        for at, source, row_id, timestamp in self._index.executemany(SELECT_NUMBERS, keyed):
            candidates[at].append((source, row_id, timestamp))
        self._notice_resolution(keys)
        found: list[RowLocation | None] = []
        for key, seq, some in zip(keys, numbers, candidates, strict=True):
            agreeing = [each for each in some if key[1] is None or self._agrees(key[1], to_time(each[2]))]
            if agreeing or key[1] is None:
                found.append(self._next((*key, seq), agreeing))
            else:
                (by_time,) = self.find([key])
                found.append(by_time or (some[0][:2] if some else None))
        return found

    def _agrees(self, time: object, generated: object) -> bool:
        """Check a time that may have been kept less exactly, truncated or rounded, against that of a reading."""
        if time == generated:
            return True
        if not isinstance(time, int) or not isinstance(generated, int):
            return False
        return self._resolution_us > 1 and -self._resolution_us // 2 <= generated - time < self._resolution_us

    def _notice_resolution(self, keys: Sequence[tuple[Any, Any]]) -> None:
        self._resolution_us = min([self._resolution_us, *(resolution_us(time) for _, time in keys)])

    def _is_dense(self) -> bool:
        """Check whether readings of a sensor follow each other in less than the resolution of the times so far."""
        step = self._resolution_us
        if step not in self._dense:
            self._dense[step] = step > 1 and bool(self._index.execute(EXISTS_CLOSER, (step,)).get)
        return self._dense[step]

    def find(self, keys: Sequence[tuple[Any, Any]]) -> list[RowLocation | None]:
        """The location of a reading for each sensor and time (as `to_time` returns it).

        If several databases have one, as after a second start at the same simulated time, they are returned in turn. A
        time that no reading has may have been kept to the millisecond or the second, truncated or rounded: that is the
        finest resolution of the times so far. Readings that follow each other faster than that are returned in turn.
        """
        keyed = ((sensor, time, number) for number, (sensor, time) in enumerate(keys))
        found: list[list[RowLocation]] = [[] for _ in keys]
        for number, source, row_id in self._index.executemany(SELECT_LOCATIONS, keyed):
            found[number].append((source, row_id))
        self._notice_resolution(keys)
        if self._resolution_us > 1:
            dense = self._is_dense()
            for number, (sensor, time) in enumerate(keys):
                if (dense or not found[number]) and isinstance(time, int):
                    found[number] = self._find_coarse(sensor, time)
        return [self._next(key, locations) for key, locations in zip(keys, found, strict=True)]

    def _find_coarse(self, sensor: object, time: int) -> list[RowLocation]:
        """The readings whose time, truncated to the resolution, is `time`; or without one, rounded up to it."""
        step = self._resolution_us
        for first, last in ((time, time + step - 1), (time - step // 2, time - 1)):
            rows: list[Any] = self._index.execute(SELECT_BETWEEN, (sensor, first, last)).fetchall()
            if rows:
                return rows
        return []

    def _next(self, key: tuple[object, ...], locations: list[RowLocation]) -> RowLocation | None:
        if len(locations) < 2:
            return locations[0] if locations else None
        self._taken[key] += 1
        return locations[min(self._taken[key], len(locations)) - 1]

    def close(self) -> None:
        self._index.close()


def resolution_us(time: object) -> int:
    """The resolution in which a time may have been kept; MAX_RESOLUTION_US if it is none."""
    if not isinstance(time, int):
        return MAX_RESOLUTION_US
    return next((step for step in RESOLUTIONS_US if time % step == 0), 1)


def to_time(timestamp: object) -> object:
    """A time in microseconds since 1970: a text or datetime, or a number of seconds, or of a fraction that its size shows.

    Any other value unchanged.
    """
    if isinstance(timestamp, str):
        if NUMERIC_TIME.fullmatch(timestamp):
            timestamp = float(timestamp) if "." in timestamp else int(timestamp)
        else:
            us = unix_microseconds(timestamp)
            return timestamp if us == UNKNOWN_TIME_US else us
    if isinstance(timestamp, datetime):
        return unix_microseconds(timestamp)
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float) or not abs(timestamp) < MAX_EPOCH_NUMBER:
        return timestamp
    unit = next(unit for limit, unit in EPOCH_UNITS if abs(timestamp) < limit)
    return round(timestamp * unit)


def sqlite_value(value: Any) -> Any:
    """The value in a type of SQLite, for values of databases with more types."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)).isoformat(timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value

"""A table of the user's own, at the far end of his pipeline: its rows are matched with readings by sensor and timestamp.

To add a place where such tables are: a class with the methods of `OwnTable`, and a line in `fleet.comparison.against`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

import apsw

from fleet.central.schema import READING
from fleet.collection.batch import Row
from fleet.comparison.arrivals import UNKNOWN, Portion, microseconds
from fleet.comparison.originals import Original, Originals
from fleet.errors import UserError

MATCHED = ("sensor_id", "timestamp")
RECEIVED = "received_at"

INDEX = """
CREATE TABLE places (sensor, timestamp, source, id, PRIMARY KEY (sensor, timestamp, source, id)) WITHOUT ROWID
"""
ENTER = "INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?)"
LOOK_UP = "SELECT ?3, source, id FROM places WHERE sensor = ?1 AND timestamp = ?2 ORDER BY source, id"

Place = tuple[int, int]
"""The number of a source, and the id of a row there."""


class OwnTable(Protocol):
    """As of the moment when this was made."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]:
        """All that it has."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether rows come in the order in which they arrived."""
        ...

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        """Some rows at a time, with these columns."""
        ...

    def close(self) -> None: ...


class MatchedArrivals:
    """The rows of such a table as `fleet.comparison.arrivals.Arrivals`."""

    keyed = False

    def __init__(self, table: OwnTable) -> None:
        """UserError if it has no columns to match by."""
        self._table = table
        for name in MATCHED:
            if name not in table.columns:
                table.close()
                raise UserError(f"--against: {table.name} has no column {name}, by which its rows could be matched")
        self.name, self.ordered = table.name, table.ordered
        self.columns = tuple(name for name in READING if name in table.columns and name not in MATCHED)
        self._told = RECEIVED in table.columns

    def portions(self, originals: Originals) -> Iterator[Portion]:
        names = (*MATCHED, *([RECEIVED] if self._told else []), *self.columns)
        with closing(Places()) as places:
            sources = originals.current()
            for number, original in enumerate(sources):
                places.enter(number, originals.places(original))
            for rows in self._table.rows(names):
                yield from self._matched(places, sources, [tuple(map(plain, row)) for row in rows])

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> None:
        """Nobody knows where a user has them."""

    def alarms(self) -> int:
        return 0

    def close(self) -> None:
        self._table.close()

    def _matched(self, places: Places, sources: Sequence[Original], rows: Sequence[Row]) -> Iterator[Portion]:
        keys: list[tuple[Any, Any]] = [(row[0], canonical(row[1])) for row in rows]
        begin = len(MATCHED) + self._told
        by_source: dict[int | None, list[tuple[Row, int]]] = {}
        for row, (sensor, timestamp), place in zip(rows, keys, places.find(keys), strict=True):
            number, own = place or (None, None)
            arranged: Row = (own, sensor, None, timestamp, *row[begin:])
            received = microseconds(row[begin - 1]) if self._told else UNKNOWN
            by_source.setdefault(number, []).append((arranged, received))
        for number, some in by_source.items():
            key = None if number is None else sources[number].source.key
            received_us = [us for _, us in some]
            known = received_us if UNKNOWN not in received_us else ()
            yield Portion(key, self.name, [row for row, _ in some], known)


class Places:
    """Where the readings lie, by sensor and timestamp: on disk, for there may be any number of them."""

    def __init__(self) -> None:
        self._index = apsw.Connection("")
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):
            self._index.execute(f"PRAGMA {pragma}").fetchall()
        self._index.execute(INDEX)
        self._taken: Counter[tuple[object, object]] = Counter()

    def enter(self, source: int, readings: Iterable[tuple[object, object, int]]) -> None:
        rows = ((sensor, canonical(timestamp), source, own) for timestamp, sensor, own in readings)
        with self._index:
            self._index.executemany(ENTER, rows)

    def find(self, keys: Sequence[tuple[Any, Any]]) -> list[Place | None]:
        """For each sensor and timestamp the place of such a reading. Where several databases have one, as after a second
        start at the same simulated time, each in turn."""
        asked = ((sensor, timestamp, number) for number, (sensor, timestamp) in enumerate(keys))
        found: list[list[Place]] = [[] for _ in keys]
        for number, source, own in self._index.executemany(LOOK_UP, asked):
            found[number].append((source, own))
        return [self._next(key, places) for key, places in zip(keys, found, strict=True)]

    def _next(self, key: tuple[object, object], places: list[Place]) -> Place | None:
        if len(places) < 2:
            return places[0] if places else None
        self._taken[key] += 1
        return places[min(self._taken[key], len(places)) - 1]

    def close(self) -> None:
        self._index.close()


def canonical(timestamp: object) -> object:
    """A time as the fleet writes it, however else it is written; anything else as it is."""
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


def plain(value: Any) -> Any:
    """As SQLite would have it; other databases have more types."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return canonical(value)
    return value.isoformat() if isinstance(value, date) else value

"""What a target holds, as a stream: the readings that arrived, in the order in which they did.

To add a kind of target: a class with the methods of `Arrivals`, and its scheme in `fleet.collection.against`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import apsw

from fleet.collection.batch import Row
from fleet.collection.originals import Originals
from fleet.collection.reading_columns import CENTRAL, IDENTITY, LEAD, who
from fleet.collection.source_database import quoted
from fleet.errors import UserError
from fleet.storage.readings import Unreadable, connection
from fleet.verification.row_scan import LOWEST, RAW, readable

CHUNK = 10_000
"""Readings that are held at once: some ten megabytes."""

MOST_SOURCES = 100
"""Of more sources, each is read for itself, so that none of their databases is opened twice."""

PATIENCE_MS = 10_000
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNKNOWN = -(1 << 62)
"""A time that nobody knows."""

ARRIVAL, SOURCE, BATCH = -3, -2, -1
"""What stands behind the columns of a row of a central database: its id there, its source and its batch."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Readings that arrived from one source, in the order of their arrival. `source` is its key, None if that cannot be
    told, and `name` what it is called.

    A row begins with its id in the source and LEAD, the columns of the arrivals follow. `received_us` has for each row
    when it arrived, in microseconds since 1970; nothing at all where nobody knows.
    """

    source: str | None
    name: str
    rows: Sequence[Row]
    received_us: Sequence[int] = ()


class Arrivals(Protocol):
    """Everything that arrived up to the moment this was made. Nobody who writes there ever waits for it."""

    @property
    def name(self) -> str:
        """As it is told; without credentials."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What there is to compare, after LEAD: columns, IDENTITY, EXTRA."""
        ...

    @property
    def keyed(self) -> bool:
        """Whether rows say themselves which reading they are. If not, they have been matched by sensor and timestamp."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether the order of arrival is known."""
        ...

    def portions(self, originals: Originals) -> Iterator[Portion]:
        """`originals` are for those that have to be matched. UserError if it cannot be read."""
        ...

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        """The episodes or epochs of a sensor in a database; None where the target keeps none."""
        ...

    def alarms(self) -> int:
        """Readings on record that came again with other content, and were refused."""
        ...

    def close(self) -> None: ...


class CentralArrivals:
    """A central SQLite database."""

    columns = CENTRAL
    keyed = ordered = True

    def __init__(self, path: Path, sensor: str | None) -> None:
        """UserError if it cannot be read."""
        self.name = str(path)
        self._path, self._sensor = path, sensor
        self._door = connection(path)
        self._received: dict[object, int] = {}
        try:
            self._opened = self._door.__enter__()
            self._opened.set_busy_timeout(PATIENCE_MS)
            self._last = self._opened.execute("SELECT max(id) FROM sensor_readings").get or 0
        except (Unreadable, apsw.Error) as error:
            raise unreadable(path, error) from error

    def portions(self, _: Originals) -> Iterator[Portion]:
        try:
            sources = {row[0]: row[1:] for row in self._execute("SELECT source, generation, name FROM sources")}
            chunks = self._by_source(sources) if len(sources) > MOST_SOURCES else self._by_arrival()
            for rows in chunks:
                for source, some in by_source(rows):
                    key, name = sources.get(source, (None, f"source {source}"))
                    yield Portion(key, name, some, self._times(some))
        except apsw.Error as error:
            raise unreadable(self._path, error) from error

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        query = (
            f"SELECT {','.join(columns)} FROM {table} JOIN sources USING (source) "
            "WHERE generation = ? AND sensor_id = ? ORDER BY first_seq"
        )
        try:
            return self._execute(query, (source, sensor)).fetchall()
        except apsw.Error as error:
            raise unreadable(self._path, error) from error

    def alarms(self) -> int:
        found = self._execute("SELECT count(*) FROM conflicts").get
        return found if isinstance(found, int) else 0

    def close(self) -> None:
        self._door.__exit__(None, None, None)

    def _execute(self, query: str, bindings: Sequence[Any] = ()) -> apsw.Cursor:
        return self._opened.execute(query, tuple(bindings))

    def _by_arrival(self) -> Iterator[list[Any]]:
        return self._chunks("id > ?2 AND id <= ?3", f"id LIMIT {CHUNK}", limited=True)

    def _by_source(self, sources: Iterable[int]) -> Iterator[list[Any]]:
        """Those that have no entry among the sources come last."""
        for source in sources:
            # Found by the index of keys, which begins with the source, and then sorted.
            yield from self._chunks("source = ?4 AND id > ?2 AND id <= ?3", "+id", source)
        yield from self._chunks("source NOT IN (SELECT source FROM sources) AND id > ?2 AND id <= ?3", "id")

    def _chunks(self, condition: str, order: str, *bindings: int, limited: bool = False) -> Iterator[list[Any]]:
        """Rows above the id ?2, which rises. `limited`: the order has a limit, and the query is asked again and again."""
        after, shape = LOWEST, plain
        while True:
            asked = (self._sensor, after, self._last, *bindings)
            try:
                rows = None
                for rows in pieces(self._execute(query(condition, order, shape), asked)):
                    after = rows[-1][ARRIVAL]
                    yield rows if shape is plain else [readable(row) for row in rows]
                if rows is None or not limited:
                    return
            except UnicodeDecodeError:
                shape = RAW.format

    def _times(self, rows: Sequence[Any]) -> Sequence[int]:
        """When each was received; nothing if that is not known of one."""
        batches = list(map(itemgetter(BATCH), rows))
        for batch in set(batches) - self._received.keys():
            told = self._execute("SELECT received_at FROM batches WHERE batch = ?", (batch,)).get
            self._received[batch] = microseconds(told)
        times = list(map(self._received.__getitem__, batches))
        return () if UNKNOWN in times else times


def by_source(rows: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The rows of each source, in their order."""
    rows.sort(key=itemgetter(SOURCE))
    for source, some in groupby(rows, itemgetter(SOURCE)):
        yield source, list(some)


def pieces(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while some := list(islice(rows, CHUNK)):
        yield some


def plain(column: str) -> str:
    return column


def query(condition: str, order: str, shape: Callable[[str], str]) -> str:
    """Rows as in a Portion, and behind them their id, source and batch here."""
    names = (who(quoted) if name == IDENTITY else name for name in ("source_id", *LEAD, *CENTRAL))
    return (
        f"SELECT {','.join(shape(name) for name in names)},id,source,batch FROM sensor_readings "
        f"WHERE (?1 IS NULL OR sensor_id = ?1) AND {condition} ORDER BY {order}"
    )


def microseconds(told: object) -> int:
    """Since 1970, UNKNOWN where that is no time."""
    if isinstance(told, str):
        try:
            told = datetime.fromisoformat(told)
        except ValueError:
            return UNKNOWN
    if not isinstance(told, datetime):
        return UNKNOWN
    return ((told if told.tzinfo else told.replace(tzinfo=UTC)) - UNIX_EPOCH) // timedelta.resolution


def unreadable(place: object, error: Exception) -> UserError:
    reason = str(error).removeprefix(f"{place}: ")
    return UserError(f"--against: {place} cannot be read: {reason}")

"""A central SQLite database, as arrivals.

As a rule everything there agrees with the databases that it came from, and SQLite can see that by itself, three times as
fast as rows can be fetched from both. Only where something does not agree are the rows themselves looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import apsw

from fleet.central.schema import READING
from fleet.collection.batch import Row
from fleet.collection.source_database import quoted
from fleet.comparison.arrivals import (
    ARRIVAL,
    BATCH,
    CHUNK,
    MOST_SOURCES,
    PATIENCE_MS,
    UNKNOWN,
    Portion,
    by_source,
    microseconds,
    pieces,
    unreadable,
)
from fleet.comparison.id_set import consecutive
from fleet.comparison.originals import Originals
from fleet.comparison.reading_columns import CENTRAL, IDENTITY, LEAD, who
from fleet.comparison.source_columns import others
from fleet.storage.readings import Unreadable, connection
from fleet.verification.row_scan import LOWEST, RAW, readable

BRIEF = ("source_id", *LEAD)
WHOLE = (*BRIEF, *CENTRAL)

LEAST = 50
"""Rows that stand together, on average, for the question whether they agree to be worth while."""

CACHE_KIB = 500
"""Of the target in each connection to a source: it is read from one end to the other."""

AGREEING = f"""
SELECT count(*) FROM central.sensor_readings AS come JOIN main.sensor_readings AS here ON here.id = come.source_id
WHERE come.id BETWEEN ? AND ? AND come.source = ? AND come.extra IS NULL
    AND {" AND ".join(f"come.{name} IS here.{name}" for name in READING)}
"""


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

    def portions(self, originals: Originals) -> Iterator[Portion]:
        try:
            sources = {row[0]: row[1:] for row in self._execute("SELECT source, generation, name FROM sources")}
            many = len(sources) > MOST_SOURCES
            for rows in self._by_source(sources) if many else self._by_arrival():
                for source, some in by_source(rows):
                    key, name = sources.get(source, (None, f"source {source}"))
                    times = self._times(some)
                    agree = not many and agreement(originals, key, self._path, source, some)
                    whole = some if many or agree else self._whole(source, some)
                    yield Portion(key, name, whole, times, agree)
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
        """Only what tells which reading each is: the rest may never be needed."""
        return self._chunks(BRIEF, "id > ?2 AND id <= ?3", f"id LIMIT {CHUNK}", limited=True)

    def _whole(self, source: int, rows: Sequence[Any]) -> list[Any]:
        """The same rows with all that they have."""
        first, last = rows[0][ARRIVAL], rows[-1][ARRIVAL]
        condition = "source IS ?4 AND id > ?2 AND id <= ?3 AND id BETWEEN ?5 AND ?6"
        return list(chain.from_iterable(self._chunks(WHOLE, condition, "id", source, first, last)))

    def _by_source(self, sources: Iterable[int]) -> Iterator[list[Any]]:
        """Those that have no entry among the sources come last."""
        for source in sources:
            # Found by the index of keys, which begins with the source, and then sorted.
            yield from self._chunks(WHOLE, "source = ?4 AND id > ?2 AND id <= ?3", "+id", source)
        yield from self._chunks(WHOLE, "source NOT IN (SELECT source FROM sources) AND id > ?2 AND id <= ?3", "id")

    def _chunks(
        self, names: Sequence[str], condition: str, order: str, *bindings: int, limited: bool = False
    ) -> Iterator[list[Any]]:
        """Rows above the id ?2, which rises. `limited`: the order has a limit, and the query is asked again and again."""
        after, shape = LOWEST, plain
        while True:
            asked = (self._sensor, after, self._last, *bindings)
            try:
                rows = None
                for rows in pieces(self._execute(query(names, condition, order, shape), asked)):
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


def agreement(originals: Originals, key: str | None, path: Path, source: int, rows: Sequence[Any]) -> bool:
    """Whether the rows of a source are known to be as they are there. Where that is in doubt, or would take long, not."""
    original = None if key is None else originals.known.get(key)
    stretches = list(together([row[ARRIVAL] for row in rows]))
    if original is None or len(rows) < LEAST * len(stretches):
        return False
    columns = original.source.columns
    if original.source.foreign or others(original.source) or not set(READING) <= set(columns):
        return False
    try:
        opened = originals.connection(original)
        if "central" not in opened.db_names():
            opened.execute("ATTACH ? AS central", (f"{path.absolute().as_uri()}?mode=ro",))
            opened.execute(f"PRAGMA central.cache_size = -{CACHE_KIB}")
        counts = (opened.execute(AGREEING, (first, last, source)).get for first, last in stretches)
        return sum(count for count in counts if isinstance(count, int)) == len(rows)
    except (Unreadable, apsw.Error):  # whoever looks at the rows will say why
        return False


def together(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending ids as stretches of consecutive ones."""
    if consecutive(ids):
        yield ids[0], ids[-1]
        return
    first = last = ids[0]
    for number in ids[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def plain(column: str) -> str:
    return column


def query(names: Sequence[str], condition: str, order: str, shape: Callable[[str], str]) -> str:
    """Rows as in a Portion, and behind them their id, source and batch here."""
    columns = (shape(who(quoted) if name == IDENTITY else name) for name in names)
    return (
        f"SELECT {','.join(columns)},id,source,batch FROM sensor_readings "
        f"WHERE (?1 IS NULL OR sensor_id = ?1) AND {condition} ORDER BY {order}"
    )

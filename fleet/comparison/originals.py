"""The readings as they were generated: every database that a sweep would collect, and finding a reading in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from fleet.central.typed_readings import extra, fitted
from fleet.collection.batch import Row, Source
from fleet.collection.source_database import quoted
from fleet.collection.sources import Skipped, examine, find, name_of
from fleet.comparison.id_set import IdSet, consecutive
from fleet.comparison.reading_columns import EXTRA, ID, LEAD, SENSOR
from fleet.comparison.source_columns import ends, expression, others, sensors
from fleet.storage.readings import Unreadable, connection

OPEN = 100
"""Databases that are kept open, three descriptors each."""

APART = 16
"""Ids so close together are read in one go, with those between them."""

CACHE_KIB = 200
PATIENCE_MS = 10_000

# What has been delivered for certain by the time anybody looks at the target.
STANDING = "SELECT count(*), ifnull(min(id), 0), ifnull(max(id), 0), total({marked}) FROM sensor_readings WHERE ?1 IS NULL OR sensor_id = ?1"
UNMARKED = (
    "SELECT id FROM sensor_readings WHERE synced IS NOT 1 AND id <= ?2 AND (?1 IS NULL OR sensor_id = ?1) ORDER BY id"
)


@dataclass(slots=True)
class Original:
    """One database. `first` and `last` are the row ids at the first look, `total` how many readings there were (of the sensor that
    is asked about). `unmarked` are those that nobody had marked as delivered then; None if that goes for all of them, as
    it does where a collector keeps its place elsewhere."""

    source: Source
    total: int = 0
    first: int = 0
    last: int = 0
    unmarked: IdSet | None = None
    sensors: frozenset[str] = field(default=frozenset())


class Originals:
    """The databases under a directory, but for `besides`. Each is looked at once, before anybody looks at the target."""

    def __init__(self, directory: Path, sensor: str | None, besides: Path | None = None) -> None:
        self._directory, self.sensor, self._besides = directory, sensor, besides
        self._open: OrderedDict[str, tuple[ExitStack, apsw.Connection]] = OrderedDict()
        self._columns: Sequence[str] = ()
        self._queries: dict[tuple[str, ...], tuple[str, list[tuple[str, int]]]] = {}
        self.known: dict[str, Original] = {}
        self.unreadable: dict[str, str] = {}
        self.find(new=False)

    def compare(self, columns: Sequence[str]) -> None:
        """From now on rows are an id, LEAD and these columns, as in `fleet.comparison.reading_columns`."""
        self._columns = (*LEAD, *columns)
        self._queries.clear()

    def find(self, *, new: bool = True) -> None:
        """Look for databases; of those that are `new`, nothing need have been delivered."""
        for path in find(self._directory):
            if self._besides is not None and path.exists() and path.samefile(self._besides):
                continue
            name = name_of(path, self._directory)
            try:
                with connection(path) as opened:
                    opened.set_busy_timeout(PATIENCE_MS)
                    found = examine(opened, path, name)
                    if isinstance(found, Source):
                        self._enter(opened, found, new=new)
                self.unreadable.pop(name, None)
            except Unreadable as error:
                self.unreadable[name] = str(error).removeprefix(f"{path}: ")

    def _enter(self, opened: apsw.Connection, source: Source, *, new: bool) -> None:
        if source.key in self.known:
            self.known[source.key].source = source  # it may have another name by now
            return
        original = self.known[source.key] = Original(source, sensors=sensors(opened))
        if new:
            return
        marking = "synced" in source.columns
        query = STANDING.format(marked="synced IS 1" if marking else "0")
        standing: Any = opened.execute(query, (self.sensor,)).fetchone()
        original.total, original.first, original.last, marked = standing
        if marked:
            original.unmarked = IdSet()
            if marked < original.total:
                rows: Iterator[Any] = opened.execute(UNMARKED, (self.sensor, original.last))
                original.unmarked.add(number for (number,) in rows)

    @property
    def sensors(self) -> frozenset[str]:
        """Who is in any of them."""
        return frozenset().union(*(original.sensors for original in self.known.values()))

    def current(self) -> list[Original]:
        """All that there are now, also those that came since the first look."""
        self.find()
        return list(self.known.values())

    # Rows

    def rows(self, original: Original, ids: Sequence[int]) -> list[Row | None]:
        """The row for each of the ids, None where there is none."""
        if not ids:
            return []
        if consecutive(ids) and len(rows := self._between(original, ids[0], ids[-1])) == len(ids):
            return rows
        found: dict[object, Row] = {}
        for first, last in runs(sorted(set(ids))):
            found.update((row[ID], row) for row in self._between(original, first, last))
        return [found.get(number) for number in ids]

    def between(self, original: Original, first: int, last: int) -> Iterator[Row]:
        """The rows (of the sensor that is asked about) with ids from `first` to `last`: id, sensor, seq."""
        seq = "id" if original.source.foreign else "seq"
        query = f"SELECT id, sensor_id, {seq} FROM sensor_readings WHERE id BETWEEN ?1 AND ?2 AND (?3 IS NULL OR sensor_id = ?3)"
        yield from self.connection(original).execute(f"{query} ORDER BY id", (first, last, self.sensor))

    def places(self, original: Original) -> Iterator[Any]:
        """Timestamp, sensor and id of every reading."""
        query = "SELECT timestamp, sensor_id, id FROM sensor_readings WHERE ?1 IS NULL OR sensor_id = ?1 ORDER BY id"
        yield from self.connection(original).execute(query, (self.sensor,))

    def search(self, original: Original, sensor: object, seq: object) -> Row | None:
        """The row of a reading, wherever it is. The numbers of a sensor rise with the ids."""
        if not isinstance(seq, int) or not isinstance(sensor, str) or not 0 <= seq < 1 << 63:
            return None
        if original.source.foreign:
            return next((row for row in self._between(original, seq, seq) if row[SENSOR] == sensor), None)
        if sensor not in original.sensors:
            return None
        step = "SELECT id, seq FROM sensor_readings WHERE id BETWEEN ? AND ? AND sensor_id = ? ORDER BY id LIMIT 1"
        opened = self.connection(original)
        low, high = ends(opened)
        while low <= high:
            middle = (low + high) // 2
            found = opened.execute(step, (middle, high, sensor)).fetchone()
            if found is None or found[1] > seq:
                high = middle - 1
            elif found[1] == seq:
                return next(iter(self._between(original, found[0], found[0])), None)
            else:
                low = found[0] + 1
        return None

    def _between(self, original: Original, first: int, last: int) -> list[Any]:
        query, rest = self._query(original.source)
        rows = self.connection(original).execute(query, (first, last)).fetchall()
        if rest:
            end = 1 + len(self._columns)
            rows = [(*row[: end - 1], extra(row, rest)) for row in rows]
        if original.source.foreign:
            names = ("id", *self._columns)
            rows = [tuple(map(fitted, names, row)) for row in rows]
        return rows

    def _query(self, source: Source) -> tuple[str, list[tuple[str, int]]]:
        """A SELECT of the rows between two ids, and the columns in it that are to become EXTRA."""
        shape = ("foreign" if source.foreign else "own", *source.columns)
        if shape not in self._queries:
            rest = others(source) if EXTRA in self._columns else []
            end = len(self._columns) + 1
            names = [expression(source, name) for name in self._columns] + [quoted(name) for name in rest]
            query = f"SELECT id,{','.join(names)} FROM sensor_readings WHERE id BETWEEN ? AND ? ORDER BY id"
            self._queries[shape] = query, [(name, end + place) for place, name in enumerate(rest)]
        return self._queries[shape]

    # Connections

    def connection(self, original: Original) -> apsw.Connection:
        """Raises Unreadable, also if there is no database any more that has these readings."""
        key = original.source.key
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key][1]
        opened = self._connect(original)
        if opened is None:
            self.find()
            opened = self._connect(original)
        if opened is None:
            raise Unreadable(original.source.path, "it has been replaced by another while it was compared")
        if len(self._open) > OPEN:
            self._open.popitem(last=False)[1][0].close()
        return opened

    def _connect(self, original: Original) -> apsw.Connection | None:
        source = original.source
        if not source.path.exists():
            return None
        stack = ExitStack()
        opened = stack.enter_context(connection(source.path))
        found = examine(opened, source.path, source.name)
        if isinstance(found, Skipped) or found.key != source.key:
            stack.close()
            return None
        opened.set_busy_timeout(PATIENCE_MS)
        opened.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._open[source.key] = stack, opened
        return opened

    def close(self) -> None:
        for stack, _ in self._open.values():
            stack.close()
        self._open.clear()


def runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending ids as stretches without large gaps."""
    first = last = None
    for number in ids:
        if first is None or last is None:
            first = number
        elif number - last > APART:
            yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last

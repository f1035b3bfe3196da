"""The generated readings: the databases that a sweep would collect, and the search for readings in them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from fleet.datadir.computed_readings import add_computed_readings
from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.delivery.batch import Row, SourceDatabase
from fleet.delivery.columns import converted_or_same, extra_columns, extra_json
from fleet.delivery.compare.compared_columns import EXTRA_COLUMN, ID_INDEX, KEY_COLUMNS, SENSOR_INDEX, column_sql
from fleet.delivery.compare.id_set import IdSet, consecutive
from fleet.delivery.selection import SELECTION_COLUMNS
from fleet.delivery.source_database import id_bounds
from fleet.delivery.sources import Skipped, database_name, find_databases, identify_source
from fleet.verify.removals import Removal, read_removals
from worker.readings.clock_errors import CLOCK_ERRORS
from worker.storage.schema import quote_identifier

MAX_OPEN_DATABASES = 100
"""Databases that are kept open; each needs three file descriptors."""

MAX_ID_GAP = 16
"""Ids with smaller gaps are read by one query, with the rows between them."""

CACHE_KIB = 200

MAX_ATTEMPTS = 3
RETRY_SECONDS = 0.1
"""A rotation renames a database and its log one after the other; between the two it cannot be read."""

BUSY_TIMEOUT_MS = 10_000
"""The wait for a lock in a comparison, of a source and of a target."""

# The readings that are marked as delivered before the target is read.
SELECT_DELIVERED_RANGE = "SELECT count(*), ifnull(min(id), 0), ifnull(max(id), 0), total({marked}) FROM sensor_readings WHERE ?1 IS NULL OR sensor_id = ?1"
SELECT_UNSYNCED = (
    "SELECT id FROM sensor_readings WHERE synced IS NOT 1 AND id <= ?2 AND (?1 IS NULL OR sensor_id = ?1) ORDER BY id"
)


WRONG_CLOCK = f"anomaly_type IN ({','.join(repr(each.name) for each in CLOCK_ERRORS)})"
"""The readings whose timestamps are not in the order of the others."""


@dataclass(slots=True)
class GeneratedDatabase:
    """One database, as it was when it was first opened.

    `first` and `last` are its row ids, and `total` counts its readings, all limited to the selected sensor if there is one.
    `unsynced` are the readings that were not marked as delivered; None if none was marked, as with a collector that keeps
    a cursor. `wrong_times` are the ids of the readings of wrong clocks by sensor and timestamp, once they were needed.
    """

    source: SourceDatabase
    total: int = 0
    first: int = 0
    last: int = 0
    unsynced: IdSet | None = None
    sensors: frozenset[str] = field(default=frozenset())
    wrong_times: dict[tuple[object, object], int] | None = None


class GeneratedReadings:
    """The databases under a directory, except `excluded`. They are first opened before the target is read."""

    def __init__(self, directory: Path, sensor: str | None, excluded: Path | None = None) -> None:
        self._directory, self.sensor, self._excluded = directory, sensor, excluded
        self._open: OrderedDict[str, tuple[ExitStack, apsw.Connection]] = OrderedDict()
        self._columns: Sequence[str] = ()
        self._queries: dict[tuple[str, ...], tuple[str, list[tuple[str, int]]]] = {}
        self.databases: dict[str, GeneratedDatabase] = {}
        self._removals: dict[str, dict[tuple[str, int], Removal]] = {}
        self.unreadable: dict[str, str] = {}
        self.refresh(new=False)

    def further_columns(self) -> tuple[str, ...]:
        """The columns that the kinds of sensor in the databases have beyond those of every fleet."""
        return tuple(dict.fromkeys(name for one in self.databases.values() for name in one.source.further_names))

    def select_columns(self, columns: Sequence[str]) -> None:
        """Select the columns that follow the id and KEY_COLUMNS in all rows from now on."""
        self._columns = (*KEY_COLUMNS, *columns)
        self._queries.clear()

    def refresh(self, *, new: bool = True) -> None:
        """Search the directory for databases. In `new` ones no reading has to be delivered."""
        known = set(self.unreadable)
        for attempt in range(MAX_ATTEMPTS):
            self.unreadable.clear()
            for path in find_databases(self._directory):
                name = database_name(path, self._directory)
                try:
                    if not self._is_excluded(path):
                        self._open_new(path, name, new=new)
                except (DatabaseUnreadable, OSError) as error:
                    if path.exists():  # or it was renamed, and is found under its new name
                        self.unreadable[name] = str(error).removeprefix(f"{path}: ")
            if self.unreadable.keys() <= known or attempt == MAX_ATTEMPTS - 1:
                return
            time.sleep(RETRY_SECONDS)

    def _is_excluded(self, path: Path) -> bool:
        return self._excluded is not None and self._excluded.exists() and path.samefile(self._excluded)

    def _open_new(self, path: Path, name: str, *, new: bool) -> None:
        # In one transaction: a sensor that becomes another kind adds columns.
        with read_only_connection(path) as opened, opened:
            opened.set_busy_timeout(BUSY_TIMEOUT_MS)
            add_computed_readings(opened)
            source = identify_source(opened, path, name)
            if isinstance(source, SourceDatabase):
                self._add(opened, source, new=new)
                for sensor, removals in read_removals(opened, self.sensor).items():
                    known = self._removals.setdefault(sensor, {})
                    known |= {(removal.generation, removal.first): removal for removal in removals}

    def is_removed(self, source: str | None, sensor: object, seq: object, time_us: object) -> bool:
        """Return whether a delivered reading, by its number or else by its time, is on record as removed from a database."""
        for (generation, _), removal in self._removals.get(str(sensor), {}).items():
            if source not in (None, generation):
                continue
            if isinstance(seq, int):
                if removal.first <= seq <= removal.last:
                    return True
            elif isinstance(time_us, int) and time_us <= removal.removed_us - removal.keep_us:
                return True
        return False

    def _add(self, opened: apsw.Connection, source: SourceDatabase, *, new: bool) -> None:
        if source.key in self.databases:
            self.databases[source.key].source = source  # it may have been renamed
            return
        database = self.databases[source.key] = GeneratedDatabase(source, sensors=read_sensor_ids(opened))
        if new:
            return
        marking = "synced" in source.columns
        query = SELECT_DELIVERED_RANGE.format(marked="synced IS 1" if marking else "0")
        selected: Any = opened.execute(query, (self.sensor,)).fetchone()
        database.total, database.first, database.last, marked = selected
        if marked:
            database.unsynced = IdSet()
            if marked < database.total:
                rows: Iterator[Any] = opened.execute(SELECT_UNSYNCED, (self.sensor, database.last))
                database.unsynced.add(number for (number,) in rows)

    @property
    def sensors(self) -> frozenset[str]:
        """The sensors in the databases."""
        return frozenset().union(*(database.sensors for database in self.databases.values()))

    def current(self) -> list[GeneratedDatabase]:
        """All databases, including those that appeared since the start."""
        self.refresh()
        return list(self.databases.values())

    # Rows

    def rows(self, database: GeneratedDatabase, ids: Sequence[int]) -> list[Row | None]:
        """The row for each id, None if there is none."""
        if not ids:
            return []
        if consecutive(ids) and len(rows := self._between(database, ids[0], ids[-1])) == len(ids):
            return rows
        found: dict[object, Row] = {}
        for first, last in id_runs(sorted(set(ids))):
            found.update((row[ID_INDEX], row) for row in self._between(database, first, last))
        return [found.get(number) for number in ids]

    def between(self, database: GeneratedDatabase, first: int, last: int) -> Iterator[Row]:
        """The id, seq and SELECTION_COLUMNS of the rows from `first` to `last`, of the selected sensor if there is one."""
        seq = "id" if database.source.foreign else "seq"
        names = ", ".join(column_sql(database.source, name) for name in SELECTION_COLUMNS)
        query = f"SELECT id, {seq}, {names} FROM sensor_readings WHERE id BETWEEN ?1 AND ?2 AND (?3 IS NULL OR sensor_id = ?3)"
        yield from self.connection(database).execute(f"{query} ORDER BY id", (first, last, self.sensor))

    def reading_locations(self, database: GeneratedDatabase) -> Iterator[Any]:
        """The timestamp, sensor and id of every reading."""
        query = "SELECT timestamp, sensor_id, id FROM sensor_readings WHERE ?1 IS NULL OR sensor_id = ?1 ORDER BY id"
        yield from self.connection(database).execute(query, (self.sensor,))

    def reading_numbers(self, database: GeneratedDatabase) -> Iterator[Any]:
        """The sensor, seq, id and timestamp of every reading."""
        seq = "id" if database.source.foreign else "seq"
        query = f"SELECT sensor_id, {seq}, id, timestamp FROM sensor_readings WHERE ?1 IS NULL OR sensor_id = ?1 ORDER BY id"
        yield from self.connection(database).execute(query, (self.sensor,))

    def search(self, database: GeneratedDatabase, sensor: object, seq: object) -> Row | None:
        """The row of a reading by its key, found by bisection: the seqs of a sensor ascend with the ids."""
        if not isinstance(seq, int) or not isinstance(sensor, str) or not 0 <= seq < 1 << 63:
            return None
        if database.source.foreign:
            return next((row for row in self._between(database, seq, seq) if row[SENSOR_INDEX] == sensor), None)
        return self._bisect(database, sensor, "seq", seq)

    def search_time(self, database: GeneratedDatabase, sensor: object, timestamp: object) -> list[Row]:
        """The rows of readings with that sensor and timestamp: at most one of a right clock, whose timestamps ascend with the
        ids, and one of a wrong clock."""
        if not isinstance(timestamp, str) or not isinstance(sensor, str) or database.source.foreign:
            return []
        right = self._bisect(database, sensor, "timestamp", timestamp, f"anomaly_type IS NULL OR NOT {WRONG_CLOCK}")
        wrong = self._wrong_times(database).get((sensor, timestamp))
        return [*([right] if right else ()), *([] if wrong is None else self._between(database, wrong, wrong))]

    def _wrong_times(self, database: GeneratedDatabase) -> dict[tuple[object, object], int]:
        if database.wrong_times is None:
            query = f"SELECT sensor_id, timestamp, id FROM sensor_readings WHERE {WRONG_CLOCK}"
            rows: Iterator[Any] = self.connection(database).execute(query)
            database.wrong_times = {(sensor, timestamp): row_id for sensor, timestamp, row_id in rows}
        return database.wrong_times

    def _bisect(
        self, database: GeneratedDatabase, sensor: str, column: str, value: Any, condition: str = "TRUE"
    ) -> Row | None:
        if sensor not in database.sensors:
            return None
        step = (
            f"SELECT id, {column} FROM sensor_readings WHERE id BETWEEN ? AND ? AND +sensor_id = ? AND ({condition}) "
            "ORDER BY id LIMIT 1"
        )
        opened = self.connection(database)
        low, high = id_bounds(opened)
        while low <= high:
            middle = (low + high) // 2
            found: Any = opened.execute(step, (middle, high, sensor)).fetchone()
            if found is None or found[1] > value:
                high = middle - 1
            elif found[1] == value:
                return next(iter(self._between(database, found[0], found[0])), None)
            else:
                low = found[0] + 1
        return None

    def _between(self, database: GeneratedDatabase, first: int, last: int) -> list[Any]:
        query, extra = self._query(database.source)
        rows = self.connection(database).execute(query, (first, last)).fetchall()
        if extra:
            end = 1 + len(self._columns)
            rows = [(*row[: end - 1], extra_json(row, extra)) for row in rows]
        if database.source.foreign:
            names = ("id", *self._columns)
            rows = [tuple(map(converted_or_same, names, row)) for row in rows]
        return rows

    def _query(self, source: SourceDatabase) -> tuple[str, list[tuple[str, int]]]:
        """A SELECT of the rows between two ids, and the columns for EXTRA_COLUMN with their indexes in its rows."""
        shape = ("foreign" if source.foreign else "own", *source.columns)
        if shape not in self._queries:
            extra = extra_columns(source) if EXTRA_COLUMN in self._columns else []
            end = len(self._columns) + 1
            names = [column_sql(source, name) for name in self._columns] + [quote_identifier(name) for name in extra]
            query = f"SELECT id,{','.join(names)} FROM sensor_readings WHERE id BETWEEN ? AND ? ORDER BY id"
            self._queries[shape] = query, [(name, end + index) for index, name in enumerate(extra)]
        return self._queries[shape]

    # Connections

    def connection(self, database: GeneratedDatabase) -> apsw.Connection:
        """An open connection to a database. DatabaseUnreadable if it cannot be opened or no longer exists."""
        key = database.source.key
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key][1]
        opened = self._connect_again(database)
        if len(self._open) > MAX_OPEN_DATABASES:
            self._open.popitem(last=False)[1][0].close()
        return opened

    def _connect_again(self, database: GeneratedDatabase) -> apsw.Connection:
        """Connect; a database that was renamed or cannot be read is searched for again."""
        error = DatabaseUnreadable(database.source.path, "it has been replaced by another while it was compared")
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                self.refresh()
            try:
                if opened := self._connect(database):
                    return opened
            except DatabaseUnreadable as reason:
                error = reason
            except apsw.Error as reason:
                error = DatabaseUnreadable(database.source.path, f"{type(reason).__name__}: {reason}")
        raise error

    def _connect(self, database: GeneratedDatabase) -> apsw.Connection | None:
        source = database.source
        if not source.path.exists():
            return None
        stack = ExitStack()
        with stack:
            opened = stack.enter_context(read_only_connection(source.path, held=True))
            opened.set_busy_timeout(BUSY_TIMEOUT_MS)
            add_computed_readings(opened)
            identified = identify_source(opened, source.path, source.name)
            if isinstance(identified, Skipped) or identified.key != source.key:
                return None
            opened.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._open[source.key] = stack.pop_all(), opened
            return opened

    def close(self) -> None:
        for stack, _ in self._open.values():
            stack.close()
        self._open.clear()


def id_runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of ascending ids without large gaps, as (first, last)."""
    first = last = None
    for number in ids:
        if first is None or last is None:
            first = number
        elif number - last > MAX_ID_GAP:
            yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def read_sensor_ids(opened: apsw.Connection) -> frozenset[str]:
    """The sensors in a database."""
    if not opened.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'checkpoints'").get:
        return frozenset(name for (name,) in opened.execute("SELECT DISTINCT sensor_id FROM sensor_readings"))
    return frozenset(name for (name,) in opened.execute("SELECT sensor_id FROM checkpoints"))

"""A delivery: one batch on its way into a central SQLite database, inside a transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain

import apsw

from fleet.central.schema import READING
from fleet.central.typed_readings import COLUMNS, NOT_OURS, shown, typed
from fleet.collection.batch import Batch, Row, StoredRows, Table, Value
from fleet.collection.history import EPISODE, EPOCH
from fleet.collection.source_database import stretches
from fleet.collection.target import Receipt

ROWS_PER_STATEMENT = 50

COMPARED = (*READING, "extra")
EXISTING = f"SELECT batch, {','.join(COMPARED)} FROM sensor_readings WHERE source = ? AND sensor_id = ? AND seq = ?"


COPY = f"""
INSERT INTO sensor_readings (source, batch, source_id, {",".join(READING)})
SELECT ?, ?, id, {",".join(READING)} FROM source.sensor_readings WHERE id BETWEEN ? AND ? ORDER BY id
ON CONFLICT DO NOTHING
"""


@lru_cache(maxsize=64)
def insert(names: tuple[str | None, ...], rows: int) -> str:
    """An INSERT of that many rows of a batch, of which ?1 is the source and ?2 the batch. `names` has the column for each
    value of a row, None for a value that is left out."""
    columns = [name for name in names if name is not None]
    first = 3
    values = []
    for row in range(rows):
        own = (f"?{first + row * len(names) + place}" for place, name in enumerate(names) if name is not None)
        values.append(f"(?1,?2,{','.join(own)})")
    return f"INSERT INTO sensor_readings (source,batch,{','.join(columns)}) VALUES {','.join(values)} ON CONFLICT DO NOTHING"


def upsert(table: str, columns: tuple[str, ...]) -> str:
    names = ("source", *columns)
    return f"INSERT OR REPLACE INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"


UPSERT_EPISODE = upsert("anomaly_episodes", EPISODE)
UPSERT_EPOCH = upsert("epochs", EPOCH)


class Delivery:
    """One batch on its way in, inside a transaction."""

    def __init__(self, connection: apsw.Connection, batch: Batch, received_at: datetime, beside: bool) -> None:
        """`beside` is whether the database that the rows lie in is attached as `source`."""
        self._connection, self._batch, self._beside = connection, batch, beside
        self._received_at = received_at.astimezone(UTC).isoformat(timespec="microseconds")

    def run(self) -> Receipt:
        batch, connection = self._batch, self._connection
        source = self._source()
        values = (source, self._received_at, len(batch.rows), batch.token)
        connection.execute("INSERT INTO batches (source, received_at, readings, token) VALUES (?,?,?,?)", values)
        number = connection.last_insert_rowid()
        before = connection.total_changes()
        rejected = self._copy((source, number)) if self._beside else self._insert((source, number))
        come = connection.total_changes() - before
        duplicates = 0
        if come < len(batch.rows) - len(rejected):
            duplicates, others = self._compare((source, number))
            rejected |= others
        along(connection, UPSERT_EPISODE, EPISODE, batch.episodes, source)
        along(connection, UPSERT_EPOCH, EPOCH, batch.epochs, source)
        moved = "UPDATE sources SET cursor = max(cursor, ?) WHERE source = ?"
        connection.execute(moved, (batch.last_id, source))
        return Receipt(frozenset(batch.ids) - rejected.keys(), duplicates, rejected)

    def _source(self) -> int:
        source, execute = self._batch.source, self._connection.execute
        find = "SELECT source FROM sources WHERE generation = ?"
        found = execute(find, (source.key,)).get
        if not isinstance(found, int):
            execute("INSERT INTO sources (generation, name) VALUES (?,?)", (source.key, source.name))
            found = self._connection.last_insert_rowid()
        return found

    def _copy(self, same: tuple[int, int]) -> dict[int, str]:
        for first, last in stretches(self._batch.ids, len(self._batch.ids)):
            self._connection.execute(COPY, (*same, first, last))
        return {}

    def _insert(self, same: tuple[int, int]) -> dict[int, str]:
        """Returns what cannot be put in, and why."""
        names, rows, rejected = arranged(self._batch)
        execute = self._connection.execute
        whole = len(rows) - len(rows) % ROWS_PER_STATEMENT
        for begin in range(0, whole, ROWS_PER_STATEMENT):
            some = rows[begin : begin + ROWS_PER_STATEMENT]
            execute(insert(names, ROWS_PER_STATEMENT), (*same, *chain.from_iterable(some)))
        for row in rows[whole:]:
            execute(insert(names, 1), (*same, *row))
        return rejected

    def _compare(self, same: tuple[int, int]) -> tuple[int, dict[int, str]]:
        """How many of the rows were here already, and of which ids with other content."""
        names, rows, unfit = arranged(self._batch)
        duplicates, rejected = 0, dict[int, str]()
        source, number = same
        for own, row in zip((own for own in self._batch.ids if own not in unfit), rows, strict=True):
            came = dict.fromkeys(COLUMNS) | {name: value for name, value in zip(names, row, strict=True) if name}
            key = (source, came["sensor_id"], came["seq"])
            batch, *values = self._connection.execute(EXISTING, key).fetchall()[0]
            here = dict(zip(COMPARED, values, strict=True))
            other = [name for name in COMPARED if here[name] != came[name]]
            duplicates += not other and batch != number
            if other:
                rejected[own] = f"it is here already with another {', '.join(other)}"
                self._note_conflict(key, other, came)
        return duplicates, rejected

    def _note_conflict(self, key: tuple[Value, Value, Value], other: list[str], came: dict[str, Value]) -> None:
        document = json.dumps({name: shown(value) for name, value in came.items()})
        values = (*key, self._received_at, ",".join(other), document)
        self._connection.execute("INSERT OR IGNORE INTO conflicts VALUES (?,?,?,?,?,?)", values)


def copyable(batch: Batch) -> bool:
    return isinstance(batch.rows, StoredRows) and straight(batch)


def straight(batch: Batch) -> bool:
    """Whether the source has our own columns, no more and no fewer."""
    columns = set(batch.source.columns)
    return not batch.source.foreign and set(READING) <= columns <= set(READING) | NOT_OURS.keys()


def arranged(batch: Batch) -> tuple[tuple[str | None, ...], Sequence[Row], dict[int, str]]:
    """The rows of a batch, the column of the central table for each value in them, and the ids of those that cannot be put
    in, with the reason."""
    if straight(batch):
        return tuple(NOT_OURS.get(name, name) for name in batch.source.columns), batch.rows, {}
    readings = typed(batch, nul=True)
    return COLUMNS, list(zip(*(readings.columns[name] for name in COLUMNS), strict=True)), readings.rejected


def along(connection: apsw.Connection, statement: str, columns: tuple[str, ...], table: Table, source: int) -> None:
    if table.rows:
        places = [table.columns.index(name) for name in columns]
        connection.executemany(statement, [(source, *[row[place] for place in places]) for row in table.rows])

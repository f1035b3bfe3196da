"""The history of a source: its episodes and epochs, of which the target has some and is to get the rest.

Only the latest of a sensor's episodes can still change (it is cut when settings change or the fleet stops), and only its
latest epoch; so a mark on the latest that was delivered tells what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import apsw

from fleet.collection.batch import Row, Table
from fleet.collection.sources import columns_of

EPISODE = ("sensor_id", "type", "channel", "first_seq", "last_seq", "start_time", "end_time", "parameters")
EPOCH = ("sensor_id", "first_seq", "start_time", "start_us", "reason", "run", "seed", "identity", "settings")

KINDS = {"anomaly_episodes": EPISODE, "epochs": EPOCH}
"""The tables that go along, with the columns that are delivered."""

MOST = 5_000
"""Rows of one table that go along at once; the rest follows with the next batch."""

Mark = tuple[int, str]
"""The first_seq of a sensor's latest delivered row, and a digest of the row."""

Marks = dict[tuple[str, str], Mark]
"""By table and sensor."""


@dataclass(frozen=True, slots=True)
class News:
    """What the target has not got, and the marks that hold once it has. `more` if there was too much for once."""

    episodes: Table
    epochs: Table
    marks: Marks
    more: bool


def news(opened: apsw.Connection, marks: Mapping[tuple[str, str], Mark]) -> News:
    """Raises apsw.Error."""
    found: dict[str, Table] = {}
    moved: Marks = {}
    more = False
    for name, columns in KINDS.items():
        rows: list[Row] = []
        if set(columns) <= set(columns_of(opened, name)):
            for sensor in sensors(opened, name):
                if len(rows) >= MOST:
                    more = True
                    break
                some = after(opened, name, columns, sensor, marks.get((name, sensor)))
                if some:
                    rows += some
                    moved[name, sensor] = mark(some[-1], columns)
        found[name] = Table(columns, tuple(rows))
    return News(found["anomaly_episodes"], found["epochs"], moved, more)


def sensors(opened: apsw.Connection, name: str) -> list[str]:
    """Who is in a table: a step through its index for each, for there may be thousands of rows of one sensor."""
    found: list[str] = []
    step = f"SELECT min(sensor_id) FROM {name} WHERE sensor_id > ?"
    one = opened.execute(step, ("",)).get
    while isinstance(one, str):
        found.append(one)
        one = opened.execute(step, (one,)).get
    return found


def after(opened: apsw.Connection, name: str, columns: tuple[str, ...], sensor: str, known: Mark | None) -> list[Row]:
    query = f"SELECT {','.join(columns)} FROM {name} WHERE sensor_id = ? AND first_seq >= ? ORDER BY first_seq LIMIT ?"
    rows = opened.execute(query, (sensor, known[0] if known else -1, MOST)).fetchall()
    return rows[1:] if known and rows and mark(rows[0], columns) == known else rows


def mark(row: Row, columns: tuple[str, ...]) -> Mark:
    first = row[columns.index("first_seq")]
    digest = hashlib.blake2b(repr(row).encode(errors="surrogatepass"), digest_size=12).hexdigest()
    return (first if isinstance(first, int) else 0), digest

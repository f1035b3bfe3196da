"""The history of a source: its episodes and epochs, delivered beside the readings.

Only the latest episode of a sensor can still change (it is cut short when settings change or the fleet stops), and only
its latest epoch. So a watermark on the latest delivered row of each sensor shows which rows are new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import apsw

from fleet.delivery.batch import Row, TableRows
from fleet.delivery.sources import table_columns

EPISODE_COLUMNS = ("sensor_id", "type", "channel", "first_seq", "last_seq", "start_time", "end_time", "parameters")
EPOCH_COLUMNS = ("sensor_id", "first_seq", "start_time", "start_us", "reason", "run", "seed", "identity", "settings")

HISTORY_TABLES = {"anomaly_episodes": EPISODE_COLUMNS, "epochs": EPOCH_COLUMNS}
"""The tables of the history, with the columns that are delivered."""

MAX_HISTORY_ROWS_PER_BATCH = 5_000
"""Rows of one table in a batch; the rest follows with the next batch."""

Watermark = tuple[int, str]
"""The first_seq of a sensor's latest delivered row, and a digest of the row."""

Watermarks = dict[tuple[str, str], Watermark]
"""Watermarks by table and sensor."""


@dataclass(frozen=True, slots=True)
class NewHistory:
    """The history that the target lacks, and the watermarks to set once it is delivered. `more`: it exceeds one batch."""

    episodes: TableRows
    epochs: TableRows
    watermarks: Watermarks
    more: bool


def new_history(connection: apsw.Connection, watermarks: Mapping[tuple[str, str], Watermark]) -> NewHistory:
    """Read the history after the watermarks. Raises apsw.Error."""
    tables: dict[str, TableRows] = {}
    new_watermarks: Watermarks = {}
    more = False
    for name, columns in HISTORY_TABLES.items():
        rows: list[Row] = []
        if set(columns) <= set(table_columns(connection, name)):
            for sensor in sensor_ids(connection, name):
                if len(rows) >= MAX_HISTORY_ROWS_PER_BATCH:
                    more = True
                    break
                some = rows_after(connection, name, columns, sensor, watermarks.get((name, sensor)))
                if some:
                    rows += some
                    new_watermarks[name, sensor] = watermark(some[-1], columns)
        tables[name] = TableRows(columns, tuple(rows))
    return NewHistory(tables["anomaly_episodes"], tables["epochs"], new_watermarks, more)


def sensor_ids(connection: apsw.Connection, name: str) -> list[str]:
    """The sensors in a table, by one index lookup each: a sensor may have thousands of rows."""
    sensors: list[str] = []
    step = f"SELECT min(sensor_id) FROM {name} WHERE sensor_id > ?"
    one = connection.execute(step, ("",)).get
    while isinstance(one, str):
        sensors.append(one)
        one = connection.execute(step, (one,)).get
    return sensors


def rows_after(
    connection: apsw.Connection, name: str, columns: tuple[str, ...], sensor: str, known: Watermark | None
) -> list[Row]:
    query = f"SELECT {','.join(columns)} FROM {name} WHERE sensor_id = ? AND first_seq >= ? ORDER BY first_seq LIMIT ?"
    rows = connection.execute(query, (sensor, known[0] if known else -1, MAX_HISTORY_ROWS_PER_BATCH)).fetchall()
    return rows[1:] if known and rows and watermark(rows[0], columns) == known else rows


def watermark(row: Row, columns: tuple[str, ...]) -> Watermark:
    first = row[columns.index("first_seq")]
    digest = hashlib.blake2b(repr(row).encode(errors="surrogatepass"), digest_size=12).hexdigest()
    return (first if isinstance(first, int) else 0), digest

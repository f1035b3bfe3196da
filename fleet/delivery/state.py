"""The state of a collector in a small database of its own: cursors, watermarks of the history, dead letters.

Losing it costs only work: readings are delivered again, and targets recognise them. With `--cursor` it holds how far each
source is delivered.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import apsw

from fleet.datadir.ownership import foreign_link
from fleet.delivery.batch import Batch, Value
from fleet.delivery.columns import json_value
from fleet.delivery.history import Watermark, Watermarks
from fleet.delivery.target import DeliveryFailed
from fleet.errors import UserError
from worker.storage.connection import describe_sqlite_error

STATE_FOLDER = ".collector"
STATE_FILE = "collector.sqlite"
DEAD_LETTER_FILE = "dead-letters.jsonl"

STATE_BUSY_TIMEOUT_MS = 10_000
"""The wait for another collector that writes the state."""

SCHEMA = """
-- With --cursor: the readings of a source up to last_id are delivered or given up.
CREATE TABLE IF NOT EXISTS places (
    target TEXT NOT NULL, source TEXT NOT NULL, last_id INTEGER NOT NULL, PRIMARY KEY (target, source)
) WITHOUT ROWID;
-- The latest delivered episode and epoch of each sensor.
CREATE TABLE IF NOT EXISTS histories (
    target TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, sensor_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (target, source, kind, sensor_id)
) WITHOUT ROWID;
-- Readings that the target rejects; they are in the dead-letter file and are not delivered again.
CREATE TABLE IF NOT EXISTS dead_letters (
    target TEXT NOT NULL, source TEXT NOT NULL, id INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (target, source, id)
) WITHOUT ROWID;
-- The sources of which a sweep has delivered something.
CREATE TABLE IF NOT EXISTS sweeps (target TEXT NOT NULL, source TEXT NOT NULL, PRIMARY KEY (target, source)) WITHOUT ROWID;
"""

# A state of version 0.1.0 has no table of sweeps, but the history of each source.
SELECT_SWEPT = """
SELECT EXISTS (SELECT 1 FROM sweeps WHERE target = ?1 AND source = ?2)
    OR EXISTS (SELECT 1 FROM histories WHERE target = ?1 AND source = ?2)
"""


class CollectorState:
    """The state of a collector in a folder. Safe for several threads, and for several collectors that share the folder.

    All methods raise DeliveryFailed if the state cannot be read or written.
    """

    def __init__(self, folder: Path, target: str, busy_timeout_ms: int = STATE_BUSY_TIMEOUT_MS) -> None:
        """UserError if the folder cannot be used."""
        self.folder, self._target = folder, target
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (folder, folder / STATE_FILE, folder / DEAD_LETTER_FILE):
                if link := foreign_link(path):
                    raise UserError(f"--state: {path}: {link}: not followed")
            self._connection = apsw.Connection(str(folder / STATE_FILE))
            self._connection.set_busy_timeout(busy_timeout_ms)
            self._connection.pragma("journal_mode", "WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(SCHEMA)
        except (OSError, apsw.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"--state: {folder} cannot hold the collector's records: {reason}") from error

    @contextmanager
    def _records(self) -> Iterator[apsw.Connection]:
        with self._lock:
            try:
                yield self._connection
            except apsw.Error as error:
                raise DeliveryFailed(f"--state: {self.folder / STATE_FILE}: {describe_sqlite_error(error)}") from error

    def cursor(self, source: str) -> int:
        with self._records() as records:
            last_id = records.execute(
                "SELECT last_id FROM places WHERE target = ? AND source = ?", (self._target, source)
            ).get
        return last_id if isinstance(last_id, int) else 0

    def advance_cursor(self, source: str, last_id: int) -> None:
        with self._records() as records:
            records.execute(
                "INSERT INTO places VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET last_id = max(last_id, ?3)",
                (self._target, source, last_id),
            )

    def is_swept(self, source: str) -> bool:
        """Return whether a sweep of a source to the target is on record."""
        with self._records() as records:
            return bool(records.execute(SELECT_SWEPT, (self._target, source)).get)

    def add_sweep(self, source: str) -> None:
        with self._records() as records:
            records.execute("INSERT OR IGNORE INTO sweeps VALUES (?, ?)", (self._target, source))

    def watermarks(self, source: str) -> Watermarks:
        query = "SELECT kind, sensor_id, first_seq, digest FROM histories WHERE target = ? AND source = ?"
        with self._records() as records:
            rows = records.execute(query, (self._target, source)).fetchall()
        return {(str(kind), str(sensor)): (int(first or 0), str(digest)) for kind, sensor, first, digest in rows}

    def set_watermarks(self, source: str, watermarks: Mapping[tuple[str, str], Watermark]) -> None:
        rows = [(self._target, source, *key, *watermark) for key, watermark in watermarks.items()]
        with self._records() as records, records:
            records.executemany("INSERT OR REPLACE INTO histories VALUES (?,?,?,?,?,?)", rows)

    def dead_letter_ids(self, source: str) -> frozenset[int]:
        """The ids of a source's readings that were given up."""
        query = "SELECT id FROM dead_letters WHERE target = ? AND source = ?"
        with self._records() as records:
            rows = records.execute(query, (self._target, source)).fetchall()
        return frozenset(number for (number,) in rows if isinstance(number, int))

    def add_dead_letters(self, batch: Batch, reasons: Mapping[int, str], at: datetime) -> None:
        """Give readings up: append them to the dead-letter file, then record them. OSError if the file cannot be written.

        In this order a crash may leave a letter in the file twice, but loses none.
        """
        documents = dict(zip(batch.ids, batch.documents(), strict=True))
        when = at.isoformat(timespec="seconds")
        letters = [
            {
                "at": when,
                "target": self._target,
                "source_db": batch.source.name,
                "reason": why,
                "reading": {name: letter_value(value) for name, value in documents[number].items()},
            }
            for number, why in reasons.items()
        ]
        text = "".join(json.dumps(letter, ensure_ascii=False, allow_nan=False) + "\n" for letter in letters)
        values = [(self._target, batch.source.key, number, why, when) for number, why in reasons.items()]
        with self._records() as records:
            with (self.folder / DEAD_LETTER_FILE).open("a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            with records:
                records.executemany("INSERT OR REPLACE INTO dead_letters VALUES (?,?,?,?,?)", values)

    def remove_dead_letters(self, source: str, ids: frozenset[int]) -> None:
        """Remove the records of readings that were given up and then accepted."""
        rows = [(self._target, source, number) for number in ids]
        with self._records() as records, records:
            records.executemany("DELETE FROM dead_letters WHERE target = ? AND source = ? AND id = ?", rows)

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def letter_value(value: Value) -> Value:
    """The value as strict JSON can hold it: non-finite numbers as text, bytes in hexadecimal."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else json_value(value)

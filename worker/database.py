"""The SQLite sink: one database, one connection, one transaction for readings, checkpoint, epochs and episodes.

Commits are WAL with `synchronous=NORMAL`: a killed process loses nothing that was committed; a power failure may
lose the last commits, never the database.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import apsw

from worker.anomalies import NAMES
from worker.generation import MISSING, Block, Episode
from worker.schedule import Schedule, text, texts
from worker.schema import CHANNELS, SCHEMA, VERSION, epoch_of, epoch_values, identity_values, insert
from worker.sinks import Fenced, Portion, Position, Unavailable
from worker.spec import Identity, Settings

ROWS_PER_STATEMENT = 50
BUSY_MS = 500
"""How long one attempt waits for a lock; the retries around it go on for longer, and can be interrupted."""

INSERTS = {rows: insert(rows) for rows in (1, ROWS_PER_STATEMENT)}

UPSERT_EPISODE = "INSERT OR REPLACE INTO anomaly_episodes VALUES (?,?,?,?,?,?,?,?)"
CUT_EPISODE = """
UPDATE anomaly_episodes SET last_seq = ?2 - 1, end_time = ?3
WHERE sensor_id = ?1 AND first_seq < ?2 AND last_seq >= ?2
"""
SETTLE = "UPDATE checkpoints SET next_seq = ? WHERE sensor_id = ? AND incarnation = ? AND next_seq = ?"


class Database:
    """A sink. It opens itself when claimed, and again when claimed after it was unavailable."""

    def __init__(self, path: Path, *, wal: bool = True) -> None:
        self._path, self._wal = path, wal
        self._connection: apsw.Connection | None = None
        self._incarnation = 0

    def claim(self, sensors: Sequence[Identity], incarnation: int) -> list[Position]:
        self._incarnation = incarnation
        try:
            connection = self._connection = self._connection or connect(self._path, wal=self._wal)
            with Transaction(connection):
                return [claim(connection, sensor.sensor_id, incarnation) for sensor in sensors]
        except apsw.Error as error:
            self.close()
            raise Unavailable(describe(error, self._path), lost=True) from error

    def deliver(self, portions: Sequence[Portion]) -> None:
        if self._connection is None:
            raise Unavailable(f"{self._path.name} is not open", lost=True)
        try:
            with Transaction(self._connection):
                for portion in portions:
                    write(self._connection, portion, self._incarnation)
        except (apsw.BusyError, apsw.LockedError) as error:
            raise Unavailable(describe(error, self._path), lost=False) from error
        except apsw.Error as error:
            # After an I/O error it is unknown what the commit did: start over from what the file says.
            self.close()
            raise Unavailable(describe(error, self._path), lost=True) from error

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close(True)


class Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when anything is raised.

    apsw's own `with connection` begins deferred, which in WAL fails at the first write if somebody wrote since the
    first read.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
            except apsw.Error:
                self._rollback()
                raise
        else:
            self._rollback()

    def _rollback(self) -> None:
        # SQLite has already rolled back after some errors (disk full, I/O).
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def connect(path: Path, *, wal: bool = True) -> apsw.Connection:
    """Open or create the database at `path` with its tables. Raises apsw.Error."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_MS)
    # A fleet has thousands of connections; each appends to the end of a table, for which little cache is enough.
    connection.execute("PRAGMA cache_size = -256")
    connection.execute("PRAGMA synchronous = NORMAL")
    mode = "WAL" if wal else "DELETE"
    if connection.pragma("journal_mode") != mode.lower():
        connection.pragma("journal_mode", mode)
    if connection.pragma("user_version") != VERSION:
        with Transaction(connection):
            connection.execute(SCHEMA)
            if not connection.execute("SELECT 1 FROM database_info").fetchone():
                values = ("live", str(uuid.uuid4()), VERSION)
                connection.execute("INSERT INTO database_info VALUES (?,?,?)", values)
            connection.pragma("user_version", VERSION)
    return connection


def claim(connection: apsw.Connection, sensor_id: str, incarnation: int) -> Position:
    """Take a sensor over for `incarnation`, inside a transaction. Raises Fenced if a newer one has it."""
    row = connection.execute(
        "SELECT next_seq, incarnation FROM checkpoints WHERE sensor_id = ?", (sensor_id,)
    ).fetchone()
    if row is None:
        connection.execute("INSERT INTO checkpoints VALUES (?, 0, ?)", (sensor_id, incarnation))
        return Position(0, None)
    next_seq, holder = row
    if holder > incarnation:
        raise Fenced(f"{sensor_id} belongs to incarnation {holder}, this is {incarnation}")
    connection.execute("UPDATE checkpoints SET incarnation = ? WHERE sensor_id = ?", (incarnation, sensor_id))
    epoch = connection.execute(
        "SELECT first_seq, start_us, reason, run, seed, identity, settings FROM epochs"
        " WHERE sensor_id = ? AND first_seq <= ? ORDER BY first_seq DESC LIMIT 1",
        (sensor_id, next_seq),
    ).fetchone()
    return Position(next_seq, epoch_of(*epoch) if epoch else None)


def write(connection: apsw.Connection, portion: Portion, incarnation: int) -> None:
    """One portion, inside a transaction. Raises Fenced if the checkpoint is not where this incarnation left it."""
    sensor_id = portion.identity.sensor_id
    if portion.epoch:
        if portion.previous:
            cut(connection, sensor_id, portion.next_seq, portion.previous)
        connection.execute("INSERT OR REPLACE INTO epochs VALUES (?,?,?,?,?,?,?,?,?)", epoch_values(portion.epoch))
    episodes = (*portion.running, *(portion.block.episodes if portion.block else ()))
    if episodes:
        rows = [episode_values(sensor_id, episode, portion.schedule) for episode in episodes]
        connection.executemany(UPSERT_EPISODE, rows)
    if portion.block:
        write_block(connection, portion.identity, portion.settings, portion.block)
    if portion.cut:
        cut(connection, sensor_id, portion.end, portion.schedule)
    connection.execute(SETTLE, (portion.end, sensor_id, incarnation, portion.next_seq))
    if connection.changes() != 1:
        raise Fenced(f"the checkpoint of {sensor_id} was moved by another worker")


def write_block(connection: apsw.Connection, identity: Identity, settings: Settings, block: Block) -> None:
    constant = identity_values(identity)
    rows = list(reading_rows(settings, block))
    whole = len(rows) - len(rows) % ROWS_PER_STATEMENT
    for begin in range(0, whole, ROWS_PER_STATEMENT):
        some = chain.from_iterable(rows[begin : begin + ROWS_PER_STATEMENT])
        connection.execute(INSERTS[ROWS_PER_STATEMENT], (*constant, *some))
    for row in rows[whole:]:
        connection.execute(INSERTS[1], constant + row)


def reading_rows(settings: Settings, block: Block) -> Iterable[tuple[Any, ...]]:
    """The rows of a block in the order of READING_COLUMNS; missing readings have none."""
    kinds = block.kinds.tolist()
    columns: dict[str, Iterable[Any]] = dict.fromkeys(CHANNELS, repeat(None))
    for channel, values in zip(settings.channels, block.values.tolist(), strict=True):
        columns[channel.name] = values
    flags = [0 if kind < 0 else 1 for kind in kinds]
    types = [None if kind < 0 else NAMES[kind] for kind in kinds]
    seqs = range(block.first, block.end)
    rows = zip(texts(block.times), *(columns[name] for name in CHANNELS), flags, flags, types, seqs)  # noqa: B905
    if MISSING in kinds:
        return [row for row, kind in zip(rows, kinds, strict=True) if kind != MISSING]
    return rows


def episode_values(sensor_id: str, episode: Episode, schedule: Schedule) -> tuple[Any, ...]:
    return (
        sensor_id,
        episode.kind,
        ",".join(episode.channels) or None,
        episode.first_seq,
        episode.last_seq,
        text(schedule.time(episode.first_seq)),
        text(schedule.time(episode.last_seq)),
        json.dumps(episode.parameters, separators=(",", ":")),
    )


def cut(connection: apsw.Connection, sensor_id: str, next_seq: int, schedule: Schedule) -> None:
    """Shorten the record of the episode that runs at `next_seq`, if any, to the reading before."""
    connection.execute(CUT_EPISODE, (sensor_id, next_seq, text(schedule.time(next_seq - 1))))


def describe(error: apsw.Error, path: Path) -> str:
    """What went wrong with which file, in words."""
    return f"{path.name}: {error}"

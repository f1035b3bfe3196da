"""The statements of one database: claim a sensor, write a portion. The caller opens the transaction."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import apsw
import numpy as np

from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import MISSING_DATA_INDEX, Block, Episode
from worker.schedule import Schedule, format_time, format_times
from worker.spec import Settings
from worker.storage.insertion import Insertion, ReadingsTable
from worker.storage.retention import has_removals
from worker.storage.schema import (
    CHANNEL_COLUMNS,
    READING_COLUMNS,
    epoch_from_row,
    epoch_values,
    further_reading_columns,
    has_readings_key,
)
from worker.storage.sinks import Fenced, Portion, Position

log = logging.getLogger("database")

CHECKPOINT_LIMIT = 1 << 62
"""A checkpoint from here on is damaged."""

UPSERT_EPISODE = "INSERT OR REPLACE INTO anomaly_episodes VALUES (?,?,?,?,?,?,?,?)"
TRUNCATE_EPISODE = """
UPDATE anomaly_episodes SET last_seq = ?2 - 1, end_time = ?3
WHERE sensor_id = ?1 AND first_seq < ?2 AND last_seq >= ?2
"""
SELECT_EPOCH = """
SELECT first_seq, start_us, reason, run, seed, identity, settings FROM epochs
WHERE sensor_id = ? AND first_seq <= ? ORDER BY first_seq DESC LIMIT 1
"""
SELECT_LAST_SEQ = "SELECT max(seq) FROM sensor_readings WHERE sensor_id = ? AND typeof(seq) = 'integer'"
SEQ_INDEX = READING_COLUMNS.index("seq")
SELECT_STORED_SEQS = "SELECT seq FROM sensor_readings WHERE sensor_id = ? AND seq >= ? AND seq < ?"
SELECT_LAST_REMOVED = "SELECT max(last_seq) + 1 FROM removals WHERE sensor_id = ?"
UPDATE_CHECKPOINT = "UPDATE checkpoints SET next_seq = ? WHERE sensor_id = ? AND incarnation = ? AND next_seq = ?"


def claim_sensor(connection: apsw.Connection, sensor_id: str, incarnation: int) -> Position:
    """Make `incarnation` the owner of a sensor. Raises Fenced if a newer one owns it, apsw.CorruptError."""
    row = connection.execute(
        "SELECT next_seq, incarnation FROM checkpoints WHERE sensor_id = ?", (sensor_id,)
    ).fetchone()
    next_seq, owner = row or (None, None)
    if isinstance(owner, int) and owner > incarnation:
        raise Fenced(f"{sensor_id} is owned by incarnation {owner}, this is {incarnation}")
    if not isinstance(next_seq, int) or not isinstance(owner, int) or not 0 <= next_seq < CHECKPOINT_LIMIT:
        next_seq = repaired_checkpoint(connection, sensor_id, "damaged" if row else "missing")
    elif (
        has_readings_key(connection)
        and (last := last_stored_seq(connection, sensor_id)) is not None
        and last >= next_seq
    ):
        next_seq = repaired_checkpoint(connection, sensor_id, "behind its readings")
    connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?,?,?)", (sensor_id, next_seq, incarnation))
    try:
        epoch = connection.execute(SELECT_EPOCH, (sensor_id, next_seq)).fetchone()
        return Position(next_seq, epoch_from_row(*epoch) if epoch else None)
    except (ValueError, TypeError, KeyError) as error:
        raise apsw.CorruptError(f"the record of {sensor_id}'s epochs is damaged") from error


def last_stored_seq(connection: apsw.Connection, sensor_id: str) -> int | None:
    last = connection.execute(SELECT_LAST_SEQ, (sensor_id,)).get
    return last if isinstance(last, int) else None


def repaired_checkpoint(connection: apsw.Connection, sensor_id: str, state: str) -> int:
    """Return the sequence number after the last stored reading of a sensor without a valid checkpoint, 0 for a new sensor.

    A sensor that has readings has an epoch. No reading before the epoch's first, in a rotated database, or on record as
    removed, is due.
    """
    first = connection.execute("SELECT max(first_seq) FROM epochs WHERE sensor_id = ?", (sensor_id,)).get
    if state == "missing" and first is None:
        return 0
    last = last_stored_seq(connection, sensor_id)
    known = [first, None if last is None else last + 1]
    if has_removals(connection):
        known.append(connection.execute(SELECT_LAST_REMOVED, (sensor_id,)).get)
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'origins'").get:
        known.append(connection.execute("SELECT first_seq FROM origins WHERE sensor_id = ?", (sensor_id,)).get)
    next_seq = max((number for number in known if isinstance(number, int)), default=0)
    log.warning(
        "%s: its checkpoint is %s: continuing at reading %d, after those that are stored", sensor_id, state, next_seq
    )
    return next_seq


def write_portion(table: ReadingsTable, portion: Portion, incarnation: int) -> None:
    """Write one portion. Raises Fenced if the checkpoint is not at its start, or another incarnation owns the sensor, and
    ColumnConflict."""
    connection, sensor_id = table.connection, portion.identity.sensor_id
    if portion.epoch:
        if portion.previous:
            truncate_episode(connection, sensor_id, portion.next_seq, portion.previous)
        connection.execute("INSERT OR REPLACE INTO epochs VALUES (?,?,?,?,?,?,?,?,?)", epoch_values(portion.epoch))
    episodes = (*portion.running, *(portion.block.episodes if portion.block else ()))
    if episodes:
        connection.executemany(UPSERT_EPISODE, episode_rows(sensor_id, episodes, portion.schedule))
    if portion.block and table.stored:
        insertion = table.insertion(portion.identity, portion.settings)
        write_block(connection, insertion, portion.settings, portion.block)
    if portion.truncate:
        truncate_episode(connection, sensor_id, portion.end, portion.schedule)
    connection.execute(UPDATE_CHECKPOINT, (portion.end, sensor_id, incarnation, portion.next_seq))
    if connection.changes() != 1:
        raise Fenced(f"the checkpoint of {sensor_id} was moved by another worker")


def write_block(connection: apsw.Connection, insertion: Insertion, settings: Settings, block: Block) -> None:
    """Insert the readings of a block. Those that are stored already stay as they are."""
    rows = list(reading_rows(settings, block))
    try:
        insert_rows(connection, insertion, rows)
    except apsw.ConstraintError:
        sensor_id = insertion.identity.sensor_id
        stored = {seq for (seq,) in connection.execute(SELECT_STORED_SEQS, (sensor_id, block.first, block.end))}
        log.warning("%s: some of the readings %d to %d are stored already", sensor_id, block.first, block.end - 1)
        insert_rows(connection, insertion, [row for row in rows if row[SEQ_INDEX] not in stored])


def insert_rows(connection: apsw.Connection, insertion: Insertion, rows: list[tuple[Any, ...]]) -> None:
    """Insert readings, `insertion.rows` at a time."""
    constants, step = insertion.constants, insertion.rows
    whole = len(rows) - len(rows) % step
    for begin in range(0, whole, step):
        values = chain.from_iterable(rows[begin : begin + step])
        connection.execute(insertion.insert_rows, (*constants, *values))
    for row in rows[whole:]:
        connection.execute(insertion.insert_row, constants + row)


def reading_rows(settings: Settings, block: Block) -> Iterable[tuple[Any, ...]]:
    """Return the rows of a block in the order of READING_COLUMNS and the further columns, without missing readings."""
    kinds = block.kinds.tolist()
    columns: dict[str, Iterable[Any]] = dict.fromkeys(CHANNEL_COLUMNS, repeat(None))
    for channel, values in zip(settings.channels, block.values.tolist(), strict=True):
        columns[channel.name] = values
    for attribute, attribute_values in zip(settings.attributes, block.attributes, strict=True):
        columns[attribute.name] = attribute_values
    flags = [0 if kind < 0 else 1 for kind in kinds]
    types = [None if kind < 0 else ANOMALY_TYPES[kind] for kind in kinds]
    seqs = range(block.first, block.end)
    channels = (columns[name] for name in CHANNEL_COLUMNS)
    further = (columns[column.name] for column in further_reading_columns(settings))
    rows = zip(format_times(block.times), *channels, flags, flags, types, seqs, *further)  # noqa: B905
    if MISSING_DATA_INDEX in kinds:
        return [row for row, kind in zip(rows, kinds, strict=True) if kind != MISSING_DATA_INDEX]
    return rows


def episode_rows(sensor_id: str, episodes: Sequence[Episode], schedule: Schedule) -> Iterable[tuple[Any, ...]]:
    """Return episodes as rows of `anomaly_episodes`, in the order of its columns."""
    ends = [schedule.time(seq) for episode in episodes for seq in (episode.first_seq, episode.last_seq)]
    texts = format_times(np.array(ends, dtype=np.int64))
    for number, episode in enumerate(episodes):
        yield (
            sensor_id,
            episode.kind,
            ",".join(episode.channels) or None,
            episode.first_seq,
            episode.last_seq,
            texts[2 * number],
            texts[2 * number + 1],
            json.dumps(episode.parameters, separators=(",", ":")),
        )


def truncate_episode(connection: apsw.Connection, sensor_id: str, next_seq: int, schedule: Schedule) -> None:
    """End the record of an episode that runs at `next_seq`, if any, at the reading before."""
    connection.execute(TRUNCATE_EPISODE, (sensor_id, next_seq, format_time(schedule.time(next_seq - 1))))

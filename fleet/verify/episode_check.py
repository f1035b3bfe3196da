"""The episodes on record of one sensor, compared with those that must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import apsw

from fleet.verify.expected import ExpectedSensorData, Row
from fleet.verify.row_checker import describe_difference
from worker.schedule import format_time

MAX_RECORDS_PER_FETCH = 10_000
"""Records that are fetched at once."""

SELECT_SENSOR_EPISODES = """
    SELECT sensor_id, type, channel, first_seq, last_seq, start_time, end_time, parameters FROM anomaly_episodes
    WHERE sensor_id = ?1 AND first_seq >= ?2 ORDER BY first_seq LIMIT ?3
"""
EPISODE_RECORD_COLUMNS = (
    "sensor_id",
    "type",
    "channel",
    "first_seq",
    "last_seq",
    "start_time",
    "end_time",
    "parameters",
)
TYPE_INDEX, FIRST_INDEX, LAST_INDEX, END_TIME_INDEX = (
    EPISODE_RECORD_COLUMNS.index(name) for name in ("type", "first_seq", "last_seq", "end_time")
)

SELECT_UNKNOWN_SENSORS = """
    SELECT sensor_id, count(*), min(first_seq), max(last_seq) FROM anomaly_episodes
    WHERE sensor_id NOT IN (SELECT sensor_id FROM checkpoints UNION SELECT sensor_id FROM epochs) GROUP BY sensor_id
"""

NoteFinding = Callable[[str, int | None, int | None, str], None]


class ExpectedSpan(NamedTuple):
    """The readings that a database is to have of a sensor: from `begin` on, up to its checkpoint, `end`. From `search_end` on
    no episode is expected: a checkpoint that is far off would have no end of them."""

    begin: int
    end: int
    search_end: int


def compare_episodes(
    connection: apsw.Connection,
    sensor_id: str,
    expected: ExpectedSensorData,
    low: int,
    span: ExpectedSpan,
    note: NoteFinding,
) -> tuple[int, int | None]:
    """Compare some of the records from reading `low` on with those of the sensor.

    Returns how many were looked at and the reading from which to go on, None if there are no more.
    """
    begin, end, search_end = span
    rows: list[Row] = connection.execute(SELECT_SENSOR_EPISODES, (sensor_id, low, MAX_RECORDS_PER_FETCH)).fetchall()
    last = rows[-1][FIRST_INDEX] if len(rows) == MAX_RECORDS_PER_FETCH else None
    more = last if isinstance(last, int) and last < search_end else None
    stored = {row[FIRST_INDEX]: row for row in rows if more is None or row[FIRST_INDEX] < more}
    looked_at = len(stored)
    before = carried_over_episodes(expected, span, stored) if low < begin else ()
    for right in chain(before, expected.episodes(max(low, begin), search_end if more is None else more)):
        found = stored.pop(right[FIRST_INDEX], None)
        if found is None:
            note("episode missing", right[FIRST_INDEX], right[LAST_INDEX], right[TYPE_INDEX])
        elif found != right and found != truncated_episode(right, end, expected):
            note("episode altered", right[FIRST_INDEX], right[LAST_INDEX], describe_differences(found, right))
    for first, found in stored.items():
        if not isinstance(first, int):
            note("episode extra", None, None, f"{found[TYPE_INDEX]}, its first_seq is {first!r}")
        elif first >= end or (first < search_end and expected.epoch_range(first).epoch):
            note(
                "episode extra",
                first,
                found[LAST_INDEX] if isinstance(found[LAST_INDEX], int) else first,
                str(found[TYPE_INDEX]),
            )
    return looked_at, more


def carried_over_episodes(expected: ExpectedSensorData, span: ExpectedSpan, stored: Iterable[Any]) -> Iterator[Row]:
    """The records of the episodes that were running when the database took over from a rotated one: they are in both,
    but for one that nothing followed."""
    running = expected.running_episodes(span.begin) if span.end > span.begin else []
    firsts = {first for first in stored if isinstance(first, int) and 0 <= first < span.begin}
    for first in sorted({*running, *firsts}):
        yield from (record for record in expected.episodes(first, first + 1) if record[LAST_INDEX] >= span.begin - 1)


def truncated_episode(record: Row, end: int, expected: ExpectedSensorData) -> Row:
    """The record of an episode that was running when its sensor was drained at `end`."""
    epoch = expected.epoch_range(record[FIRST_INDEX]).epoch
    if record[LAST_INDEX] < end or epoch is None:
        return record
    shorter: list[Any] = list(record)
    shorter[LAST_INDEX], shorter[END_TIME_INDEX] = end - 1, format_time(epoch.schedule.time(end - 1))
    return tuple(shorter)


def describe_differences(found: Row, right: Row) -> str:
    pairs = zip(EPISODE_RECORD_COLUMNS, found, right, strict=True)
    return "; ".join(describe_difference(name, value, must) for name, value, must in pairs if value != must)


def unknown_sensors(connection: apsw.Connection) -> list[tuple[str, str]]:
    """Sensors that have episodes and nothing else on record, and what they have."""
    rows = connection.execute(SELECT_UNKNOWN_SENSORS).fetchall()
    return [
        (str(name), f"{count} of a sensor without a checkpoint, {low} .. {high}") for name, count, low, high in rows
    ]

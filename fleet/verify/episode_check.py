"""The comparison of one sensor's recorded episodes with those that its epochs give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import apsw

from fleet.verify.expected import ExpectedSensorData, Row
from fleet.verify.findings import NoteFinding
from fleet.verify.row_checker import describe_difference
from worker.schedule import format_time

MAX_RECORDS_PER_FETCH = 10_000
"""Records that are fetched in one query."""

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


class ExpectedSpan(NamedTuple):
    """The readings of a sensor that a database must have: from `begin` up to, but not including, its checkpoint `end`.

    No episode is searched for from `search_end` on, because a damaged checkpoint may be arbitrarily far away.
    """

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
    """Compare one fetch of recorded episodes, from reading `low` on, with the expected ones.

    Returns the number of records compared, and the reading to continue at, None after the last.
    """
    begin, end, search_end = span
    rows: list[Row] = connection.execute(SELECT_SENSOR_EPISODES, (sensor_id, low, MAX_RECORDS_PER_FETCH)).fetchall()
    last = rows[-1][FIRST_INDEX] if len(rows) == MAX_RECORDS_PER_FETCH else None
    more = last if isinstance(last, int) and last < search_end else None
    stored = {row[FIRST_INDEX]: row for row in rows if more is None or row[FIRST_INDEX] < more}
    compared = len(stored)
    carried_over = carried_over_episodes(expected, span, stored) if low < begin else ()
    for wanted in chain(carried_over, expected.episodes(max(low, begin), search_end if more is None else more)):
        record = stored.pop(wanted[FIRST_INDEX], None)
        if record is None:
            note("episode missing", wanted[FIRST_INDEX], wanted[LAST_INDEX], wanted[TYPE_INDEX])
        elif record != wanted and record != truncated_episode(wanted, end, expected):
            note("episode altered", wanted[FIRST_INDEX], wanted[LAST_INDEX], describe_differences(record, wanted))
    for first, record in stored.items():
        if not isinstance(first, int):
            note("episode extra", None, None, f"{record[TYPE_INDEX]}, its first_seq is {first!r}")
        elif first >= end or (first < search_end and expected.epoch_range(first).epoch):
            last = record[LAST_INDEX] if isinstance(record[LAST_INDEX], int) else first
            note("episode extra", first, last, str(record[TYPE_INDEX]))
    return compared, more


def carried_over_episodes(expected: ExpectedSensorData, span: ExpectedSpan, stored: Iterable[Any]) -> Iterator[Row]:
    """Yield the expected records of episodes that began in the rotated database before this one and continued here.

    Both databases have the record, unless the episode's remaining readings were never written.
    """
    running = expected.running_episodes(span.begin) if span.end > span.begin else []
    firsts = {first for first in stored if isinstance(first, int) and 0 <= first < span.begin}
    for first in sorted({*running, *firsts}):
        yield from (record for record in expected.episodes(first, first + 1) if record[LAST_INDEX] >= span.begin - 1)


def truncated_episode(record: Row, end: int, expected: ExpectedSensorData) -> Row:
    """Return the record of an episode as a worker that was drained at `end` leaves it: cut off there."""
    epoch = expected.epoch_range(record[FIRST_INDEX]).epoch
    if record[LAST_INDEX] < end or epoch is None:
        return record
    shorter: list[Any] = list(record)
    shorter[LAST_INDEX], shorter[END_TIME_INDEX] = end - 1, format_time(epoch.schedule.time(end - 1))
    return tuple(shorter)


def describe_differences(record: Row, wanted: Row) -> str:
    """Return the columns in which two records differ, with both values."""
    columns = zip(EPISODE_RECORD_COLUMNS, record, wanted, strict=True)
    return "; ".join(describe_difference(name, value, must) for name, value, must in columns if value != must)


def unknown_sensors(connection: apsw.Connection) -> list[tuple[str, str]]:
    """Return the sensors that have episodes but neither checkpoint nor epochs, each with a description of them."""
    rows = connection.execute(SELECT_UNKNOWN_SENSORS).fetchall()
    return [
        (str(name), f"{count} of a sensor without a checkpoint, {low} .. {high}") for name, count, low, high in rows
    ]

"""The episodes on record of one sensor, compared with those that must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import apsw

from fleet.verification.chronicle import Chronicle, Row
from fleet.verification.trail import difference
from worker.schedule import text

MOST = 10_000
"""Records that are fetched at once."""

EPISODES = """
    SELECT sensor_id, type, channel, first_seq, last_seq, start_time, end_time, parameters FROM anomaly_episodes
    WHERE sensor_id = ?1 AND first_seq >= ?2 ORDER BY first_seq LIMIT ?3
"""
COLUMNS = ("sensor_id", "type", "channel", "first_seq", "last_seq", "start_time", "end_time", "parameters")
TYPE, FIRST, LAST, END_TIME = (COLUMNS.index(name) for name in ("type", "first_seq", "last_seq", "end_time"))

STRANGERS = """
    SELECT sensor_id, count(*), min(first_seq), max(last_seq) FROM anomaly_episodes
    WHERE sensor_id NOT IN (SELECT sensor_id FROM checkpoints UNION SELECT sensor_id FROM epochs) GROUP BY sensor_id
"""

Note = Callable[[str, int | None, int | None, str], None]


class Span(NamedTuple):
    """The readings that a database is to have of a sensor: from `begin` on, up to its checkpoint, `end`. From `reach` on
    no episode is expected: a checkpoint that is far off would have no end of them."""

    begin: int
    end: int
    reach: int


def compare_episodes(
    connection: apsw.Connection, sensor_id: str, chronicle: Chronicle, low: int, span: Span, note: Note
) -> tuple[int, int | None]:
    """Compare some of the records from reading `low` on with those of the sensor.

    Returns how many were looked at and the reading from which to go on, None if there are no more.
    """
    begin, end, reach = span
    rows: list[Row] = connection.execute(EPISODES, (sensor_id, low, MOST)).fetchall()
    last = rows[-1][FIRST] if len(rows) == MOST else None
    more = last if isinstance(last, int) and last < reach else None
    stored = {row[FIRST]: row for row in rows if more is None or row[FIRST] < more}
    looked_at = len(stored)
    before = carried(chronicle, span, stored) if low < begin else ()
    for right in chain(before, chronicle.episodes(max(low, begin), reach if more is None else more)):
        found = stored.pop(right[FIRST], None)
        if found is None:
            note("episode missing", right[FIRST], right[LAST], right[TYPE])
        elif found != right and found != cut(right, end, chronicle):
            note("episode altered", right[FIRST], right[LAST], differences(found, right))
    for first, found in stored.items():
        if not isinstance(first, int):
            note("episode extra", None, None, f"{found[TYPE]}, its first_seq is {first!r}")
        elif first >= end or (first < reach and chronicle.stretch(first).epoch):
            note("episode extra", first, found[LAST] if isinstance(found[LAST], int) else first, str(found[TYPE]))
    return looked_at, more


def carried(chronicle: Chronicle, span: Span, stored: Iterable[Any]) -> Iterator[Row]:
    """The records of the episodes that were running when the database took over from a rotated one: they are in both,
    but for one that nothing followed."""
    running = chronicle.running(span.begin) if span.end > span.begin else []
    firsts = {first for first in stored if isinstance(first, int) and 0 <= first < span.begin}
    for first in sorted({*running, *firsts}):
        yield from (record for record in chronicle.episodes(first, first + 1) if record[LAST] >= span.begin - 1)


def cut(record: Row, end: int, chronicle: Chronicle) -> Row:
    """The record of an episode that was running when its sensor was drained at `end`."""
    epoch = chronicle.stretch(record[FIRST]).epoch
    if record[LAST] < end or epoch is None:
        return record
    shorter: list[Any] = list(record)
    shorter[LAST], shorter[END_TIME] = end - 1, text(epoch.schedule.time(end - 1))
    return tuple(shorter)


def differences(found: Row, right: Row) -> str:
    pairs = zip(COLUMNS, found, right, strict=True)
    return "; ".join(difference(name, value, must) for name, value, must in pairs if value != must)


def strangers(connection: apsw.Connection) -> list[tuple[str, str]]:
    """Sensors that have episodes and nothing else on record, and what they have."""
    rows = connection.execute(STRANGERS).fetchall()
    return [
        (str(name), f"{count} of a sensor without a checkpoint, {low} .. {high}") for name, count, low, high in rows
    ]

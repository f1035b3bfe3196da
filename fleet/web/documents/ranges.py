"""The readings of one sensor in a range of time: as points for charts, and row by row as CSV.

A range is given as two moments: a time, `first` (the first reading on record), `now` (the last one) or `now-7d`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fleet.datadir.computed_readings import add_computed_readings
from fleet.datadir.points import Mark, PointCache, SensorRange, read_range
from fleet.datadir.readings import DatabaseChanged, JsonRow, episodes_between
from fleet.datadir.series import SELECT_COLUMN_NAMES
from fleet.datadir.timeline import SensorFile, Timeline, opened_file, read_epoch_parts, read_timeline
from fleet.durations import parse_duration
from fleet.errors import UserError
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document
from fleet.web.documents.status import timestamp
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US
from worker.storage.schema import further_reading_columns, quote_identifier

READ_SECONDS = 0.08
"""The time in which a request reads what is not in the cache. An answer takes about twice as long, and at most one piece."""

MAX_LISTED_EPISODES = 60
MAX_CSV_PAGE_READINGS = 1000
MAX_CSV_RETRIES = 5

FIRST, NOW = "first", "now"
ALLOWED_MOMENTS = "allowed is a time such as 2026-01-31T08:00:00Z, first, now or now-7d"
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_COLUMNS, LAST_COLUMNS = ("timestamp", "sensor_id", "seq"), ("status_code", "anomaly_flag", "anomaly_type")
SELECT_ROWS = """
    SELECT {columns} FROM sensor_readings WHERE sensor_id = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """`us` microseconds after the first or the last reading of a sensor, or after 1970 without `base`."""

    base: str
    us: int

    def resolve(self, timeline: Timeline) -> int:
        """Return the moment in microseconds since 1970."""
        if not self.base:
            return self.us
        return self.us + (timeline.time(timeline.first_seq) if self.base == FIRST else timeline.last_us)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `begin` to `end`, both inclusive."""

    begin: Moment
    end: Moment


def parse_range(begin: str | None, end: str | None) -> TimeRange:
    """Return the range of two texts, by default all that is on record. Raises UserError."""
    parsed = TimeRange(parse_moment(FIRST if begin is None else begin, "from"), parse_moment(end or NOW, "to"))
    if parsed.begin.base == parsed.end.base and parsed.begin.us > parsed.end.us:
        raise UserError(f"from={begin}: is after to={end}")
    return parsed


def parse_moment(text: str, name: str) -> Moment:
    if text in (FIRST, NOW):
        return Moment(text, 0)
    if text.startswith(f"{NOW}-"):
        return Moment(NOW, -round(parse_duration(text.removeprefix(f"{NOW}-"), name) * SECOND_US))
    try:
        time = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # a plus of a URL is a space
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        return Moment("", (time - UNIX_EPOCH) // timedelta.resolution)
    except (ValueError, OverflowError):
        raise UserError(f"{name}={text[:40]!r}: {ALLOWED_MOMENTS}") from None


def range_document(
    observation: Observation, sensor_id: str, wanted: TimeRange, points: int, cache: PointCache
) -> Document:
    """Return the readings of a range by column, as at most `points` points. `read` is the share of them for which there was
    time; the rest follows in the answers to the same request."""
    path = observation.members[observation.index[sensor_id]].database
    timeline = read_timeline(path, sensor_id)
    document: Document = {"timestamp": timestamp(observation.now), "sensor_id": sensor_id}
    if timeline is None:
        return {**document, **empty_range(0, 0, 0)}
    from_us, to_us = wanted.begin.resolve(timeline), wanted.end.resolve(timeline)
    first, end = timeline.seq_from(from_us), timeline.seq_from(to_us + 1)
    bounds: Document = {
        "from_ms": from_us // 1000,
        "to_ms": to_us // 1000,
        "first_ms": timeline.time(timeline.first_seq) // 1000,
        "last_ms": timeline.last_us // 1000,
    }
    found = read_range(timeline, first, end, points, cache, READ_SECONDS)
    if found is None:
        return {**document, **empty_range(first, end, timeline.next_seq), **bounds}
    episodes = newest_episodes(timeline, first, end)
    return {**document, **columns_of_range(found, timeline), **bounds, "episodes": episodes}


def empty_range(first: int, end: int, next_seq: int) -> Document:
    moments = dict.fromkeys(("from_ms", "to_ms", "first_ms", "last_ms"))
    nothing: Document = {"channels": [], "values": {}, "highest": None, "healthy": {}, "times_ms": [], "episodes": []}
    numbers = {"first_seq": min(first, next_seq), "next_seq": min(end, next_seq), "step": 1, "read": 1.0}
    return {**numbers, **moments, **nothing, "marks": mark_columns((), None)}


def columns_of_range(found: SensorRange, timeline: Timeline) -> Document:
    points, names = found.points, [name for name, _ in found.channels]
    return {
        "first_seq": int(points.seqs[0]),
        "next_seq": found.end_seq,
        "step": found.step,
        "read": round(found.read, 4),
        "times_ms": (points.times_us // 1000).tolist(),
        "channels": [{"name": name, "unit": unit} for name, unit in found.channels],
        "values": dict(zip(names, with_nulls(points.lowest), strict=True)),
        "highest": dict(zip(names, with_nulls(points.highest), strict=True)) if found.step > 1 else None,
        "healthy": dict(zip(names, with_nulls(points.healthy / points.counts), strict=True)),
        "marks": mark_columns(points.marks, timeline),
    }


def with_nulls(values: FloatArray) -> list[list[float | None]]:
    """Return the rows as lists, None for what is no finite number."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return list(plain.tolist())


def mark_columns(marks: Sequence[Mark], timeline: Timeline | None) -> Document:
    def times(seqs: Iterator[int]) -> list[int]:
        return [] if timeline is None else [timeline.time(seq) // 1000 for seq in seqs]

    return {
        "type": [mark.type for mark in marks],
        "channel": [mark.channel for mark in marks],
        "from_ms": times(mark.first_seq for mark in marks),
        "to_ms": times(mark.last_seq for mark in marks),
        "episodes": [mark.episodes for mark in marks],
    }


def newest_episodes(timeline: Timeline, first: int, end: int) -> list[JsonRow]:
    """Return the last episodes that begin in a range, newest first."""
    found: list[JsonRow] = []
    for file, begin, until in reversed(list(timeline.files_between(first, end))):
        missing = MAX_LISTED_EPISODES - len(found)
        if missing:
            found += episodes_between(file.path, timeline.sensor_id, begin, until, missing)
    return found


def csv_parts(path: Path, sensor_id: str, wanted: TimeRange) -> Iterator[bytes]:
    """Return the readings of a range as CSV, in parts of some readings; a missing one has no row. The first part is read at
    once. Raises DatabaseUnreadable, also on the way."""
    timeline = read_timeline(path, sensor_id)
    if timeline is None:
        return iter([csv_text([(*FIRST_COLUMNS, *LAST_COLUMNS)])])
    first = timeline.seq_from(wanted.begin.resolve(timeline))
    end = timeline.seq_from(wanted.end.resolve(timeline) + 1)
    names = csv_columns(timeline, first, end)
    parts = rows_as_csv(timeline, first, end, names)
    return chain([csv_text([names]) + next(parts, b"")], parts)


def csv_columns(timeline: Timeline, first: int, end: int) -> tuple[str, ...]:
    """Return the columns that vary: those of every sensor, and the channels and attributes of its epochs in the range."""
    varying: dict[str, None] = {}
    for epoch, _, _ in read_epoch_parts(timeline.files[-1].path, timeline.sensor_id, first, end):
        varying |= dict.fromkeys(channel.name for channel in epoch.settings.channels)
        varying |= dict.fromkeys(column.name for column in further_reading_columns(epoch.settings))
    return (*FIRST_COLUMNS, *varying, *LAST_COLUMNS)


def rows_as_csv(timeline: Timeline, first: int, end: int, names: Sequence[str]) -> Iterator[bytes]:
    """Yield the rows of a range. No database is open in between, so that a slow client is in no writer's way."""
    seq, failures = first, 0
    while seq < end:
        page_end = min(seq + MAX_CSV_PAGE_READINGS, end)
        try:
            rows = [
                row
                for file, begin, until in timeline.files_between(seq, page_end)
                for row in select_columns(file, timeline.sensor_id, begin, until, names)
            ]
        except DatabaseChanged:  # rotated meanwhile: another database has its name
            failures += 1
            if failures > MAX_CSV_RETRIES:
                raise
            timeline = read_timeline(timeline.files[-1].path, timeline.sensor_id) or timeline
            continue
        yield csv_text(rows)
        seq, failures = page_end, 0


def select_columns(file: SensorFile, sensor_id: str, first: int, end: int, names: Sequence[str]) -> list[Any]:
    with opened_file(file) as opened:
        add_computed_readings(opened)
        present = {name for (name,) in opened.execute(SELECT_COLUMN_NAMES)}
        columns = ", ".join(quote_identifier(name) if name in present else "NULL" for name in names)
        return opened.execute(SELECT_ROWS.format(columns=columns), (sensor_id, first, end)).fetchall()


def csv_text(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")

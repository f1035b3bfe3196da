"""The readings that were removed on record (`database.keep`): the table `removals` of a database, and what is wrong with it.

A record explains the absence of readings, so it has to be one that the worker can have made: about scheduled readings before
the checkpoint, as many as the epochs give, and old enough by the sensor's schedule at the time of the removal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import apsw

from fleet.verify.expected import EPISODE_SEARCH_READINGS, ExpectedSensorData, SeqRange
from fleet.verify.findings import NoteFinding
from worker.schedule import SECOND_US
from worker.spec import MIN_KEEP_SECONDS
from worker.storage.retention import has_removals

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SELECT_REMOVALS = """
    SELECT sensor_id, first_seq, last_seq, readings, removed_at, keep_seconds, file, generation FROM removals
    WHERE ?1 IS NULL OR sensor_id = ?1 ORDER BY sensor_id, first_seq
"""


class Removal(NamedTuple):
    """The removed readings `first` to `last` of a sensor, `readings` in number. `file` is the rotated database that had them,
    None for the database itself; `generation` is that of the database. Times are microseconds."""

    first: int
    last: int
    readings: int
    removed_us: int
    keep_us: int
    file: str | None
    generation: str


Removals = Mapping[str, Sequence[Removal]]
"""The removals by sensor, in the order of their readings."""


def read_removals(
    opened: apsw.Connection, sensor: str | None, note: Callable[[str, str], None] = lambda _sensor, _detail: None
) -> Removals:
    """Read the removals of one sensor or of all. `note` takes the sensor of a record that cannot be one, and the reason."""
    found: dict[str, list[Removal]] = {}
    if not has_removals(opened):
        return found
    rows: Iterator[Any] = opened.execute(SELECT_REMOVALS, (sensor,))
    for sensor_id, *values in rows:
        try:
            found.setdefault(str(sensor_id), []).append(parse_removal(*values))
        except (ValueError, TypeError, OverflowError) as error:
            note(str(sensor_id), f"removals: the record of reading {values[0]!r}: {error}")
    return found


def parse_removal(
    first: Any, last: Any, readings: Any, removed_at: Any, keep_seconds: Any, file: Any, generation: Any
) -> Removal:
    """Return the removal of a row. Raises ValueError, TypeError or OverflowError."""
    if not all(isinstance(number, int) for number in (first, last, readings)) or not 0 <= first <= last:
        raise ValueError(f"{first!r} .. {last!r} with {readings!r} readings is no range")
    if not isinstance(file, str | None) or not isinstance(generation, str):
        raise TypeError("its file or generation is no text")
    removed_us = (datetime.fromisoformat(removed_at) - UNIX_EPOCH) // timedelta(microseconds=1)
    return Removal(first, last, readings, removed_us, round(float(keep_seconds) * SECOND_US), file, generation)


def own_ranges(removals: Iterable[Removal]) -> list[SeqRange]:
    """Return the ranges that were removed from the database itself, not with a rotated one."""
    return [(removal.first, removal.last) for removal in removals if removal.file is None]


def check_removals(
    removals: Sequence[Removal],
    expected: ExpectedSensorData,
    span: SeqRange,
    newest_us: int | None,
    generation: object,
    note: NoteFinding,
) -> None:
    """Note what is wrong with the removals of a sensor.

    `span` has the first reading that the database must have, and the checkpoint. `newest_us` is when the last reading of any
    sensor in the database was due, None if it is unknown.
    """
    end = 0
    for removal in removals:
        low, high = (span[0], span[1]) if removal.file is None else (0, span[0])
        if removal.first < max(low, end) or removal.last >= high:
            detail = f"removals: the database has {low} to {high - 1}, and the record before ends at {end - 1}"
            note("record", removal.first, removal.last, detail)
            continue  # its readings cannot be computed
        end = removal.last + 1
        for detail in removal_errors(removal, expected, newest_us, generation):
            note("record", removal.first, removal.last, f"removals: {detail}")


def removal_errors(
    removal: Removal, expected: ExpectedSensorData, newest_us: int | None, generation: object
) -> Iterator[str]:
    """Yield the contradictions of a removal to what is known."""
    if removal.file is None and removal.generation != generation:
        yield "it is the record of another database"
    if removal.keep_us < MIN_KEEP_SECONDS * SECOND_US:
        yield f"no config keeps readings for {removal.keep_us / SECOND_US:g} s"
    if newest_us is not None and removal.removed_us > newest_us:
        yield "it was made after the last reading of the database"
    epoch = expected.epoch_range(removal.last).epoch
    if epoch and epoch.schedule.time(removal.last) + removal.keep_us > removal.removed_us:
        yield f"reading {removal.last} was not {removal.keep_us / SECOND_US:g} s old when it was removed"
    count = count_readings(expected, removal.first, removal.last + 1)
    if removal.readings != count:
        yield f"it is about {removal.readings:,} readings, and there were {count:,}"


def count_readings(expected: ExpectedSensorData, first: int, end: int) -> int:
    """Return the number of scheduled readings that had a row."""
    starts = range(first, end, EPISODE_SEARCH_READINGS)
    ranges = (expected.expected_ranges(low, min(end, low + EPISODE_SEARCH_READINGS)) for low in starts)
    return sum(high - low + 1 for some in ranges for low, high in some)


def covered_until(removals: Iterable[Removal]) -> int:
    """Return the reading up to which all were removed with rotated databases."""
    end = 0
    for removal in sorted(removal for removal in removals if removal.file is not None):
        if removal.first > end:
            break
        end = max(end, removal.last + 1)
    return end

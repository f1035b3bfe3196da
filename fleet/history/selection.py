"""The part of a history that is asked for: sensors, a time range, columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple

from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.history.source import SensorHistory, readings_between
from fleet.history.table import ReadingSchema, reading_schema
from fleet.runtime.selectors import kind_names
from worker.schedule import format_time

KEY_COLUMNS = ("timestamp", "sensor_id")
"""The columns that are there whatever is chosen."""

MAX_NAMES_LISTED = 30


class HistoryPart(NamedTuple):
    """The readings `first` .. `end - 1` of a sensor."""

    history: SensorHistory
    first: int
    end: int

    @property
    def readings(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Selection:
    """Which readings are meant: of the sensors named and of the kinds named, all if there are none, due from `start_us` until
    `end_us`, microseconds since 1970, the end excluded. `columns` are in addition to KEY_COLUMNS; None for all."""

    sensors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    start_us: int | None = None
    end_us: int | None = None
    columns: tuple[str, ...] | None = None


def selected_parts(histories: Sequence[SensorHistory], selection: Selection) -> list[HistoryPart]:
    """Return the selected readings of each sensor that has some. UserError if there are none, or for an unknown name."""
    check_known("sensor", selection.sensors, [history.sensor_id for history in histories])
    check_known("kind", selection.kinds, {name for history in histories for name in kinds_of(history)})
    chosen = [
        history
        for history in histories
        if (not selection.sensors or history.sensor_id in selection.sensors)
        and (not selection.kinds or not {*kinds_of(history)}.isdisjoint(selection.kinds))
    ]
    parts = [*parts_between(whole_parts(chosen), selection.start_us, selection.end_us)]
    if not parts:
        raise UserError(f"there is no such reading: {describe_times(whole_parts(chosen))}")
    return parts


def whole_parts(histories: Iterable[SensorHistory]) -> list[HistoryPart]:
    return [HistoryPart(history, history.first, history.end) for history in histories]


def parts_between(parts: Iterable[HistoryPart], start_us: int | None, end_us: int | None) -> Iterator[HistoryPart]:
    """Yield the readings of parts that are due in a time, without empty parts."""
    for history, first, end in parts:
        low, high = readings_between(history, start_us, end_us)
        if max(first, low) < min(end, high):
            yield HistoryPart(history, max(first, low), min(end, high))


def check_known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    listed = sorted(known)
    for name in names:
        if name not in listed:
            near = [*(each for each in listed if each.startswith(name)), *get_close_matches(name, listed, n=1)]
            shown = f"did you mean {near[0]}?" if near else f"known are {', '.join(listed[:MAX_NAMES_LISTED])}"
            raise UserError(f"there is no {what} {escape_short(name)}: {shown}"[:400])


def kinds_of(history: SensorHistory) -> tuple[str, ...]:
    """Return the names of the kind of a sensor."""
    return kind_names(history.epochs[-1].identity.sensor_type)


def due_time(history: SensorHistory, seq: int) -> int:
    """Return the time at which a reading is due, microseconds since 1970."""
    epoch = next(epoch for epoch in reversed(history.epochs) if epoch.schedule.first_seq <= seq)
    return epoch.schedule.time(seq)


def time_span(parts: Sequence[HistoryPart]) -> tuple[int, int]:
    """Return when the first reading of all is due, and when the last."""
    return (
        min(due_time(part.history, part.first) for part in parts),
        max(due_time(part.history, part.end - 1) for part in parts),
    )


def describe_times(parts: Sequence[HistoryPart]) -> str:
    if not parts:
        return "no sensor is of that kind and has that id"
    first, last = time_span(parts)
    return f"those sensors have readings from {format_time(first)} to {format_time(last)}"


def full_schema(parts: Iterable[HistoryPart]) -> ReadingSchema:
    """Return all columns of the sensors."""
    return reading_schema((epoch.identity, epoch.settings) for part in parts for epoch in part.history.epochs)


def chosen_schema(schema: ReadingSchema, columns: Sequence[str] | None) -> ReadingSchema:
    """Return the chosen columns of a schema, in the order in which they are chosen. UserError for an unknown one."""
    if columns is None:
        return schema
    check_known("column", columns, schema)
    return {name: schema[name] for name in dict.fromkeys((*KEY_COLUMNS, *columns))}


def measured_names(parts: Iterable[HistoryPart]) -> list[str]:
    """Return the names of all channels and attributes of readings."""
    names: dict[str, None] = {}
    for part in parts:
        for epoch in part.history.epochs:
            names |= dict.fromkeys(channel.name for channel in epoch.settings.channels)
            names |= dict.fromkeys(attribute.name for attribute in epoch.settings.attributes)
    return list(names)


def channel_names(parts: Iterable[HistoryPart]) -> list[str]:
    """Return the names of all channels."""
    epochs = (epoch for part in parts for epoch in part.history.epochs)
    return list(dict.fromkeys(channel.name for epoch in epochs for channel in epoch.settings.channels))

"""The sensors and the range of time of a plot."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.history.source import epoch_parts, readings_between
from fleet.history.stored import StoredHistory, read_histories
from fleet.plots.points import SensorPoints, read_points
from worker.schedule import SECOND_US, format_time

MAX_KINDS = 4
"""Sensors that are plotted if none is named: the first one of each kind."""

MAX_CHARTS = 100
MAX_NAMES = 8


@dataclass(frozen=True, slots=True)
class PlotRange:
    """A range of time in microseconds since 1970, None for an end that is open; or the `last` seconds that are recorded."""

    start_us: int | None = None
    end_us: int | None = None
    last: float | None = None


@dataclass(frozen=True, slots=True)
class PlottedFleet:
    """The sensors of a plot, and the range of its time axis. `note` says which of the fleet's sensors they are."""

    sensors: tuple[SensorPoints, ...]
    start_us: int
    end_us: int
    note: str = ""


def read_plot(
    data: Path, sensor_ids: Sequence[str], channels: Sequence[str], wanted: PlotRange, points: int
) -> PlottedFleet:
    """Read what is to be plotted, as at most `points` points for each sensor. UserError if there is nothing."""
    histories = read_histories(data)
    chosen = choose(data, histories, sensor_ids)
    note = ""
    if not sensor_ids and len(chosen) < len(histories):
        of_each = ", the first of each kind" if len(chosen) > 1 else ""
        note = f"{len(chosen)} of {len(histories):,} sensors{of_each}: name others"
    check_channels(chosen, channels)
    last_us = max(map(last_due, chosen))
    start_us = wanted.start_us if wanted.last is None else last_us - round(wanted.last * SECOND_US)
    sensors = []
    for history in chosen:
        first, end = readings_between(history, start_us, wanted.end_us)
        if first < end and (not channels or not own_channels(history).isdisjoint(channels)):
            sensors.append(read_points(history, first, end, points, channels))
    if not sensors:
        first_us = min(map(first_due, chosen))
        raise UserError(
            f"{data}: there is no reading in that range: those of {chosen[0].sensor_id} are from "
            f"{format_time(first_us)} to {format_time(last_us)}"
        )
    if sum(len(points.channels) for points in sensors) > MAX_CHARTS:
        raise UserError(f"SENSOR: more than {MAX_CHARTS} charts in a plot: name fewer sensors, or take --channel")
    begin = min(int(points.times_us[0]) for points in sensors) if start_us is None else start_us
    until = last_us if wanted.end_us is None else wanted.end_us
    return PlottedFleet(tuple(sensors), begin, until, note)


def choose(data: Path, histories: Sequence[StoredHistory], sensor_ids: Sequence[str]) -> list[StoredHistory]:
    """Return the named sensors in that order; without names the first one of each kind. UserError for an unknown name."""
    by_id = {history.sensor_id: history for history in histories}
    for sensor_id in sensor_ids:
        if sensor_id not in by_id:
            near = get_close_matches(sensor_id, by_id, 3, 0.5) or list(by_id)[:3]
            raise UserError(
                f"SENSOR: there is no reading of {escape_short(sensor_id)} in {data}; there are {', '.join(near)}"
                + (", ..." if len(by_id) > len(near) else "")
            )
    if sensor_ids:
        return [by_id[sensor_id] for sensor_id in dict.fromkeys(sensor_ids)]
    first_of_kind: dict[str | None, StoredHistory] = {}
    for history in histories:
        first_of_kind.setdefault(history.epochs[-1].identity.sensor_type, history)
    return list(first_of_kind.values())[:MAX_KINDS]


def check_channels(histories: Sequence[StoredHistory], channels: Collection[str]) -> None:
    """UserError for a channel that none of the sensors has."""
    known = list(dict.fromkeys(name for history in histories for name in sorted(own_channels(history))))
    for name in channels:
        if name not in known:
            raise UserError(f"--channel: {escape_short(name)} is none of {', '.join(known)}")


def own_channels(history: StoredHistory) -> set[str]:
    return {channel.name for epoch in history.epochs for channel in epoch.settings.channels}


def first_due(history: StoredHistory) -> int:
    return next(epoch_parts(history.epochs, history.first, history.end)).epoch.schedule.time(history.first)


def last_due(history: StoredHistory) -> int:
    """Return when the last reading was due."""
    (part,) = epoch_parts(history.epochs, history.end - 1, history.end)
    return part.epoch.schedule.time(history.end - 1)

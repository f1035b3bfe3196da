"""The table of `fleet top`: its columns, the part of it that is shown, and what keys change. Nothing here draws.

To add a column: one entry in `table_columns`. To add a key: one entry in KEY_HANDLERS or SENSOR_KEY_HANDLERS, and in
HELP_LINES.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich.cells import cell_len, set_cell_size

from fleet.escaping import escape
from fleet.monitoring.backfill import backfill_progress
from fleet.monitoring.health import DISPLAY_STATES, IDLE_STATES, display_states
from fleet.monitoring.observation import FleetChannel, Observation
from fleet.monitoring.sensors import channel_column, current_anomalies, sensors_by_kind
from fleet.monitoring.stats import compact_number, format_value
from worker.readings.anomalies import ANOMALY_TYPES

COLUMN_GAP_CELLS = 1
MIN_TEXT_CELLS = 6
"""Cells of a text column at the right edge below which it is left out."""

VALUE_CELLS = 8
"""Cells of six digits with separators, and a space."""

MIN_CHANNEL_CELLS = VALUE_CELLS + 4
"""Cells of a column of readings with a short unit."""

ASCENDING_MARK, DESCENDING_MARK = "▲", "▼"


# Columns


class TableColumn(NamedTuple):
    """A column. `values` returns a value for each sensor, to sort by; `format` returns the text of one.

    Text columns are sorted in ascending order, numbers in descending order; None comes last in any order.
    """

    name: str
    width: int
    values: Callable[[Observation], list[Any]]
    format: Callable[[Any], str] = str
    is_text: bool = False


def row_field(name: str) -> Callable[[Observation], list[Any]]:
    """Return the values function of a field of the scoreboard."""
    return lambda observation: list(observation.rows[name].tolist())


def identity_field(name: str) -> Callable[[Observation], list[Any]]:
    """Return the values function of a field of the identities."""
    return lambda observation: [escape(getattr(member.identity, name) or "") for member in observation.members]


def sensor_ids(observation: Observation) -> list[Any]:
    return [member.sensor_id for member in observation.members]


def states(observation: Observation) -> list[Any]:
    return [DISPLAY_STATES[state] for state in display_states(observation).tolist()]


def anomalies(observation: Observation) -> list[Any]:
    return [ANOMALY_TYPES[kind] if kind >= 0 else "" for kind in current_anomalies(observation).tolist()]


def measured_values(key: str, observation: Observation) -> list[Any]:
    """Return the last reading of a channel, None where there is none."""
    return [value if np.isfinite(value) else None for value in channel_column(observation, key).tolist()]


def channel_table_column(channel: FleetChannel) -> TableColumn:
    """Return the column of a channel, whose readings have their unit."""

    def with_unit(value: float | None) -> str:
        return format_value(value) if value is None else f"{format_value(value)} {escape(channel.unit)}".rstrip()

    heading = escape(channel.key)
    width = max(cell_len(heading) + 1, MIN_CHANNEL_CELLS, cell_len(escape(channel.unit)) + VALUE_CELLS)
    return TableColumn(heading, width, partial(measured_values, channel.key), with_unit)


COLUMNS_BEFORE_CHANNELS = (
    TableColumn("sensor", 16, sensor_ids, is_text=True),
    TableColumn("state", 10, states, is_text=True),
    TableColumn("anomaly", 12, anomalies, is_text=True),
    TableColumn("per s", 7, lambda observation: list(observation.measured_rates.tolist()), compact_number),
)
COLUMNS_AFTER_CHANNELS = (
    TableColumn("readings", 9, row_field("readings"), compact_number),
    TableColumn(
        "anomalous", 10, lambda observation: list(observation.rows["anomalies"].sum(axis=1).tolist()), compact_number
    ),
    TableColumn(
        "lag s", 6, lambda observation: list((observation.rows["lag_us"] / 1e6).tolist()), lambda lag: f"{lag:.1f}"
    ),
    TableColumn("deaths", 7, row_field("restarts"), compact_number),
    TableColumn("errors", 7, row_field("errors"), compact_number),
    TableColumn("firmware", 12, identity_field("firmware_version"), is_text=True),
    TableColumn("location", 30, identity_field("location"), is_text=True),
)


KIND_COLUMN = TableColumn("kind", 14, identity_field("sensor_type"), is_text=True)


def fleet_kinds(observation: Observation) -> tuple[str, ...]:
    """Return the kinds of the sensors, in order of appearance."""
    return tuple(sensors_by_kind(observation.members))


def positions_of_kind(observation: Observation, kind: str) -> list[int]:
    """Return the positions of the sensors of a kind, of all if it is empty."""
    members = observation.members
    if not kind:
        return list(range(len(members)))
    return [number for number, member in enumerate(members) if member.identity.sensor_type == kind]


def table_columns(
    observation: Observation, positions: Sequence[int], kinds: Sequence[str] = ()
) -> tuple[TableColumn, ...]:
    """Return the columns for the channels of the sensors at `positions`. If the fleet has several `kinds` they have one."""
    index = observation.channels
    keys = {key for number in set(index.set_numbers[list(positions)].tolist()) for key in index.sets[number]}
    channels = [channel_table_column(channel) for channel in index.channels if channel.key in keys]
    kind_column = [KIND_COLUMN] if len(kinds) > 1 else []
    return (*COLUMNS_BEFORE_CHANNELS, *kind_column, *channels, *COLUMNS_AFTER_CHANNELS)


# Table


@dataclass(frozen=True, slots=True)
class SensorTable:
    """The sensors of one observation that match a filter, sorted.

    `values` has the values of all sensors for each of `columns`; `order` has the positions of the matching sensors in
    them. `kinds` are those of the whole fleet.
    """

    columns: tuple[TableColumn, ...]
    values: tuple[list[Any], ...]
    order: tuple[int, ...]
    kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.order)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def sensor(self, number: int) -> str:
        """Return the sensor id on a line."""
        return str(self.values[0][self.order[number]])

    def line_of(self, sensor: str) -> int | None:
        """Return the line of a sensor, None if it is not in the table."""
        return next((line for line, position in enumerate(self.order) if self.values[0][position] == sensor), None)

    def state(self, number: int) -> str:
        """Return the state on a line."""
        return str(self.values[1][self.order[number]])

    def line(self, number: int, width: int, first: int = 1) -> str:
        """Return the text of a line, `width` cells of a terminal wide, with the columns from `first` on."""
        position = self.order[number]
        cells = [column.format(values[position]) for column, values in zip(self.columns, self.values, strict=True)]
        return format_line(self.columns, cells, width, first)

    def column_number(self, name: str) -> int:
        """Return the number of a column, 0 if the fleet has no such channel any more."""
        names = self.column_names
        return names.index(name) if name in names else 0

    def heading(self, width: int, sort: str, *, backwards: bool = False, first: int = 1) -> str:
        """Return the line of the column names, from `first` on. The column `sort`, which the table is sorted by, has a
        mark."""
        sorted_by = self.column_number(sort)
        mark = DESCENDING_MARK if self.columns[sorted_by].is_text == backwards else ASCENDING_MARK
        names = [f"{column.name}{mark if number == sorted_by else ''}" for number, column in enumerate(self.columns)]
        return format_line(self.columns, names, width, first)

    @property
    def width(self) -> int:
        """The cells of a line with all columns."""
        return sum(column.width + COLUMN_GAP_CELLS for column in self.columns) - COLUMN_GAP_CELLS


def build_table(
    observation: Observation, sort: str = "sensor", filter_text: str = "", *, backwards: bool = False, kind: str = ""
) -> SensorTable:
    """Return the sensors of `kind` (all if empty) that have `filter_text` in any text column, ignoring case, sorted by the
    column `sort`. The columns are those of the kind."""
    positions = positions_of_kind(observation, kind)
    kinds = fleet_kinds(observation)
    columns = table_columns(observation, positions, kinds)
    values = tuple(column.values(observation) for column in columns)
    texts = [each for column, each in zip(columns, values, strict=True) if column.is_text]
    filter_text = filter_text.casefold()
    matching = [
        position
        for position in positions
        if not filter_text or any(filter_text in each[position].casefold() for each in texts)
    ]
    table = SensorTable(columns, values, tuple(matching), kinds)
    number = table.column_number(sort)
    keys = values[number]
    known = [position for position in matching if keys[position] is not None]
    unknown = [position for position in matching if keys[position] is None]
    descending = backwards if columns[number].is_text else not backwards
    known.sort(key=lambda position: keys[position], reverse=descending)
    return replace(table, order=(*known, *unknown))


def columns_beyond(columns: Sequence[TableColumn], width: int, first: int) -> int:
    """Return how many columns from `first` on do not fit on a line of that width."""
    left, fitting = width, 0
    for column in (columns[0], *columns[first:]):
        room = min(column.width, left) if column.is_text else column.width
        if left < min(room, MIN_TEXT_CELLS) or room > left:
            break
        left -= room + COLUMN_GAP_CELLS
        fitting += 1
    return 1 + len(columns[first:]) - fitting


def format_line(columns: Sequence[TableColumn], cells: Sequence[str], width: int, first: int = 1) -> str:
    """Join cells into a line, texts left-aligned and numbers right-aligned: the first cell, and those from `first` on.
    Columns that do not fit are left out."""
    parts: list[str] = []
    left = width
    shown = [0, *range(first, len(columns))]
    for column, text in [(columns[number], cells[number]) for number in shown]:
        room = min(column.width, left) if column.is_text else column.width
        if left < min(room, MIN_TEXT_CELLS) or room > left:
            break
        fitting = set_cell_size(text, room) if column.is_text or cell_len(text) > room else text
        parts.append(" " * (room - cell_len(fitting)) + fitting)
        left -= room + COLUMN_GAP_CELLS
    return set_cell_size((" " * COLUMN_GAP_CELLS).join(parts), width)


def fleet_summary(observation: Observation, healthy: int) -> str:
    """Return a line about the whole fleet that fits 80 columns."""
    max_lag = int(observation.rows["lag_us"].max(initial=0)) / 1e6
    target_rate = float(observation.target_rates[~np.isin(display_states(observation), IDLE_STATES)].sum())
    anomalous = int(np.count_nonzero(current_anomalies(observation) >= 0))
    if progress := backfill_progress(observation):
        rate = float(observation.measured_rates.sum())
        counts = f"{healthy:,}/{len(observation.members):,} healthy  {compact_number(rate)} readings/s"
        return f"{counts}  {progress.describe(rate)}"
    return (
        f"{healthy:,}/{len(observation.members):,} healthy  {compact_number(float(observation.measured_rates.sum()))} of "
        f"{compact_number(target_rate)} readings/s  {anomalous:,} in an anomaly  lag {max_lag:.1f} s"
    )
